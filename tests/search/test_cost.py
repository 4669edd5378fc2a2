"""What a search cost: seconds, full trainings, and the shares that pruning and screens left."""

import pytest

from lossml.search.cost import cost
from lossml.search.records import Cohort, Metrics, State, Trial

SEEN = Metrics(0.5, 0.5, 0.5, 0.5)


def trial(number, reached, state):
    return Trial(number, "-y*p", "random", (), 1.0, (), state, (SEEN,) * reached, "diverged" * (state is State.FAILED))


def test_training_is_counted_in_full_trainings_and_time_in_seconds():
    """One complete, one pruned at 4/16, one that failed on its way to 4/16: one and a half full trainings of three."""
    trials = [trial(0, 2, State.COMPLETE), trial(1, 1, State.PRUNED), trial(2, 0, State.FAILED)]
    cohorts = [Cohort(0, 2, {"SIGN": 2, "FLAT": 1}, (1.0, 8.0)), Cohort(2, 1, {"SIGN": 6}, (0.5, 4.0))]
    found = cost(trials, cohorts, (4, 16))
    assert (found.proposing, found.training) == (1.5, 12.0)
    assert (found.trained, found.trials, found.rejected) == (1.5, 3, 9)
    assert found.unpruned == pytest.approx(0.5)
    assert found.unscreened == pytest.approx(1.5 / 12)
    assert found.each == pytest.approx(8.0)
    assert found.spared == pytest.approx(12.0)


def test_a_search_without_a_trial_costs_nothing():
    """No division by nothing."""
    found = cost([], [], (1, 4, 16))
    assert (found.unpruned, found.unscreened, found.each, found.spared) == (0.0, 0.0, 0.0, 0.0)
