"""The results of comparisons, as plain values: what is read and shown without anything that trains."""

from dataclasses import dataclass

from lossml.search.objective import gap
from lossml.search.records import FULL, Metrics
from lossml.search.statistics import Difference

TUNING_SEED, FIRST_SEED = 1_000_003, 2_000_003  # far from a search's seeds, so that no luck is reused


@dataclass(frozen=True, slots=True)
class Contender:
    """A loss to compare.

    Attributes:
        label: how people call it.
        program: its text; the name of a loss that is no program.
        scale: factor that gives it cross-entropy's gradient size at the start.
        trial: number of the trial it comes from, -1 for a baseline.
        known: the zoo's name for it, up to scale; "" where it has none.
        named: whether it was given by name; only others can be left out after tuning.
        control: whether the control found it and not the search itself.
    """

    label: str
    program: str
    scale: float
    trial: int = -1
    known: str = ""
    named: bool = True
    control: bool = False


@dataclass(frozen=True, slots=True)
class Design:
    """How losses are compared; the first contender is the reference.

    Attributes:
        seeds: number of paired seeds, at least 2.
        learning_rates: multiples of the task's rate that each loss is tuned over; with more than one,
            a loss whose best is at an end is tuned beyond it.
        objective: what is compared.
        alpha: chance of calling equal losses different.
        seed: shifts all seeds.
        keep: how many of the losses that are not given by name go on after tuning; 0 for all.
        tuning_seeds: seeds that each learning rate's score is the mean of.
        tuning: length of a training that tunes, in sixteenths of full training.
    """

    seeds: int
    learning_rates: tuple[float, ...]
    objective: str = "accuracy"
    alpha: float = 0.05
    seed: int = 0
    keep: int = 0
    tuning_seeds: int = 1
    tuning: int = FULL

    def of(self, stage: str) -> tuple[int, ...]:
        """Return the seeds of a stage, "tune" or "seeds"."""
        if stage == "tune":
            return tuple(TUNING_SEED + 1000 * self.seed + k for k in range(self.tuning_seeds))
        return tuple(FIRST_SEED + 1000 * self.seed + k for k in range(self.seeds))


@dataclass(frozen=True, slots=True)
class Row:
    """A contender's result.

    Attributes:
        contender: which loss.
        lr: its tuned multiple of the learning rate.
        metrics: on the held-out split, one per seed.
        mean: mean objective over the seeds, as people read it; 0 for a loss that failed, as the next.
        spread: standard deviation over the seeds.
        difference: to the reference; None for the reference and for a loss that failed.
        low: lower end of the interval of the difference.
        high: upper end.
        p: corrected p-value.
        verdict: "reference", "better", "worse", "no difference" or "failed".
        detectable: the smallest difference this design would have seen four times out of five, at the level
            that the strictest of the corrected tests asks for.
        needed: seeds that would see the observed difference at that level; 0 where no number would.
        reason: why it failed.
        raw: the difference to the reference before any correction; None where there is none.
    """

    contender: Contender
    lr: float
    metrics: tuple[Metrics, ...]
    mean: float
    spread: float
    difference: float | None = None
    low: float = 0.0
    high: float = 0.0
    p: float = 1.0
    verdict: str = "reference"
    detectable: float = 0.0
    needed: int = 0
    reason: str = ""
    raw: Difference | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The best that the search found against another loss, paired by seed.

    Attributes:
        ours: label of the search's.
        theirs: label of the other.
        difference: positive where the search's is better.
        low: lower end of its interval.
        high: upper end.
        p: of one test, corrected for how the two were chosen.
        verdict: "better", "worse" or "no difference".
    """

    ours: str
    theirs: str
    difference: float
    low: float
    high: float
    p: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        rows: the reference first, then in the order given.
        design: how it was compared.
        samples: size of the held-out split.
        noise: standard deviation of the difference between two trainings of the reference.
        control: the search against its control; None where there was no control, or nothing of it was left.
        ahead: the search against the best baseline; None where that is the reference or the best found itself.
        readings: how many times the held-out split has been read for candidates of the search and of its
            control, this time included; see `spent`.
    """

    rows: tuple[Row, ...]
    design: Design
    samples: int
    noise: float
    control: Match | None = None
    ahead: Match | None = None
    readings: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Transfer:
    """The winner of a search on another task.

    Attributes:
        task: which, as text.
        winner: its row there, corrected for the number of other tasks.
        comparison: all results there.
    """

    task: str
    winner: Row
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a search may claim.

    Attributes:
        sentence: the claim, in words.
        winner: row of the best candidate; None where nothing could be confirmed.
        comparison: all results.
        transfers: the winner on other tasks.
    """

    sentence: str
    winner: Row | None
    comparison: Comparison
    transfers: tuple[Transfer, ...] = ()


def points(value: float, design: Design) -> str:
    """Write a difference, positive where it is for the better: points for shares, nats for the likelihood."""
    return gap(value, design.objective)
