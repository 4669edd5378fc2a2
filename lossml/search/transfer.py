"""Whether what was confirmed on the task of a search holds on other tasks too."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lossml.errors import DataError, RecipeError
from lossml.proxy import Trainer
from lossml.proxy.tasks import TaskSpec, load_task
from lossml.search import folder as folders
from lossml.search.compare import compare, with_verdict
from lossml.search.elsewhere import there
from lossml.search.events import Confirming, Event, Listener
from lossml.search.objective import gap
from lossml.search.recipe import Recipe
from lossml.search.records import Trial
from lossml.search.results import Comparison, Row, Transfer
from lossml.search.statistics import judge, spent
from lossml.search.trainings import Store, design_of, laid_out


def spec_of(recipe: Recipe) -> TaskSpec:
    """Return the task of a recipe; its noise is the same for every seed of a search."""
    return TaskSpec(
        recipe.dataset,
        recipe.data_root or None,
        recipe.label_noise,
        recipe.long_tail,
        noise_kind=recipe.label_noise_kind,
        train_size=recipe.train_size,
        network=recipe.network,
    )


def check(recipe: Recipe) -> None:
    """Load the other tasks of a recipe once, so that what is wrong with one is known before anything trains.

    Raises:
        UsageError: for an unknown name, missing data, or a task on which losses of the search mean nothing.
    """
    if not recipe.tested_on:
        return
    pixels = load_task(spec_of(recipe)).pixels
    for key, text in [*(("also_on", text) for text in recipe.also_on), *(("confirm_on", t) for t in recipe.confirm_on)]:
        try:
            found = load_task(spec_of(there(recipe, text)))
        except DataError as error:
            raise DataError(f"{key} {text!r}: {error}") from error
        if pixels > 1 and found.pixels == 1:
            raise RecipeError(
                f"{key} {text!r}: {recipe.dataset} is searched for losses on masks, which sum over pixels, and "
                "this task has one class for each sample; name another task with masks"
            )
        if key == "also_on" and pixels == 1 and found.pixels > 1:
            raise RecipeError(
                f"{key} {text!r}: this task has masks, and {recipe.dataset} one class for each sample; one search has "
                "one language of losses, so search on masks apart"
            )


def transferred(
    recipe: Recipe, text: str, run: Path, trainer: Trainer, trials: Sequence[Trial], listener: Listener
) -> Transfer:
    """Compare a search's winner and the candidates beside it with the baselines on another task.

    Args:
        recipe: of the search.
        text: the other task.
        run: the search's folder.
        trainer: trains on the other task.
        trials: the winner first, then the others that were confirmed.
        listener: hears how far it is.
    """
    other = there(recipe, text)
    facts = trainer.facts
    losses = laid_out(other.baselines, trials, facts.prior, facts.pixels)
    store = Store(run / folders.JOURNAL, recipe.objective, text)

    def hear(event: Event) -> None:
        listener(replace(event, task=text) if isinstance(event, Confirming) else event)

    comparison = compare(trainer, losses, design_of(replace(recipe, candidates=len(trials))), store, hear)
    return Transfer(text, _row_of(comparison, trials[0].number), comparison)


def _row_of(comparison: Comparison, trial: int) -> Row:
    """Find a trial; one that is another's twin on this task stands in the other's row."""
    return next(row for row in comparison.rows if row.contender.trial == trial)


def corrected(transfers: Sequence[Transfer], recipe: Recipe) -> tuple[Transfer, ...]:
    """Correct the winner's tests for the number of other tasks (Holm).

    Which candidate is the winner was not decided by these samples, so the others count for nothing; unless
    a task has the data set of the search, and with it the same held-out samples: then the winner's lead may be the luck
    of just those, and the tests of all candidates count.
    """
    tests = [(place, row) for place, one in enumerate(transfers) for row in _family(one, recipe)]
    factor = spent(max((one.comparison.readings[0] for one in transfers), default=1))
    judged = judge([row.raw for _, row in tests if row.raw is not None], recipe.alpha, factor)
    level = recipe.alpha / factor / max(1, len(tests))
    found = list(transfers)
    for (place, row), verdict in zip(tests, judged, strict=True):
        if row == transfers[place].winner:
            found[place] = _with_winner(transfers[place], with_verdict(row, verdict, level))
    return tuple(found)


def _family(transfer: Transfer, recipe: Recipe) -> list[Row]:
    same = there(recipe, transfer.task).dataset == recipe.dataset
    rows = [row for row in transfer.comparison.rows if row.contender.trial >= 0] if same else [transfer.winner]
    return [row for row in rows if row.raw is not None]


def _with_winner(transfer: Transfer, winner: Row) -> Transfer:
    rows = tuple(winner if row == transfer.winner else row for row in transfer.comparison.rows)
    return Transfer(transfer.task, winner, replace(transfer.comparison, rows=rows))


def told(transfers: Sequence[Transfer], searched: Sequence[str] = ()) -> str:
    """Say where the winner is better, worse, or not told apart.

    Args:
        transfers: the winner on other tasks.
        searched: those of them that trials were trained on: to be better there is less than to be so on a new one.
    """
    seen = [_told(one) for one in transfers if one.task in searched]
    new = [_told(one) for one in transfers if one.task not in searched]
    elsewhere = "On tasks that the search did not see" if seen else "On other tasks"
    parts = {"On the other tasks of the search": seen, elsewhere: new}
    number = "the number of all" if seen and new else "their number"
    return " ".join(f"{where}, corrected for {number}: {'; '.join(some)}." for where, some in parts.items() if some)


def _told(one: Transfer) -> str:
    row = one.winner
    if row.verdict == "failed":
        return f"failed on {one.task} ({row.reason})"
    if row.difference is None:
        return f"the reference itself up to scale on {one.task}"
    size = gap(row.difference, one.comparison.design.objective, (row.low, row.high))
    return f"{row.verdict} on {one.task} ({size}, p = {row.p:.2g})"
