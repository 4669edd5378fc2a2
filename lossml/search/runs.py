"""Searching and resuming: what the command line and Python call."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from lossml import backend, zoo
from lossml.proxy import Run, Trainer
from lossml.proxy.tasks import check_name
from lossml.search import folder as folders
from lossml.search.cohort import Training, loss_of
from lossml.search.confirm import confirm, confirm_elsewhere
from lossml.search.elsewhere import there, with_tasks
from lossml.search.events import CohortFinished, Controlling, Event, Listener, Started, silent
from lossml.search.journal import Journal
from lossml.search.loop import Search
from lossml.search.propose import seed_programs
from lossml.search.reading import RunRecord, load_run, read_trials
from lossml.search.recipe import CONTROLS, Recipe, make_recipe, resumed
from lossml.search.records import FULL, Trial, as_json
from lossml.search.several import over_tasks
from lossml.search.transfer import check, spec_of

NO_CONTROL, MANY = CONTROLS[0], 1_000_000


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
        return _elsewhere(record, trainer.workers, listener, confirming=confirming)


def resume(
    run: Path, flags: Mapping[str, object], *, confirming: bool = True, listener: Listener = silent
) -> RunRecord:
    """Go on with a run; see `search`. Only keys of `MAY_CHANGE` can be given anew; `confirm_on` adds to its tasks."""
    recipe = with_tasks(resumed(folders.read_recipe(run), flags))
    check(recipe)
    with folders.held(run):
        with _trainer(recipe) as trainer:
            folders.check_device(run, trainer.device)
            folders.check_tasks(run, _tasks(trainer))
            folders.write_atomically(run / folders.RECIPE, recipe.to_toml())
            record = _go(recipe, run, trainer, listener, confirming=confirming)
        return _elsewhere(record, trainer.workers, listener, confirming=confirming)


def _elsewhere(record: RunRecord, workers: int, listener: Listener, *, confirming: bool) -> RunRecord:
    """Test what was confirmed on the recipe's other tasks, after the first trainer has given its memory back.

    It measured how many workers are of use; the other tasks are trained by as many.
    """
    if not confirming or record.verdict is None or not record.recipe.tested_on:
        return record
    recipe = replace(record.recipe, workers=workers)
    confirm_elsewhere(recipe, record.path, record.verdict, record.trials, _trainer, listener)
    return load_run(record.path)


def _trainer(recipe: Recipe) -> Trainer:
    return Trainer(
        spec_of(recipe),
        backend.stack,
        device=recipe.device,
        workers=None if recipe.workers < 0 else recipe.workers,
        time_limit=recipe.trial_time_limit,
        others=[spec_of(there(recipe, text)) for text in recipe.also_on],
    )


def _tasks(trainer: Trainer) -> list[dict[str, Any]]:
    return [as_json(one.facts) for one in trainer.each()]


def _go(recipe: Recipe, run: Path, trainer: Trainer, listener: Listener, *, confirming: bool) -> RunRecord:
    facts = trainer.facts
    ordinary = Run(loss_of(zoo.program_of("ce"), 1.0, facts.prior))
    times = trainer.settle(ordinary)
    task, *also = _tasks(trainer)
    folders.provenance(
        run,
        device=trainer.device,
        workers=trainer.workers,
        seed=recipe.seed,
        **{folders.TASK: task},
        **({folders.ALSO: also} if also else {}),
    )
    listener(Started(recipe, facts, trainer.device, trainer.workers, str(run), times))
    deadline = monotonic() + recipe.time_limit if recipe.time_limit else float("inf")
    training = over_tasks(recipe, run, trainer.each(), listener) if recipe.trainings > 1 else trainer
    trainer.prepare(ordinary, recipe.cohort)
    with folders.reading(run):
        going = Search(recipe, Journal(run / folders.JOURNAL, recipe.aim, recipe.stages), training, listener)
    if not going.is_done:
        (run / folders.VERDICT).unlink(missing_ok=True)  # it is of fewer trials than there will be
    going.run(deadline)
    others = _controlled(recipe, run, training, going.trained, listener) if recipe.control != NO_CONTROL else ()
    record = load_run(run)
    folders.write_atomically(run / folders.SUMMARY, json.dumps(as_json(record.summary), indent=2) + "\n")
    if confirming and recipe.candidates and record.trials:
        confirm(recipe, run, trainer, record.trials, listener, others)
    return load_run(run)


def _controlled(recipe: Recipe, run: Path, trainer: Training, most: int, listener: Listener) -> tuple[Trial, ...]:
    """Search at random until as much is trained as the search was, to the end of a cohort.

    Screens, pruner, rungs and each trial's seed are the search's own: the two differ in what is proposed alone.
    """
    alone = replace(recipe, proposer=recipe.control, seeds="none", budget=MANY)
    folder = run / folders.CONTROL
    folder.mkdir(exist_ok=True)

    def hear(event: Event) -> None:
        if isinstance(event, CohortFinished):
            nonlocal trained
            trained += sum(trial.trained(recipe.stages) for trial in event.trials)
            listener(Controlling(trained / FULL, most / FULL))

    trained = 0
    listener(Controlling(0.0, most / FULL))
    with folders.reading(run):
        going = Search(alone, Journal(folder / folders.JOURNAL, alone.aim, alone.stages), trainer, hear)
    going.run(float("inf"), most)
    return read_trials(folder)[0]
