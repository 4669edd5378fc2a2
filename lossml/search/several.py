"""Several trainings a trial, over tasks and seeds, which the loop sees as one that grows."""

import math
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from lossml import zoo
from lossml.backend import ProgramLoss, gradient_scale
from lossml.errors import LossMLError
from lossml.proxy import Facts, Outcome, Run, Score, Trainer, TrainingState
from lossml.search import folder as folders
from lossml.search.cohort import GainScore, Training, Waiting, loss_of, metrics_of
from lossml.search.compare import Trains
from lossml.search.elsewhere import searched_on
from lossml.search.events import Gauging, Listener
from lossml.search.recipe import Recipe
from lossml.search.records import FULL
from lossml.search.trainings import sample_scores
from lossml.search.yardstick import Yardstick, read_yardsticks, write_yardsticks

REFERENCE_SEED, REFERENCES = 3_000_003, 4  # of cross-entropy: far from all others, as many as give a spread
APART = 10**16  # between the seeds of a trial's trainings: more than the seeds of all trials


class Several:
    """Trainers of several tasks that look like one; nothing is kept between two trainings of a trial.

    The k-th sixteen sixteenths of a trial are its k-th training, a whole one from a seed of its own: on the first task,
    on the second, and so on, then on the first again.

    Args:
        trainers: of the tasks.
        yardsticks: by which a score on each task is measured.
        objective: what is compared.
    """

    def __init__(self, trainers: Sequence[Training], yardsticks: Sequence[Yardstick], objective: str) -> None:
        """Take the first task's facts for the whole's: programs are screened and scaled for it."""
        self._trainers, self._yardsticks, self._objective = trainers, yardsticks, objective
        self.facts: Facts = trainers[0].facts

    def begin(self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int) -> Waiting:
        """Begin one of the trainings of every run; see `Training`.

        Args:
            runs: which losses, scaled for the first task.
            states: nothing, as every training is a whole one.
            start: sixteenths of a training done.
            stop: one training, sixteen sixteenths, more.
        """
        place = start // FULL
        if stop != FULL * (place + 1):
            raise ValueError(f"sixteenths {start} to {stop} are no whole training")
        task = place % len(self._trainers)
        trainer = self._trainers[task]
        there = _scaled(runs, trainer.facts) if task else [run.loss for run in runs]
        own = [Run(loss, run.lr, run.seed + APART * place) for loss, run in zip(there, runs, strict=True)]
        waiting = trainer.begin(own, [None for _ in states], 0, FULL)
        return lambda: [_measured(one, self._yardsticks[task], self._objective) for one in waiting()]


def _scaled(runs: Sequence[Run], facts: Facts) -> list[ProgramLoss]:
    """Build the losses of runs anew, with the gradient that cross-entropy has on another task."""
    programs = [run.loss.program for run in runs if isinstance(run.loss, ProgramLoss)]
    scales = map(float, gradient_scale(programs, facts.classes, facts.pixels, facts.prior))
    return [
        loss_of(program, scale if math.isfinite(scale) else 1.0, facts.prior)
        for program, scale in zip(programs, scales, strict=True)
    ]


def _measured(outcome: Outcome, yardstick: Yardstick, objective: str) -> Outcome:
    """Put the gain into an outcome's score, and leave the network behind."""
    score = outcome.score
    if score is None:
        return outcome
    numbers = {field.name: getattr(score, field.name) for field in fields(Score)}
    return Outcome(None, GainScore(**numbers, gain=yardstick.gain(metrics_of(score).of(objective))))


def over_tasks(recipe: Recipe, run: Path, trainers: Sequence[Trainer], listener: Listener) -> Several:
    """Return what trains trials on all tasks of a search; train cross-entropy there first, once for a run's folder.

    Args:
        recipe: of the search.
        run: its folder.
        trainers: of its tasks, in order.
        listener: hears what happens.

    Raises:
        LossMLError: where cross-entropy cannot be trained on a task, or every sample there is the same to it.
    """
    texts = searched_on(recipe)
    with folders.reading(run):
        found = read_yardsticks(run)
        if found and tuple(one.task for one in found) != texts:
            raise ValueError(f"{folders.TASKS} is not of {', '.join(texts)}")
    if not found:
        found = tuple(gauged(recipe, *pair, listener) for pair in zip(texts, trainers, strict=True))
        write_yardsticks(run, found)
    return Several(trainers, found, recipe.objective)


def gauged(recipe: Recipe, task: str, trainer: Trains, listener: Listener) -> Yardstick:
    """Train cross-entropy on a task of a search and return what its scores are; see `over_tasks`."""
    listener(Gauging(task))
    loss = loss_of(zoo.program_of("ce"), 1.0, trainer.facts.prior)
    runs = [Run(loss, 1.0, REFERENCE_SEED + 1000 * recipe.seed + k) for k in range(REFERENCES)]
    outcomes = trainer.begin(runs, [None] * REFERENCES, 0, FULL)()
    states = [one.state for one in outcomes if one.state is not None]
    if len(states) < REFERENCES:
        reason = next(one.failure for one in outcomes if one.state is None)
        raise LossMLError(
            f"cross-entropy, by which other losses are measured, could not be trained on {task}: {reason}"
        )
    scored = [one.score for one in trainer.evaluate(states, "validation") if one.score is not None]
    scores = np.array([metrics_of(score).of(recipe.objective) for score in scored])
    by_sample = np.mean([sample_scores(score.parts, recipe.objective) for score in scored], axis=0)
    spread = math.sqrt(float(scores.var(ddof=1)) + float(by_sample.var(ddof=1)) / len(by_sample))
    if spread == 0.0:
        raise LossMLError(
            f"cross-entropy's {recipe.objective} on {task} is {abs(scores[0]):g} for every sample and seed, by which "
            "nothing can be measured; leave this task out"
        )
    return Yardstick(task, float(scores.mean()), spread)
