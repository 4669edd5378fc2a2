"""The pruner: a real Optuna pruner on a study in memory, which sees cohort after cohort.

The study lives in memory because pruners leave marks on trials (`completed_rung_*`) that would
make a trial which was interrupted skip the rungs it passed. It is rebuilt from the journal by
replaying every cohort through the same class that runs it.
"""

import warnings
from collections.abc import Sequence
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
FEW = 8  # a cohort's part, one in so many, that may have its last rung before it when the next cohort is proposed

Measured = Metrics | str
"""What a training gave: metrics, or the reason why it failed."""

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


class Climb:
    """A cohort on its way from rung to rung; a leaf that tells the pruner's study.

    Every member reports before any is judged, and all are judged in order of their numbers, so that nothing depends on
    who finished first.

    Args:
        shadow: the study in memory.
        size: how many trials the cohort has, at least 1.
        objective: what is compared.
        rungs: the fidelities; with several trainings a trial, how much is trained after each of them.

    Attributes:
        place: of the rung that the living are to be trained to, as long as some are.
        fates: one per member, in order.
    """

    def __init__(self, shadow: optuna.Study, size: int, objective: str, rungs: Sequence[int] = RUNGS) -> None:
        """Put all members before the first rung."""
        self._shadow, self._objective, self._rungs = shadow, objective, rungs
        self._trials = [shadow.ask() for _ in range(size)]
        self.place, self.fates = 0, [Fate(State.RUNNING)] * size

    @property
    def living(self) -> list[int]:
        """Return the members, by place, that go on."""
        return [k for k, fate in enumerate(self.fates) if fate.state is State.RUNNING]

    @property
    def is_tail(self) -> bool:
        """Whether a few have the last rung before them, and the others are judged."""
        few = 0 < len(self.living) * FEW <= len(self.fates)
        return few and 0 < self.place == len(self._rungs) - 1

    def take(self, found: Sequence[Measured]) -> None:
        """Take what the living gave at their rung, judge them, and tell the study when nobody is left."""
        rung = self._rungs[self.place]
        for k, one in zip(self.living, found, strict=True):
            self.fates[k] = _extended(self.fates[k], one)
            if not isinstance(one, str):
                self._trials[k].report(one.of(self._objective), rung)
        _judge(self._trials, self.fates, last=rung == self._rungs[-1])
        self.place += 1
        if not self.living:
            self._tell()

    def _tell(self) -> None:
        for trial, fate in zip(self._trials, self.fates, strict=True):
            done = fate.state is State.COMPLETE
            value = scores(fate.metrics, self._objective)[-1] if done else None
            self._shadow.tell(trial, value, state=_STATES[fate.state])


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
