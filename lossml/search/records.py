"""What a run has found so far, as plain values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from statistics import fmean
from typing import Any, cast

from lossml.search.objective import GAIN, read_objective

FULL = 16
"""Full training; fidelity is counted in its sixteenths."""
RUNGS = (1, 4, FULL)
"""Fidelities at which trials are compared, where a recipe says nothing else."""


class State(Enum):
    """What became of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Metrics:
    """How good a network is on a split; see `lossml.proxy.Score`. What was not measured is 0, as top5 of proxies."""

    accuracy: float
    balanced_accuracy: float
    nll: float
    ece: float
    miou: float = 0.0
    top5: float = 0.0

    def of(self, objective: str) -> float:
        """Return the objective so that more is better; see `read_objective`."""
        values: list[float] = [weight * getattr(self, name) for name, weight in read_objective(objective).weights]
        return sum(values)


@dataclass(frozen=True, slots=True)
class Gained(Metrics):
    """Metrics of one of several trainings of a trial, and the gain over cross-entropy there; see `Yardstick`."""

    gain: float = 0.0


def metrics_from(found: Mapping[str, Any]) -> Metrics:
    """Read metrics back from JSON."""
    return Gained(**found) if GAIN in found else Metrics(**found)


def scores(metrics: Sequence[Metrics], objective: str) -> tuple[float, ...]:
    """Return what a trial is worth at each place that it reached, more is better.

    Rungs are one training that grows, so the last counts; of several trainings the mean of those so far.
    """
    values = tuple(m.of(objective) for m in metrics)
    return tuple(fmean(values[: k + 1]) for k in range(len(values))) if objective == GAIN else values


@dataclass(frozen=True, slots=True)
class Trial:
    """A program that was trained.

    Attributes:
        number: place in the search.
        program: its text.
        operator: how it was proposed.
        parents: numbers of the trials it was made from.
        scale: factor that gives it cross-entropy's gradient size at the start.
        keys: fingerprint keys.
        state: what became of it.
        metrics: on the search-validation split, one for each rung reached, or for each of several trainings done.
        reason: why it failed.
    """

    number: int
    program: str
    operator: str
    parents: tuple[int, ...]
    scale: float
    keys: tuple[str, ...]
    state: State
    metrics: tuple[Metrics, ...] = ()
    reason: str = ""

    def scores(self, objective: str) -> tuple[float, ...]:
        """Return the objective by rung, more is better; see `scores`."""
        return scores(self.metrics, objective)

    def trained(self, rungs: Sequence[int]) -> int:
        """Return how far it was trained, in sixteenths; one that failed or runs is on the way to its next rung."""
        reached = len(self.metrics) + (self.state in {State.FAILED, State.RUNNING})
        return rungs[min(reached, len(rungs)) - 1] if reached else 0


@dataclass(frozen=True, slots=True)
class Cohort:
    """Trials that trained side by side.

    Attributes:
        start: number of the first.
        size: how many.
        rejections: programs rejected untrained on the way to them, by reason.
        seconds: what proposing and screening took, and how long training was waited for until it was done.
    """

    start: int
    size: int
    rejections: Mapping[str, int] = field(default_factory=dict[str, int])
    seconds: tuple[float, float] = (0.0, 0.0)


def finalists(trials: Sequence[Trial], objective: str, count: int) -> list[Trial]:
    """Return the best trials of those that reached the top rung, best first, shorter ones at a tie."""
    complete = [t for t in trials if t.state is State.COMPLETE]
    return sorted(complete, key=lambda t: (-t.scores(objective)[-1], len(t.program), t.number))[:count]


def rejections(cohorts: Sequence[Cohort]) -> dict[str, int]:
    """Add up the rejections by reason."""
    total: Counter[str] = Counter()
    for cohort in cohorts:
        total.update(cohort.rejections)
    return dict(sorted(total.items(), key=lambda row: -row[1]))


def as_json(value: object) -> Any:  # noqa: ANN401 - JSON is whatever it is
    """Turn records into what the json module writes."""
    if is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): as_json(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, tuple | list):
        return [as_json(v) for v in cast("Sequence[object]", value)]
    return value
