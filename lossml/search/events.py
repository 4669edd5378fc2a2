"""What a search tells while it runs; whoever wants to show it listens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from lossml.proxy import Facts
from lossml.search.recipe import Recipe
from lossml.search.records import Trial


@dataclass(frozen=True, slots=True)
class Started:
    """A search begins or goes on.

    Attributes:
        recipe: what is to do.
        facts: the task.
        device: where it trains.
        workers: processes; 0 for this one.
        run: the run's folder.
        times: how many times as fast as one the workers train, measured at the start; 0 where it was not.
    """

    recipe: Recipe
    facts: Facts
    device: str
    workers: int
    run: str
    times: float = 0.0


@dataclass(frozen=True, slots=True)
class Proposing:
    """The next cohort is looked for, while so many trials of the one before train to the last rung."""

    beside: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """A cohort was found: numbers of its trials and, so far, rejections by reason."""

    numbers: tuple[int, ...]
    rejections: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RungStarted:
    """Some trials of the cohort train to a rung, in sixteenths of full training."""

    rung: int
    trials: int


@dataclass(frozen=True, slots=True)
class CohortFinished:
    """All trials of a cohort are told.

    Attributes:
        trials: of this cohort.
        done: trials told so far.
        replayed: whether they were there already.
    """

    trials: tuple[Trial, ...]
    done: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Confirming:
    """The confirmation goes on.

    Attributes:
        done: trainings done.
        total: trainings in all.
        stage: "tune" or "seeds".
        task: another than the one searched, as text.
    """

    done: int
    total: int
    stage: str
    task: str = ""


@dataclass(frozen=True, slots=True)
class Controlling:
    """The control of equal training goes on.

    Attributes:
        done: training so far, in full trainings.
        total: what the search itself was trained.
    """

    done: float
    total: float


@dataclass(frozen=True, slots=True)
class Gauging:
    """Cross-entropy is trained on a task of several, as text, so that scores there can be measured by its own."""

    task: str


Event = Started | Gauging | Proposing | Proposed | RungStarted | CohortFinished | Controlling | Confirming


class Listener(Protocol):
    """Hears events as they happen."""

    def __call__(self, event: Event, /) -> None:
        """Take note of an event."""
        ...


def silent(_event: Event) -> None:
    """Ignore all events."""
