"""Reading what a run holds, without anything that trains."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossml.errors import RunError
from lossml.program import Node, parse
from lossml.resources import is_file
from lossml.search import folder as folders
from lossml.search.objective import read_objective
from lossml.search.recipe import Recipe
from lossml.search.recorded import read_cohorts
from lossml.search.records import Cohort, Trial, finalists, rejections
from lossml.search.results import Verdict
from lossml.search.stored import read_verdict
from lossml.search.summary import Summary, summary
from lossml.search.yardstick import TaskSeen, read_yardsticks, tasks_seen


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
        tasks: what was trained on each task, where a trial has several trainings.
    """

    path: Path
    recipe: Recipe
    trials: tuple[Trial, ...]
    cohorts: tuple[Cohort, ...]
    verdict: Verdict | None
    summary: Summary
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tasks: tuple[TaskSeen, ...] = ()

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


def read_trials(folder: Path) -> tuple[tuple[Trial, ...], tuple[Cohort, ...]]:
    """Read the trials and cohorts of the journal in a folder."""
    found = read_cohorts(folder / folders.JOURNAL)
    return tuple(trial for _, some in found for trial in some), tuple(cohort for cohort, _ in found)


def load_run(run: Path) -> RunRecord:
    """Read a run.

    Raises:
        RunError: where the folder is no run or is damaged.
    """
    recipe = folders.read_recipe(run)
    with folders.reading(run):
        trials, cohorts = read_trials(run)
        control, _ = read_trials(run / folders.CONTROL)
        seen, started = summary(trials, recipe, control), folders.read_provenance(run)
        tasks = tasks_seen(recipe, trials, read_yardsticks(run))
        return RunRecord(run, recipe, trials, cohorts, read_verdict(run), seen, started, tasks)


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
    chosen = finalists(record.trials, record.recipe.aim, 1)
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
    numbers = [trial.number for trial in finalists(record.trials, record.recipe.aim, len(record.trials))]
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
