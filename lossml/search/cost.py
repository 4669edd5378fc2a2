"""What a search cost, and what pruning and the screens spared it."""

from collections.abc import Sequence
from dataclasses import dataclass

from lossml.search.records import FULL, Cohort, Trial


@dataclass(frozen=True, slots=True)
class Cost:
    """The time and the training that a search took.

    Attributes:
        proposing: seconds of proposing and screening.
        training: seconds that training was waited for.
        trained: training in all, in full trainings.
        trials: programs trained, however far.
        rejected: programs proposed and not trained.
        whole: full trainings of a trial that nobody stops.
    """

    proposing: float
    training: float
    trained: float
    trials: int
    rejected: int
    whole: int = 1

    @property
    def unpruned(self) -> float:
        """Share of training every trial to the end, in [0, 1]; 0 without a trial."""
        return self.trained / (self.whole * self.trials) if self.trials else 0.0

    @property
    def unscreened(self) -> float:
        """Share of training every program proposed to the end, in [0, 1]; 0 without a program."""
        programs = self.trials + self.rejected
        return self.trained / (self.whole * programs) if programs else 0.0

    @property
    def each(self) -> float:
        """Seconds that one full training among others was waited for; 0 where nothing was trained."""
        return self.training / self.trained if self.trained else 0.0

    @property
    def spared(self) -> float:
        """Seconds that pruning spared, at the pace of what was trained and waited for."""
        return self.each * (self.whole * self.trials - self.trained)


def cost(trials: Sequence[Trial], cohorts: Sequence[Cohort], rungs: Sequence[int]) -> Cost:
    """Add up what a search cost.

    Args:
        trials: of the search.
        cohorts: of the search.
        rungs: fidelities, in sixteenths of full training; with several trainings a trial, the stages after each.
    """
    return Cost(
        proposing=sum(cohort.seconds[0] for cohort in cohorts),
        training=sum(cohort.seconds[1] for cohort in cohorts),
        trained=sum(trial.trained(rungs) for trial in trials) / FULL,
        trials=len(trials),
        whole=max(1, rungs[-1] // FULL),
        rejected=sum(sum(cohort.rejections.values()) for cohort in cohorts),
    )
