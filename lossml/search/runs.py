"""Searching, resuming, and reading what a run holds: what the command line and Python call."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from lossml import backend
from lossml.errors import RunError
from lossml.program import Node, parse
from lossml.proxy import Trainer
from lossml.proxy.tasks import check_name
from lossml.resources import is_file
from lossml.search import folder as folders
from lossml.search.confirm import Verdict, confirm, confirm_elsewhere, finalists, read_verdict
from lossml.search.elsewhere import with_tasks
from lossml.search.events import CohortFinished, Controlling, Event, Listener, Started, silent
from lossml.search.journal import Journal, cohorts_of, read_study
from lossml.search.loop import Search, rejections
from lossml.search.objective import read_objective
from lossml.search.propose import seed_programs
from lossml.search.pruning import STUDY
from lossml.search.recipe import CONTROLS, Recipe, make_recipe, resumed
from lossml.search.records import FULL, Cohort, Trial, as_json
from lossml.search.summary import Summary, summary
from lossml.search.transfer import check, spec_of

NO_CONTROL, MANY = CONTROLS[0], 1_000_000


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run holds.

    Attributes:
        path: its folder.
        recipe: what it was to do.
        trials: told so far.
        cohorts: with rejections and seconds.
        verdict: None before the confirmation is done.
        summary: score against length, and the agreement of the rungs.
        provenance: when, with what, on what and for which task it was started; empty where that was not kept.
    """

    path: Path
    recipe: Recipe
    trials: tuple[Trial, ...]
    cohorts: tuple[Cohort, ...]
    verdict: Verdict | None
    summary: Summary
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def rejections(self) -> dict[str, int]:
        """Programs rejected untrained, by reason."""
        return rejections(self.cohorts)


@dataclass(frozen=True, slots=True)
class Best:
    """The best loss of a run.

    Attributes:
        program: the loss.
        scale: factor that gives it cross-entropy's gradient size at the start.
        trial: its number.
        confirmed: whether it comes from the confirmation; else it is the best the search saw.
        note: one sentence for people.
    """

    program: Node
    scale: float
    trial: int
    confirmed: bool
    note: str


def search(
    flags: Mapping[str, object],
    *,
    file: str | None = None,
    name: str | None = None,
    root: str = folders.ROOT,
    confirming: bool = True,
    listener: Listener = silent,
) -> RunRecord:
    """Search for a loss and confirm what was found.

    Args:
        flags: keys of `Recipe` that are given.
        file: a recipe file, or the name of a shipped recipe.
        name: of the run; None for one that says what it is.
        root: where runs lie.
        confirming: whether to confirm; a resumed run can still be confirmed later.
        listener: hears what happens.

    Raises:
        UsageError: for bad input, before anything is trained or written.
    """
    recipe = with_tasks(make_recipe(flags, file))
    check_name(recipe.dataset)
    seed_programs(recipe)
    check(recipe)
    with ExitStack() as holding:
        with _trainer(recipe) as trainer:
            run = folders.create(recipe, name, root)
            holding.enter_context(folders.held(run))
            record = _go(recipe, run, trainer, listener, confirming=confirming)
        return _elsewhere(record, listener, confirming=confirming)


def resume(
    run: Path, flags: Mapping[str, object], *, confirming: bool = True, listener: Listener = silent
) -> RunRecord:
    """Go on with a run; see `search`. Only keys of `MAY_CHANGE` can be given anew; `confirm_on` adds to its tasks."""
    recipe = with_tasks(resumed(folders.read_recipe(run), flags))
    check(recipe)
    with folders.held(run):
        with _trainer(recipe) as trainer:
            folders.check_device(run, trainer.device)
            folders.write_atomically(run / folders.RECIPE, recipe.to_toml())
            record = _go(recipe, run, trainer, listener, confirming=confirming)
        return _elsewhere(record, listener, confirming=confirming)


def _elsewhere(record: RunRecord, listener: Listener, *, confirming: bool) -> RunRecord:
    """Test what was confirmed on the other tasks of the recipe, after the first trainer has given its memory back."""
    if not confirming or record.verdict is None or not record.recipe.confirm_on:
        return record
    confirm_elsewhere(record.recipe, record.path, record.verdict, record.trials, _trainer, listener)
    return load_run(record.path)


def _trainer(recipe: Recipe) -> Trainer:
    return Trainer(
        spec_of(recipe),
        backend.stack,
        device=recipe.device,
        workers=None if recipe.workers < 0 else recipe.workers,
        time_limit=recipe.trial_time_limit,
    )


def _go(recipe: Recipe, run: Path, trainer: Trainer, listener: Listener, *, confirming: bool) -> RunRecord:
    facts = trainer.facts
    task = as_json(facts)
    folders.provenance(run, device=trainer.device, workers=trainer.workers, seed=recipe.seed, task=task)
    listener(Started(recipe, facts, trainer.device, trainer.workers, str(run)))
    deadline = monotonic() + recipe.time_limit if recipe.time_limit else float("inf")
    with folders.reading(run):
        going = Search(recipe, Journal(run / folders.JOURNAL, recipe.objective, recipe.rungs), trainer, listener)
    if not going.is_done:
        (run / folders.VERDICT).unlink(missing_ok=True)  # it is of fewer trials than there will be
    going.run(deadline)
    others = _controlled(recipe, run, trainer, going.trained, listener) if recipe.control != NO_CONTROL else ()
    record = load_run(run)
    folders.write_atomically(run / folders.SUMMARY, json.dumps(as_json(record.summary), indent=2) + "\n")
    if confirming and recipe.candidates and record.trials:
        confirm(recipe, run, trainer, record.trials, listener, others)
    return load_run(run)


def _controlled(recipe: Recipe, run: Path, trainer: Trainer, most: int, listener: Listener) -> tuple[Trial, ...]:
    """Search at random until as much is trained as the search was, to the end of a cohort.

    Screens, pruner, rungs and each trial's seed are the search's own: the two differ in what is proposed alone.
    """
    alone = replace(recipe, proposer=recipe.control, seeds="none", budget=MANY)
    folder = run / folders.CONTROL
    folder.mkdir(exist_ok=True)

    def hear(event: Event) -> None:
        if isinstance(event, CohortFinished):
            nonlocal trained
            trained += sum(trial.trained(recipe.rungs) for trial in event.trials)
            listener(Controlling(trained / FULL, most / FULL))

    trained = 0
    listener(Controlling(0.0, most / FULL))
    with folders.reading(run):
        going = Search(alone, Journal(folder / folders.JOURNAL, alone.objective, alone.rungs), trainer, hear)
    going.run(float("inf"), most)
    return _trials(folder)[0]


def _trials(folder: Path) -> tuple[tuple[Trial, ...], tuple[Cohort, ...]]:
    """Read the trials and cohorts of the journal in a folder."""
    study = read_study(folder / folders.JOURNAL, STUDY)
    found = cohorts_of(study) if study is not None else []
    return tuple(trial for _, some in found for trial in some), tuple(cohort for cohort, _ in found)


def load_run(run: Path) -> RunRecord:
    """Read a run.

    Raises:
        RunError: where the folder is no run or is damaged.
    """
    recipe = folders.read_recipe(run)
    with folders.reading(run):
        trials, cohorts = _trials(run)
        control, _ = _trials(run / folders.CONTROL)
        seen, started = summary(trials, recipe, control), folders.read_provenance(run)
        return RunRecord(run, recipe, trials, cohorts, read_verdict(run), seen, started)


def find_run(given: str | None = None, root: str = folders.ROOT) -> Path:
    """Return the run a person means: a folder, a name below `root`, or the latest."""
    if given is None:
        return folders.latest(root)
    for path in (Path(given), Path(root) / given):
        if is_file(path / folders.RECIPE):
            return path
    raise RunError(f"{given} is no run; a run is a folder with a {folders.RECIPE}, such as those in {root}")


def best(record: RunRecord) -> Best:
    """Return the best loss of a run: confirmed, or else the best that the search saw.

    Raises:
        RunError: where nothing has been trained to the end.
    """
    by_number = {trial.number: trial for trial in record.trials}
    if record.verdict is not None and record.verdict.winner is not None:
        with folders.reading(record.path):
            trial = by_number[record.verdict.winner.contender.trial]
        return Best(parse(trial.program), trial.scale, trial.number, confirmed=True, note=record.verdict.sentence)
    chosen = finalists(record.trials, record.recipe.objective, 1)
    if not chosen:
        raise RunError(
            f"{record.path} holds no loss yet: no trial was trained to the end; resume it with "
            f"lossml search --resume {record.path}"
        )
    (trial,) = chosen
    note = "Not confirmed: the best score on the data that the search selected on, so expect less elsewhere."
    return Best(parse(trial.program), trial.scale, trial.number, confirmed=False, note=note)


def foremost(record: RunRecord, count: int) -> tuple[Trial, ...]:
    """Return the best trials: the confirmed by held-out score, then the others trained to the end by the search's.

    The first is the one that `best` returns; none where nothing has been trained to the end.
    """
    numbers = [trial.number for trial in finalists(record.trials, record.recipe.objective, len(record.trials))]
    by_number = {trial.number: trial for trial in record.trials}
    with folders.reading(record.path):
        return tuple(by_number[k] for k in dict.fromkeys([*_confirmed(record), *numbers]))[:count]


def _confirmed(record: RunRecord) -> list[int]:
    if record.verdict is None:
        return []
    sign = read_objective(record.recipe.objective).sign
    found = (row for row in record.verdict.comparison.rows if row.contender.trial >= 0 and not row.contender.control)
    rows = [row for row in found if row.verdict != "failed"]
    return [row.contender.trial for row in sorted(rows, key=lambda row: -sign * row.mean)]
