"""Pruning: Optuna's own pruners decide, the same way again when a run is replayed."""

import random

import pytest
from climbing import climbed

from lossml.search.pruning import Fate, make_pruner, make_shadow
from lossml.search.recipe import PRUNERS
from lossml.search.records import RUNGS, Metrics, State

COHORT = 16


def metrics(accuracy):
    return Metrics(accuracy, accuracy, 2.0 - accuracy, 0.1)


def curves(seed, count=COHORT, failing=()):
    """Draw learning curves that cross, and reasons for those that fail at a rung."""
    rng = random.Random(seed)
    rows = []
    for k in range(count):
        level = rng.random()
        row = [metrics(min(1.0, 0.5 * level + 0.1 * place + 0.2 * rng.random())) for place in range(len(RUNGS))]
        rows.append([*row[:1], "diverged", "diverged"] if k in failing else row)
    return rows


def follow(rows, log=None):
    """Give what a training would, and note what was asked for."""

    def measure(members, place):
        if log is not None:
            log.append((place, tuple(members)))
        return [rows[k][place] for k in members]

    return measure


def kept(fates):
    """Give back what a journal holds of finished trials."""

    def measure(members, place):
        return [fates[k].metrics[place] if place < len(fates[k].metrics) else fates[k].reason for k in members]

    return measure


@pytest.mark.parametrize("name", PRUNERS)
def test_a_replayed_search_decides_as_the_search_did(name):
    """With two cohorts replayed from what was kept of them, the third is pruned as it would have been.

    This is what makes a resumed search the same search.
    """
    live, replayed = (make_shadow(make_pruner(name, COHORT)) for _ in range(2))
    for seed in (1, 2):
        fates = climbed(live, COHORT, "accuracy", follow(curves(seed, failing={3, 9})))
        assert climbed(replayed, COHORT, "accuracy", kept(fates)) == fates
    third = follow(curves(3))
    assert climbed(live, COHORT, "accuracy", third) == climbed(replayed, COHORT, "accuracy", third)


@pytest.mark.parametrize("name", PRUNERS)
def test_only_survivors_are_trained_on_and_the_top_rung_prunes_nobody(name):
    """Each rung trains those alive; whoever reaches the top is complete, whoever is pruned keeps its scores."""
    log = []
    fates = climbed(make_shadow(make_pruner(name, COHORT)), COHORT, "accuracy", follow(curves(5), log))
    for place, members in log:
        assert members == tuple(k for k, fate in enumerate(fates) if len(fate.metrics) > place)
    for fate in fates:
        assert fate.state in {State.COMPLETE, State.PRUNED}
        assert (fate.state is State.COMPLETE) == (len(fate.metrics) == len(RUNGS))
    assert any(fate.state is State.COMPLETE for fate in fates)


def test_asha_keeps_the_best_quarter_of_those_judged_so_far():
    """Successive halving is what it says: a trial passes if it is in the best quarter up to its number, or the best."""
    rows = curves(7, 48)
    shadow = make_shadow(make_pruner("asha", COHORT))
    seen = []
    for start in range(0, 48, COHORT):
        part = rows[start : start + COHORT]
        fates = climbed(shadow, COHORT, "accuracy", follow(part))
        for row, fate in zip(part, fates, strict=True):
            seen.append(row[0].accuracy)
            better = sum(score > row[0].accuracy for score in seen)
            assert (len(fate.metrics) > 1) == (better < max(1, len(seen) // 4))


def test_a_recipes_own_rungs_are_those_that_prune():
    """With rungs 4 and 16 the first judgement falls at 4, on every trial, and the top is still spared."""
    rungs = (4, 16)
    rows = [row[:2] for row in curves(19)]
    log = []
    fates = climbed(make_shadow(make_pruner("asha", COHORT, rungs)), COHORT, "accuracy", follow(rows, log), rungs)
    assert [place for place, _ in log] == [0, 1]
    assert {fate.state for fate in fates} == {State.COMPLETE, State.PRUNED}
    assert {len(fate.metrics) for fate in fates if fate.state is State.COMPLETE} == {2}


def test_hyperband_spares_some_trials_the_first_rung():
    """Its brackets start at different rungs, so more trials reach the second than successive halving lets through."""
    reached = {}
    for name in ("asha", "hyperband"):
        fates = climbed(make_shadow(make_pruner(name, 48)), 48, "accuracy", follow(curves(11, 48)))
        reached[name] = sum(len(fate.metrics) > 1 for fate in fates)
    assert reached["asha"] < reached["hyperband"] < 48


def test_no_pruner_trains_everything_to_the_end():
    """`none` is the control: every trial is complete."""
    fates = climbed(make_shadow(make_pruner("none", COHORT)), COHORT, "accuracy", follow(curves(13)))
    assert {fate.state for fate in fates} == {State.COMPLETE}


def test_a_failed_trial_is_recorded_with_its_reason_and_hurts_no_other():
    """The failure of some leaves the decisions on the others as Optuna makes them without those."""
    rows = curves(17, 8, failing={0, 1})
    rows[0] = ["out of memory"] * len(RUNGS)
    fates = climbed(make_shadow(make_pruner("none", 8)), 8, "accuracy", follow(rows))
    assert fates[0] == Fate(State.FAILED, (), "out of memory")
    assert fates[1] == Fate(State.FAILED, (rows[1][0],), "diverged")
    assert {fate.state for fate in fates[2:]} == {State.COMPLETE}


def test_a_cohort_that_fails_as_a_whole_ends():
    """Nothing is asked for when nobody is left."""
    log = []
    rows = [["diverged"] * len(RUNGS)] * 4
    fates = climbed(make_shadow(make_pruner("asha", 4)), 4, "accuracy", follow(rows, log))
    assert [fate.state for fate in fates] == [State.FAILED] * 4
    assert log == [(0, (0, 1, 2, 3))]


@pytest.mark.parametrize(("objective", "sign"), [("accuracy", 1), ("balanced_accuracy", 1), ("nll", -1), ("ece", -1)])
def test_more_is_better_for_every_objective(objective, sign):
    """A likelihood or calibration error is negated, so that the pruner keeps the small ones."""
    assert metrics(0.75).of(objective) == sign * getattr(metrics(0.75), objective)


def test_the_pruner_keeps_low_likelihood_errors():
    """With nll as objective the one with the smallest nll survives."""
    rows = [[Metrics(0.5, 0.5, nll, 0.1)] * len(RUNGS) for nll in (2.0, 3.0, 1.0, 4.0, 5.0)]
    fates = climbed(make_shadow(make_pruner("asha", 5)), 5, "nll", follow(rows))
    assert [fate.state is State.COMPLETE for fate in fates] == [True, False, True, False, False]
