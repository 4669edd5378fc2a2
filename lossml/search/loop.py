"""The search: cohorts of proposals, trained rung by rung, told to the journal."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import torch

from lossml.backend import Crowd, ProgramLoss
from lossml.evolve import Parent, Proposer
from lossml.program import Node, parse, show
from lossml.proxy import Facts, Outcome, Run, Score, TrainingState
from lossml.search.events import CohortFinished, Listener, Proposed, RungStarted
from lossml.search.propose import (
    ALL_RULES,
    Accepted,
    ExhaustedError,
    Plan,
    Rules,
    fill,
    make_proposer,
    make_scale,
    make_surrogate,
)
from lossml.search.pruning import Fate, Measure, Measured, make_pruner, make_shadow, run_cohort
from lossml.search.recipe import Recipe
from lossml.search.records import Cohort, Gained, Metrics, State, Trial

SEARCH_SEED, MOST_TRIALS = 10**12, 10**6  # far from a confirmation's seeds, so that no luck is reused


class Ledger(Protocol):
    """Keeps what a search has found; the run's journal, or whatever does the same."""

    def cohorts(self) -> Sequence[tuple[Cohort, tuple[Trial, ...]]]:
        """Return the recorded cohorts with their trials, in order."""
        ...

    def record(self, cohort: Cohort, trials: Sequence[Trial]) -> None:
        """Keep a cohort's results."""
        ...


class Training(Protocol):
    """Trains for a search; see `Trainer`, and `Several` for several trainings a trial."""

    facts: Facts

    def advance(
        self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int
    ) -> list[Outcome]:
        """Train runs from one fidelity to another."""
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


def _parent(trial: Trial, program: Node, objective: str) -> Parent:
    return Parent.of(program, trial.number, () if trial.state is State.FAILED else trial.scores(objective))


def _trained(trainer: Training, runs: Sequence[Run], rungs: Sequence[int], listener: Listener) -> Measure:
    """Return what measures members of a cohort by training them on from where they stand."""
    states: list[TrainingState | None] = [None] * len(runs)

    def measure(members: Sequence[int], place: int) -> list[Measured]:
        listener(RungStarted(rungs[place], len(members)))
        start = rungs[place - 1] if place else 0
        found = trainer.advance([runs[k] for k in members], [states[k] for k in members], start, rungs[place])
        for k, outcome in zip(members, found, strict=True):
            states[k] = outcome.state
        return [measured(outcome) for outcome in found]

    return measure


def _stored(trials: Sequence[Trial]) -> Measure:
    """Return what measures members of a recorded cohort by looking them up."""

    def measure(members: Sequence[int], place: int) -> list[Measured]:
        rows = [trials[k] for k in members]
        return [row.metrics[place] if place < len(row.metrics) else row.reason for row in rows]

    return measure


class Search:
    """A search in progress; a leaf that writes the ledger and owns the pruner's study.

    Args:
        recipe: what to do.
        ledger: what was found before and where to keep what is found.
        trainer: what trains.
        listener: hears what happens.
        rules: which tests a program must pass before it is trained.
        proposer: where programs come from; None for what the recipe names.
    """

    def __init__(
        self,
        recipe: Recipe,
        ledger: Ledger,
        trainer: Training,
        listener: Listener,
        rules: Rules = ALL_RULES,
        proposer: Proposer | None = None,
    ) -> None:
        """Replay what the ledger holds."""
        self._recipe, self._trainer, self._listener, self._rules = recipe, trainer, listener, rules
        self._ledger, facts = ledger, trainer.facts
        named, self._rejected_seeds = make_proposer(recipe, facts.prior, facts.pixels, rules)
        self._proposer = proposer or named
        self._surrogate = make_surrogate(recipe)
        self._shadow = make_shadow(make_pruner(recipe.pruner, recipe.cohort, recipe.stages))
        self._trained = 0
        self._history: list[Parent] = []
        self._keys: set[str] = set()
        self._crowd = Crowd.of([], facts.classes, facts.pixels)
        for cohort, trials in ledger.cohorts():
            run_cohort(self._shadow, cohort.size, recipe.aim, _stored(trials), recipe.stages)
            self._finish(trials, replayed=True)

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent."""
        return len(self._history) >= self._recipe.budget

    @property
    def trained(self) -> int:
        """How much was trained so far, in sixteenths of a full training."""
        return self._trained

    def run(self, deadline: float, most: float = float("inf")) -> None:
        """Search until the budget is spent, the deadline (monotonic seconds) has passed, or `most` is trained.

        Args:
            deadline: after which no further cohort starts.
            most: training, in sixteenths of a full one, after which no further cohort starts.
        """
        while not self.is_done and monotonic() < deadline and self.trained < most:
            try:
                self._one_cohort(min(self._recipe.cohort, self._recipe.budget - len(self._history)))
            except ExhaustedError:
                if not self._history:
                    raise
                return  # what was found so far can be confirmed

    def _one_cohort(self, size: int) -> None:
        began, start = monotonic(), len(self._history)
        plan = self._plan(size)
        numbers = tuple(range(start, start + len(plan.accepted)))
        self._listener(Proposed(numbers, plan.rejections))
        planned = monotonic()
        aim, stages = self._recipe.aim, self._recipe.stages
        fates = run_cohort(self._shadow, len(numbers), aim, self._training(plan), stages)
        cohort = Cohort(start, len(numbers), plan.rejections, (planned - began, monotonic() - planned))
        trials = [_trial(*row) for row in zip(numbers, plan.accepted, fates, strict=True)]
        self._ledger.record(cohort, trials)
        self._finish(trials, replayed=False)

    def _plan(self, size: int) -> Plan:
        rng = random.Random(f"{self._recipe.seed}/{len(self._history)}")  # noqa: S311 - reproducible, nothing secret
        scale = make_scale(self._trainer.facts.prior, self._trainer.facts.pixels)
        known = self._history, self._keys, self._crowd
        plan = fill(self._proposer, rng, *known, size, self._surrogate, scale, self._rules)
        if self._history:
            return plan
        return Plan(plan.accepted, dict(Counter(plan.rejections) + Counter(self._rejected_seeds)))

    def _training(self, plan: Plan) -> Measure:
        prior = self._trainer.facts.prior
        losses = [loss_of(one.proposal.program, one.scale, prior) for one in plan.accepted]
        runs = [Run(loss, 1.0, _seed(self._recipe.seed, k)) for k, loss in enumerate(losses, len(self._history))]
        return _trained(self._trainer, runs, self._recipe.stages, self._listener)

    def _finish(self, trials: Sequence[Trial], *, replayed: bool) -> None:
        """Remember of trials what later cohorts ask for: a search is long, and the rest is in the ledger."""
        programs = [parse(trial.program) for trial in trials]
        self._history += [_parent(*row, self._recipe.aim) for row in zip(trials, programs, strict=True)]
        self._trained += sum(trial.trained(self._recipe.stages) for trial in trials)
        self._keys.update(key for trial in trials for key in trial.keys)
        self._crowd = self._crowd.plus(self._crowd.places(programs))
        self._listener(CohortFinished(tuple(trials), len(self._history), replayed))


def _seed(search: int, number: int) -> int:
    """Return a seed of a trial's own: were it shared, evolution would breed what suits that one initialisation."""
    return SEARCH_SEED + MOST_TRIALS * search + number


def _trial(number: int, one: Accepted, fate: Fate) -> Trial:
    proposal = one.proposal
    return Trial(
        number,
        show(proposal.program),
        proposal.operator,
        proposal.parents,
        one.scale,
        one.keys,
        fate.state,
        fate.metrics,
        fate.reason,
    )
