"""The search: cohorts of proposals, trained rung by rung, told to the journal.

A cohort's last rung, which few of it reach, trains while the next cohort is proposed and beside its first rung: workers
would wait, and a network alone does not fill two. That proposal therefore sees of those few what they were worth one
rung earlier, and the one after sees all; so it goes whoever is fast or slow, and when a search is resumed.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Protocol

from lossml.backend import Crowd
from lossml.evolve import Parent, Proposer
from lossml.program import parse, show
from lossml.proxy import Run
from lossml.search.cohort import InTraining, Training, loss_of
from lossml.search.events import CohortFinished, Listener, Proposed, Proposing
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
from lossml.search.pruning import Climb, Measured, make_pruner, make_shadow
from lossml.search.recipe import Recipe
from lossml.search.records import Cohort, State, Trial

SEARCH_SEED, MOST_TRIALS = 10**12, 10**6  # far from a confirmation's seeds, so that no luck is reused


class Ledger(Protocol):
    """Keeps what a search has found; the run's journal, or whatever does the same."""

    def cohorts(self) -> Sequence[tuple[Cohort, tuple[Trial, ...]]]:
        """Return the recorded cohorts with their trials, in order."""
        ...

    def record(self, cohort: Cohort, trials: Sequence[Trial]) -> None:
        """Keep a cohort's results."""
        ...


def _scores(trial: Trial, objective: str) -> tuple[float, ...]:
    return () if trial.state is State.FAILED else trial.scores(objective)


@dataclass(frozen=True, slots=True, eq=False)
class _Underway:
    """A cohort that is being trained, or replayed.

    Attributes:
        trials: as they were proposed, or are recorded.
        climb: how far they are.
        finish_rung: takes those that live to the next rung.
        rejections: programs rejected untrained on the way to them, by reason.
        proposing: seconds that took.
        replayed: whether it is recorded already.
    """

    trials: Sequence[Trial]
    climb: Climb
    finish_rung: Callable[[], None]
    rejections: Mapping[str, int]
    proposing: float
    replayed: bool = False

    @property
    def now(self) -> list[Trial]:
        """Return the trials as they stand."""
        rows = zip(self.trials, self.climb.fates, strict=True)
        return [replace(trial, state=f.state, metrics=f.metrics, reason=f.reason) for trial, f in rows]


def _replayed(cohort: Cohort, trials: Sequence[Trial], climb: Climb) -> _Underway:
    """Take a recorded cohort up again: what its trials are worth is looked up."""

    def finish_rung() -> None:
        rows, place = [trials[k] for k in climb.living], climb.place
        found: list[Measured] = [row.metrics[place] if place < len(row.metrics) else row.reason for row in rows]
        climb.take(found)

    return _Underway(trials, climb, finish_rung, cohort.rejections, cohort.seconds[0], replayed=True)


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
        self._trained, self._waited = 0, 0.0
        self._tail: _Underway | None = None
        self._history: list[Parent] = []
        self._keys: set[str] = set()
        self._crowd = Crowd.of([], facts.classes, facts.pixels)
        for cohort, trials in ledger.cohorts():
            self._take_up(_replayed(cohort, trials, self._climb(cohort.size)))

    @property
    def is_done(self) -> bool:
        """Whether the budget is spent."""
        return len(self._history) >= self._recipe.budget

    @property
    def trained(self) -> int:
        """How much was trained so far or is being trained, in sixteenths of a full training."""
        return self._trained

    def run(self, deadline: float, most: float = float("inf")) -> None:
        """Search until the budget is spent, the deadline (monotonic seconds) has passed, or `most` is trained.

        Args:
            deadline: after which no further cohort starts.
            most: training, in sixteenths of a full one, after which no further cohort starts.
        """
        while not self.is_done and monotonic() < deadline and self.trained < most:
            try:
                cohort = self._begun(min(self._recipe.cohort, self._recipe.budget - len(self._history)))
            except ExhaustedError:
                if not self._history:
                    raise
                break  # what was found so far can be confirmed
            self._take_up(cohort)
        self._end_tail()

    def _climb(self, size: int) -> Climb:
        return Climb(self._shadow, size, self._recipe.aim, self._recipe.stages)

    def _begun(self, size: int) -> _Underway:
        """Propose a cohort and begin to train it."""
        began, start = monotonic(), len(self._history)
        self._listener(Proposing(len(self._tail.climb.living) if self._tail else 0))
        plan = self._plan(size)
        trials = [_trial(*row) for row in enumerate(plan.accepted, start)]
        self._listener(Proposed(tuple(trial.number for trial in trials), plan.rejections))
        climb, proposing = self._climb(len(trials)), monotonic() - began
        training = InTraining(climb, self._runs(plan), self._recipe.stages, self._trainer, self._listener)
        return _Underway(trials, climb, training.finish_rung, plan.rejections, proposing)

    def _take_up(self, cohort: _Underway) -> None:
        """Bring a cohort as far as the next proposal asks for: to its end, or to a last rung that few have to train."""
        self._end_tail()
        while cohort.climb.living and not cohort.climb.is_tail:
            self._finish_rung(cohort)
        self._remember(cohort.now)
        if cohort.replayed:
            self._listener(CohortFinished(tuple(cohort.trials), len(self._history), replayed=True))
        self._tail = cohort
        if not cohort.climb.living:
            self._end_tail()

    def _end_tail(self) -> None:
        """Wait for the cohort before, if it is not done yet, and record it."""
        if self._tail is None:
            return
        cohort, self._tail = self._tail, None
        while cohort.climb.living:
            self._finish_rung(cohort)
        trials = cohort.trials if cohort.replayed else cohort.now
        start = trials[0].number
        rows = zip(self._history[start:], trials, strict=True)
        self._history[start:] = [replace(parent, scores=_scores(trial, self._recipe.aim)) for parent, trial in rows]
        if not cohort.replayed:
            seconds = cohort.proposing, self._waited
            self._ledger.record(Cohort(start, len(trials), cohort.rejections, seconds), trials)
            self._listener(CohortFinished(tuple(trials), len(self._history), replayed=False))
        self._waited = 0.0

    def _finish_rung(self, cohort: _Underway) -> None:
        began = monotonic()
        cohort.finish_rung()
        self._waited += monotonic() - began

    def _plan(self, size: int) -> Plan:
        rng = random.Random(f"{self._recipe.seed}/{len(self._history)}")  # noqa: S311 - reproducible, nothing secret
        scale = make_scale(self._trainer.facts.prior, self._trainer.facts.pixels)
        known = self._history, self._keys, self._crowd
        plan = fill(self._proposer, rng, *known, size, self._surrogate, scale, self._rules)
        if self._history:
            return plan
        return Plan(plan.accepted, dict(Counter(plan.rejections) + Counter(self._rejected_seeds)))

    def _runs(self, plan: Plan) -> list[Run]:
        prior = self._trainer.facts.prior
        losses = [loss_of(one.proposal.program, one.scale, prior) for one in plan.accepted]
        return [Run(loss, 1.0, _seed(self._recipe.seed, k)) for k, loss in enumerate(losses, len(self._history))]

    def _remember(self, trials: Sequence[Trial]) -> None:
        """Remember of trials what later cohorts ask for: a search is long, and the rest is in the ledger."""
        programs = [parse(trial.program) for trial in trials]
        self._history += [
            Parent.of(program, trial.number, _scores(trial, self._recipe.aim))
            for trial, program in zip(trials, programs, strict=True)
        ]
        self._trained += sum(trial.trained(self._recipe.stages) for trial in trials)
        self._keys.update(key for trial in trials for key in trial.keys)
        self._crowd = self._crowd.plus(self._crowd.places(programs))


def _seed(search: int, number: int) -> int:
    """Return a seed of a trial's own: were it shared, evolution would breed what suits that one initialisation."""
    return SEARCH_SEED + MOST_TRIALS * search + number


def _trial(number: int, one: Accepted) -> Trial:
    proposal = one.proposal
    return Trial(
        number, show(proposal.program), proposal.operator, proposal.parents, one.scale, one.keys, State.RUNNING
    )
