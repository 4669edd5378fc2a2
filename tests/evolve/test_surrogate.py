"""The surrogate puts what will do well first, and leaves some places to what it knows nothing of."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from lossml.evolve import Parent, Surrogate
from lossml.evolve.surrogate import merits
from lossml.program import parse

CE = parse("-sum_C(y*logp)")


def trials(*scores):
    return [Parent.of(CE, k, one) for k, one in enumerate(scores)]


def directions(count, seed):
    found = np.random.default_rng(seed).normal(size=(count, 20))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def quality(places):
    return places[:, 0] - np.abs(places[:, 1])


def test_merit_is_rungs_then_score_and_failures_come_last():
    """A trial that got further beats one with a better score on a lower rung; the older stands first at a tie."""
    past = trials((0.9,), (), (0.5, 0.6), (0.5, 0.7), (0.2,), (0.2,))
    assert np.argsort(-merits(past)).tolist() == [3, 2, 0, 4, 5, 1]
    assert merits(past).min() == 0.0
    assert merits(past).max() == 1.0


def test_what_was_learnt_orders_what_is_offered():
    """Where merit follows from the gradient, the order agrees with the truth for programs never seen."""
    known, offered = directions(150, 0), directions(100, 1)
    order = Surrogate(spared=1000).order(7, trials(*((float(q),) for q in quality(known))), known, offered)
    places = np.empty(len(order))
    places[order] = np.arange(len(order))
    assert spearmanr(places, quality(offered)).statistic < -0.6


@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_an_order_is_a_permutation_and_the_same_again(count):
    """Nothing is lost, nothing is named twice, and the same seed gives the same order."""
    known, offered = directions(40, 2), directions(count, 3)
    past = trials(*((float(q),) for q in quality(known)))
    order = Surrogate().order(5, past, known, offered)
    assert sorted(order) == list(range(count))
    assert order == Surrogate().order(5, past, known, offered)


def test_some_places_are_spared_for_the_proposers_own_order():
    """Every fourth place goes to the first proposal that has none yet, whatever the forest thinks of it."""
    known = directions(60, 4)
    past = trials(*((float(q),) for q in quality(known)))
    offered = directions(40, 5)
    worst_first = offered[np.argsort(quality(offered))]
    order = Surrogate(spared=4).order(1, past, known, worst_first)
    assert order[3::4][:2] == [0, 1]
    assert np.mean(order[:3]) > 20


def test_it_has_no_opinion_before_it_has_seen_enough():
    """With few trials the proposer's own order holds."""
    assert not Surrogate(start=3).ready(trials((0.5,), (0.6,)))
    assert Surrogate(start=3).ready(trials((0.5,), (0.6,), ()))


def test_it_learns_from_the_youngest():
    """What is older than its memory changes nothing, so that a cohort costs no more late in a long search."""
    known, offered = directions(120, 6), directions(50, 7)
    past = trials(*((float(q),) for q in quality(known)))
    order = Surrogate(memory=60).order(3, past, known, offered)
    assert order == Surrogate().order(3, past[60:], known[60:], offered)
    assert order != Surrogate().order(3, past, known, offered)
