"""Where a trial comes from."""

from lossml.search.family import family
from lossml.search.records import State, Trial


def trial(number, *parents):
    return Trial(number, "-y*p", "crossover", parents, 1.0, (), State.COMPLETE)


def numbers(found):
    return [(one.trial.number, one.generation) for one in found]


def test_a_family_holds_every_ancestor_once_in_its_nearest_generation():
    """Trial 0 is both a parent and a grandparent of 5; 3 is no relative."""
    trials = [trial(0), trial(1), trial(2, 0, 1), trial(3, 1), trial(4, 2), trial(5, 4, 0)]
    assert numbers(family(trials, 5)) == [(5, 0), (0, 1), (4, 1), (2, 2), (1, 3)]
    assert numbers(family(trials, 0)) == [(0, 0)]


def test_what_is_not_in_the_run_is_left_out():
    """A parent that no trial has, a trial that is not there, parents in a circle."""
    assert numbers(family([trial(1, 0)], 1)) == [(1, 0)]
    assert family([trial(1)], 7) == ()
    assert numbers(family([trial(1, 2), trial(2, 1)], 2)) == [(2, 0), (1, 1)]
