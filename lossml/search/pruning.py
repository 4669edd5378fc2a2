"""The pruner: Optuna's, or one that decides as Optuna's does, on a study in memory, which sees cohort after cohort.

The study lives in memory because pruners leave marks on trials (`completed_rung_*`) that would
make a trial which was interrupted skip the rungs it passed. It is rebuilt from the journal by
replaying every cohort through the same function that runs it.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from math import isnan

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from lossml.search.recorded import STUDY
from lossml.search.records import RUNGS, Metrics, State

REDUCTION = 4

Measured = Metrics | str
"""What a training gave: metrics, or the reason why it failed."""

Measure = Callable[[Sequence[int], int], Sequence[Measured]]
"""Gives the results of members of a cohort (by place) at a rung (by place)."""

_STATES = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one trial of a cohort."""

    state: State
    metrics: tuple[Metrics, ...] = ()
    reason: str = ""


class Asha(BasePruner):
    """Optuna's `SuccessiveHalvingPruner`, decision for decision; a leaf that serves one study.

    Optuna's looks through all trials and sorts for every decision. This one keeps the scores of each rung sorted.

    Args:
        first: the fidelity of the lowest rung; each next is REDUCTION times the one before.
    """

    def __init__(self, first: int) -> None:
        """Begin without scores."""
        self._first, self._scores = first, defaultdict[int, list[float]](list)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:  # noqa: ARG002 - Optuna's signature
        """Say whether a trial is, at a rung that it has reached since it was last asked for, not in the best part."""
        steps = sorted(trial.intermediate_values)
        passed, reached = (self._rungs(step) for step in [0, *steps][-2:])
        value, due = trial.intermediate_values[steps[-1]], range(passed, reached)
        return bool(due) and (isnan(value) or not all(self._keeps(rung, value) for rung in due))

    def _rungs(self, step: int) -> int:
        """Count the rungs up to a fidelity."""
        return next(k for k in count() if self._first * REDUCTION**k > step)

    def _keeps(self, rung: int, value: float) -> bool:
        """Enter a score at a rung and say whether it is in the best part of those there, or the best."""
        scores = self._scores[rung]
        insort(scores, value)
        return value >= scores[-max(1, len(scores) // REDUCTION)]


def make_pruner(name: str, cohort: int, rungs: Sequence[int] = RUNGS) -> BasePruner:
    """Return the pruner of that name."""
    if name == "asha":
        return Asha(rungs[0])
    if name == "hyperband":
        return HyperbandPruner(min_resource=rungs[0], max_resource=rungs[-1], reduction_factor=REDUCTION)
    if name == "median":
        return MedianPruner(n_startup_trials=cohort // REDUCTION, n_warmup_steps=0)
    return NopPruner()


def make_shadow(pruner: BasePruner) -> optuna.Study:
    """Make the study in memory that the pruner sees; scores are maximised."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(study_name=STUDY, direction="maximize", pruner=pruner)


def run_cohort(
    shadow: optuna.Study, size: int, objective: str, measure: Measure, rungs: Sequence[int] = RUNGS
) -> list[Fate]:
    """Take a cohort from rung to rung, pruning between them.

    Args:
        shadow: the study in memory.
        size: how many trials the cohort has.
        objective: what is compared.
        measure: gives the results of members (by place) at a rung (by place).
        rungs: the fidelities.

    Returns:
        One fate per member, in order. Every member reports before any is judged, and all are
        judged in order of their numbers, so that nothing depends on who finished first.
    """
    trials = [shadow.ask() for _ in range(size)]
    fates = [Fate(State.RUNNING)] * size
    for place, rung in enumerate(rungs):
        living = [k for k in range(size) if fates[k].state is State.RUNNING]
        if not living:
            break
        for k, found in zip(living, measure(living, place), strict=True):
            fates[k] = _extended(fates[k], found)
            if not isinstance(found, str):
                trials[k].report(found.of(objective), rung)
        _judge(trials, fates, last=rung == rungs[-1])
    for trial, fate in zip(trials, fates, strict=True):
        done = fate.state is State.COMPLETE
        shadow.tell(trial, fate.metrics[-1].of(objective) if done else None, state=_STATES[fate.state])
    return fates


def _extended(fate: Fate, found: Measured) -> Fate:
    if isinstance(found, str):
        return replace(fate, state=State.FAILED, reason=found)
    return replace(fate, metrics=(*fate.metrics, found))


def _judge(trials: Sequence[optuna.Trial], fates: list[Fate], *, last: bool) -> None:
    for k, fate in enumerate(fates):
        if fate.state is not State.RUNNING:
            continue
        if last:
            fates[k] = replace(fate, state=State.COMPLETE)
        elif trials[k].should_prune():
            fates[k] = replace(fate, state=State.PRUNED)
