"""A cohort in training: what trains it, and how it goes from rung to rung, begun and waited for apart."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from lossml.backend import ProgramLoss
from lossml.program import Node
from lossml.proxy import Facts, Outcome, Run, Score, TrainingState
from lossml.search.events import Listener, RungStarted
from lossml.search.pruning import Climb, Measured
from lossml.search.records import Gained, Metrics

Waiting = Callable[[], list[Outcome]]
"""Waits for trainings that were begun and gives their outcomes."""


class Training(Protocol):
    """Trains for a search; see `Trainer`, and `Several` for several trainings a trial."""

    facts: Facts

    def begin(self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int) -> Waiting:
        """Begin to train runs from one fidelity to another."""
        ...


@dataclass(frozen=True, slots=True)
class GainScore(Score):
    """A score of one of several trainings, with its gain over cross-entropy; see `Several`."""

    gain: float = 0.0


def metrics_of(score: Score) -> Metrics:
    """Keep a score's numbers."""
    numbers = (score.accuracy, score.balanced_accuracy, score.nll, score.ece, score.miou, score.top5)
    return Gained(*numbers, score.gain) if isinstance(score, GainScore) else Metrics(*numbers)


def measured(outcome: Outcome) -> Measured:
    """Return an outcome's metrics, or why it has none."""
    if outcome.score is None:
        return outcome.failure or "gave no result"
    return metrics_of(outcome.score)


def loss_of(program: Node, scale: float, prior: Sequence[float]) -> ProgramLoss:
    """Build the loss that a trial trains with."""
    return ProgramLoss(program, scale=scale, prior=torch.tensor(prior))


class InTraining:
    """A cohort in training; a leaf.

    Args:
        climb: which of its members are to be trained, and to which rung.
        runs: of the members.
        rungs: the fidelities.
        trainer: what trains.
        listener: hears which rung is waited for.
    """

    def __init__(
        self, climb: Climb, runs: Sequence[Run], rungs: Sequence[int], trainer: Training, listener: Listener
    ) -> None:
        """Begin to train all members to the first rung."""
        self._climb, self._runs, self._rungs, self._trainer, self._listener = climb, runs, rungs, trainer, listener
        self._states: dict[int, TrainingState | None] = dict.fromkeys(range(len(runs)))
        self._begin()

    def _begin(self) -> None:
        members, place = self._climb.living, self._climb.place
        start = self._rungs[place - 1] if place else 0
        runs, states = [self._runs[k] for k in members], [self._states[k] for k in members]
        self._waiting = self._trainer.begin(runs, states, start, self._rungs[place])

    def finish_rung(self) -> None:
        """Wait for the rung that was begun, and begin the next one."""
        members = self._climb.living
        self._listener(RungStarted(self._rungs[self._climb.place], len(members)))
        found = self._waiting()
        self._climb.take([measured(outcome) for outcome in found])
        living = set(self._climb.living)
        self._states = {k: outcome.state for k, outcome in zip(members, found, strict=True) if k in living}
        del found, self._waiting  # so that the next job can say which networks nobody holds any more
        if living:
            self._begin()
