"""The pruner: a real Optuna pruner on a study in memory, which sees cohort after cohort.

The study lives in memory because pruners leave marks on trials (`completed_rung_*`) that would
make a trial which was interrupted skip the rungs it passed. It is rebuilt from the journal by
replaying every cohort through the same function that runs it.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.trial import TrialState

from lossml.search.recipe import DOUBT, WILCOXON
from lossml.search.recorded import STUDY
from lossml.search.records import RUNGS, Metrics, State, scores

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


def make_pruner(name: str, cohort: int, rungs: Sequence[int] = RUNGS) -> BasePruner:
    """Return the pruner of that name."""
    if name == "asha":
        return SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=REDUCTION)
    if name == "hyperband":
        return HyperbandPruner(min_resource=rungs[0], max_resource=rungs[-1], reduction_factor=REDUCTION)
    if name == "median":
        return MedianPruner(n_startup_trials=cohort // REDUCTION, n_warmup_steps=0)
    if name == WILCOXON:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return WilcoxonPruner(p_threshold=DOUBT)
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
        rungs: the fidelities; with several trainings a trial, how much is trained after each of them.

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
        shadow.tell(trial, scores(fate.metrics, objective)[-1] if done else None, state=_STATES[fate.state])
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
