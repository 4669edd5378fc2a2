"""By what scores on several tasks become comparable, cross-entropy's own scores there, and what was trained where."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from lossml.search import folder as folders
from lossml.search.objective import GAIN, as_read
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, State, Trial, as_json, finalists
from lossml.search.statistics import Correlation, rank_correlation


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Cross-entropy's score on a task, on the search-validation split.

    Attributes:
        task: which, as text.
        mean: of the objective over a few seeds, more is better.
        spread: standard deviation of one score, over seeds and over draws of the samples.
    """

    task: str
    mean: float
    spread: float

    def gain(self, value: float) -> float:
        """Return how far a value of the objective, more is better, lies above cross-entropy's, in its spreads.

        It is Glass's delta (1976). Points of one task are then worth as much as those of another where chance moves
        both alike, and no task decides alone because its scores lie wide apart.
        """
        return (value - self.mean) / self.spread


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """What a search did on one of its tasks.

    Attributes:
        task: which, as text.
        trainings: of trials there.
        reference: cross-entropy's score, as people read the objective.
        spread: see `Yardstick`.
        best: the mean score there of the trial that is best over all tasks, as people read it; None without one.
        gain: of that trial there.
        agreement: rank correlation of the gains there with the mean gain on the other tasks, over the trials that were
            trained on all; None for fewer than 5, or one task.
    """

    task: str
    trainings: int
    reference: float
    spread: float
    best: float | None
    gain: float | None
    agreement: Correlation | None


def write_yardsticks(run: Path, found: Sequence[Yardstick]) -> None:
    """Keep the yardsticks in a run's folder."""
    folders.write_atomically(run / folders.TASKS, json.dumps(as_json(tuple(found)), indent=2) + "\n")


def read_yardsticks(run: Path) -> tuple[Yardstick, ...]:
    """Return a run's yardsticks, a task each; none where there are none, or not yet."""
    path = run / folders.TASKS
    return tuple(Yardstick(**one) for one in json.loads(path.read_text())) if path.is_file() else ()


def tasks_seen(recipe: Recipe, trials: Sequence[Trial], found: Sequence[Yardstick]) -> tuple[TaskSeen, ...]:
    """Say what was trained on each task of a search, and what came of it; nothing for a search with one training."""
    if not found:
        return ()
    count = len(found)
    on_each = [trial.trained(recipe.stages) // FULL for trial in trials]
    gains = np.array([_by_task(t, GAIN, count) for t in trials if t.state is State.COMPLETE]).reshape(-1, count)
    best = [(_by_task(t, recipe.objective, count), _by_task(t, GAIN, count)) for t in finalists(trials, recipe.aim, 1)]
    return tuple(
        TaskSeen(
            one.task,
            sum(len(range(place, done, count)) for done in on_each),
            as_read(one.mean, recipe.objective),
            one.spread,
            as_read(best[0][0][place], recipe.objective) if best else None,
            best[0][1][place] if best else None,
            _agreement(gains, place),
        )
        for place, one in enumerate(found)
    )


def _by_task(trial: Trial, objective: str, count: int) -> list[float]:
    """Return a whole trial's mean of an objective on each of so many tasks, more is better."""
    return [fmean(m.of(objective) for m in trial.metrics[place::count]) for place in range(count)]


def _agreement(gains: NDArray[np.float64], place: int) -> Correlation | None:
    """Correlate the gains (trials, tasks) on one task with their mean on the others."""
    others = np.delete(gains, place, 1)
    return rank_correlation(list(gains[:, place]), list(others.mean(1))) if others.size else None
