"""What trials say together: the front of score against length, and how far the rungs agree."""

import random
from dataclasses import replace

import numpy as np
import pytest

from lossml.program import parse, show
from lossml.program.grammar import classification_grammar, generate
from lossml.search.recipe import Recipe
from lossml.search.records import Metrics, State, Trial
from lossml.search.statistics import rank_correlation
from lossml.search.summary import ENOUGH, LATEST, summary

RECIPE = Recipe("digits", rungs=(4, 16))
SHORT, MIDDLE, LONG = "-y*p", "sum_C((p - y)^2)", "-sum_C(y*(1 - p)^2*logp)"


def trial(number, *scores, program=SHORT, state=State.COMPLETE):
    metrics = tuple(Metrics(score, score, 1.0 - score, 1.0 - score) for score in scores)
    return Trial(number, program, "random", (), 1.0, (), state, metrics)


def test_the_front_holds_each_trial_that_no_shorter_one_equals():
    """Longer programs only where they score better; pruned trials and ties are out."""
    trials = [
        trial(0, 0.1, 0.8, program=MIDDLE),
        trial(1, 0.2, 0.9, program=LONG),
        trial(2, 0.3, 0.7),
        trial(3, 0.3, 0.8, program=LONG),
        trial(4, 0.3, 0.7, program="-p*y"),
        trial(5, 0.99, state=State.PRUNED),
    ]
    front = summary(trials, RECIPE).front
    assert [(point.trial, point.score) for point in front] == [(2, 0.7), (0, 0.8), (1, 0.9)]
    assert [point.size for point in front] == [parse(text).size for text in (SHORT, MIDDLE, LONG)]


def test_the_front_is_that_of_comparing_all_with_all():
    """On random programs with many ties: a trial stands where none is as short, as good and not the same or younger."""
    rng, grammar = random.Random(3), classification_grammar()
    programs = [generate(rng, grammar) for _ in range(300)]
    trials = [trial(k, 0.0, round(rng.random() + p.size / 10, 1), program=show(p)) for k, p in enumerate(programs)]
    rows = [(parse(one.program).size, -one.scores("accuracy")[-1], one.number) for one in trials]
    best = [row for row in rows if not any(o < row and o[0] <= row[0] and o[1] <= row[1] for o in rows)]
    front = summary(trials, RECIPE).front
    assert [(point.size, -point.score, point.trial) for point in front] == sorted(best)
    assert len(front) > 3


@pytest.mark.parametrize("objective", ["nll", "ece"])
def test_the_front_of_a_cost_holds_the_lowest_as_people_read_it(objective):
    """Where less is better the front falls with length."""
    trials = [trial(0, 0.1, 0.8, program=MIDDLE), trial(1, 0.2, 0.9, program=LONG), trial(2, 0.3, 0.7)]
    front = summary(trials, replace(RECIPE, objective=objective)).front
    assert [point.score for point in front] == pytest.approx([0.3, 0.2, 0.1])


def test_every_rung_is_compared_with_the_last_over_the_trials_that_reached_it():
    """A rung that orders alike has correlation 1, one that orders the other way round -1."""
    trials = [trial(k, -k / 100, k / 100, k / 10) for k in range(8)] + [trial(9, 0.9, 0.1, state=State.PRUNED)]
    first, second = summary(trials, replace(RECIPE, rungs=(1, 4, 16))).rungs
    assert (first.rung, first.trials, second.rung) == (1, 8, 4)
    assert first.correlation.value == pytest.approx(-1.0)
    assert second.correlation.value == pytest.approx(1.0)
    assert summary(trials[:4], replace(RECIPE, rungs=(1, 4, 16))).rungs[0].correlation is None
    assert summary([], RECIPE).rungs[0].trials == 0
    assert summary(trials, replace(RECIPE, rungs=(16,))).rungs == ()


def noisy(count, noise, start=0):
    rng = random.Random(start)
    return [trial(start + k, (final := rng.random()) + noise * rng.gauss(0, 1), final) for k in range(count)]


def test_a_lowest_rung_that_no_longer_tells_the_living_apart_is_warned_of():
    """Chance or equal scores among the latest trials; what was told apart long before does not excuse it."""
    assert summary(noisy(60, 0.1), RECIPE).warning == ""
    blind = summary(noisy(60, 0.1) + noisy(LATEST, 100.0, start=60), RECIPE).warning
    assert "4/16, no longer tells the living apart" in blind
    assert "rungs = [8, 16]" in blind
    equal = [trial(k, 0.5, k / 100) for k in range(ENOUGH)]
    assert "all scores are equal" in summary(equal, RECIPE).warning
    assert "rungs = [4, 16]" in summary([trial(k, 0.5, 0.1, k / 9) for k in range(ENOUGH)], Recipe("x")).warning
    late = replace(RECIPE, rungs=(12, 16))
    assert summary(equal, late).warning.endswith('Search anew with pruner = "none".')


def test_of_few_trials_and_of_full_training_alone_nothing_is_said():
    """A warning needs evidence, and a rung below the last."""
    assert summary([trial(k, 0.5, k / 100) for k in range(ENOUGH - 1)], RECIPE).warning == ""
    assert summary([trial(k, k / 100) for k in range(60)], replace(RECIPE, rungs=(16,))).warning == ""


def test_ranks_are_shared_at_a_tie_as_scipy_shares_them():
    """Spearman's correlation of scores with ties is scipy's."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    for _ in range(20):
        one, other = rng.integers(0, 5, 30) / 7.0, rng.normal(size=30).round(1)
        found = rank_correlation(list(one), list(other))
        assert found.value == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)


def test_the_interval_of_a_rank_correlation_holds_the_truth_as_often_as_it_says():
    """Of 400 samples of 30 from a normal pair with a known rank correlation, about 95% of the intervals hold it."""
    rng, linear = np.random.default_rng(0), 0.7
    truth = 6 / np.pi * np.arcsin(linear / 2)
    held = 0
    for _ in range(400):
        x, noise = rng.normal(size=(2, 30))
        found = rank_correlation(list(x), list(linear * x + np.sqrt(1 - linear**2) * noise))
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_ties_share_a_rank_and_what_cannot_be_ranked_has_no_correlation():
    """Against ranks counted by hand; equal scores and fewer than five pairs give none."""
    found = rank_correlation([1, 2, 2, 3, 9], [1, 1, 5, 7, 6])
    assert found.value == pytest.approx(np.corrcoef([1, 2.5, 2.5, 4, 5], [1.5, 1.5, 3, 5, 4])[0, 1])
    assert found.low < found.value < found.high
    assert rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]) is None
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]) is None
    assert -1.0 <= rank_correlation([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]).low <= -0.99
