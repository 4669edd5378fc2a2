"""The statistics of a claim: errors as rare as promised, power as predicted, corrections as published."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.search.statistics import Difference, detectable, holm, judge, paired_difference, seeds_needed, spent

ALPHA = 0.05
DESIGNS = 1000
# Three standard errors of a share of ALPHA in DESIGNS simulations.
CHANCE = 3.0 * math.sqrt(ALPHA * (1.0 - ALPHA) / DESIGNS)

chances = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8)


def naive_holm(p_values):
    """Holm's procedure as he wrote it: the least level at which each hypothesis is rejected, by definition."""
    corrected = []
    for mine in range(len(p_values)):
        order = sorted(range(len(p_values)), key=lambda k: p_values[k])
        needed = 0.0
        for step, k in enumerate(order):
            needed = max(needed, p_values[k] * (len(p_values) - step))
            if k == mine:
                break
        corrected.append(min(1.0, needed))
    return corrected


@given(chances)
def test_holm_is_holm(p_values):
    """The corrected p-values are those of the step-down procedure written out."""
    assert holm(p_values) == pytest.approx(naive_holm(p_values))


@given(chances)
def test_holm_corrects_upwards_between_nothing_and_bonferroni(p_values):
    """No corrected p-value is below its own or above Bonferroni's, and the order stays."""
    corrected = holm(p_values)
    for p, q in zip(p_values, corrected, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    assert [q for _, q in sorted(zip(p_values, corrected, strict=True))] == sorted(corrected)


differences = st.builds(
    lambda values, reference: paired_difference(values, reference[: len(values)]),
    st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=6),
    st.lists(st.floats(-1.0, 1.0), min_size=6, max_size=6),
)


@given(st.lists(differences, min_size=1, max_size=5))
def test_an_interval_leaves_zero_out_just_where_a_difference_is_announced(found):
    """Interval and verdict never contradict each other, whatever was measured."""
    for one in judge(found, ALPHA):
        assert one.low <= one.difference.mean <= one.high
        outside = one.low > 0.0 or one.high < 0.0
        if one.verdict == "no difference":
            assert not outside
        elif one.difference.error > 0.0:
            assert outside
            assert (one.verdict == "better") == (one.low > 0.0)


def test_the_difference_is_the_paired_one():
    """Mean, error and p-value are scipy's paired t-test where samples are not known."""
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(3)
    ours, reference = rng.normal(0.91, 0.01, 7), rng.normal(0.9, 0.01, 7)
    found = paired_difference(ours, reference)
    expected = ttest_rel(ours, reference)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.freedom == pytest.approx(6.0)
    assert found.mean / found.error == pytest.approx(expected.statistic)


def test_the_error_adds_seeds_and_samples():
    """The squared error is the variance over seeds by their number and that over samples by theirs."""
    rng = np.random.default_rng(5)
    ours, reference = (rng.random((4, 60)) < share for share in (0.9, 0.8))
    found = paired_difference(ours.mean(1), reference.mean(1), ours.astype(float), reference.astype(float))
    gaps = ours.mean(1) - reference.mean(1)
    each = (ours.astype(float) - reference.astype(float)).mean(0)
    assert found.mean == pytest.approx(gaps.mean())
    assert found.error**2 == pytest.approx(gaps.var(ddof=1) / 4 + each.var(ddof=1) / 60)
    assert found.freedom == 3.0


def test_equal_answers_are_no_difference_and_certain_ones_are():
    """Where nothing varies there is no division by zero: p is 1 for equal losses, 0 for a constant gap."""
    assert paired_difference([0.5, 0.5], [0.5, 0.5]).p == 1.0
    assert paired_difference([1.0, 1.0], [0.5, 0.5]).p == 0.0
    assert [one.verdict for one in judge([paired_difference([0.5, 0.5], [0.5, 0.5])], ALPHA)] == ["no difference"]


def trained(rng, seeds, samples, *, gain=0.0, wobble=0.01):
    """Draw what S trainings of one loss answer right on N samples of a population.

    A loss has its own chance of being right on each sample, a seed shifts them all a little.
    """
    mine = rng.beta(8.5, 1.5, samples)
    shifts = rng.normal(gain, wobble, (seeds, 1))
    return (rng.random((seeds, samples)) < np.clip(mine + shifts, 0.0, 1.0)).astype(float)


def difference_of(ours, reference):
    return paired_difference(ours.mean(1), reference.mean(1), ours, reference)


def test_equal_losses_are_seldom_called_different():
    """Of 1,000 designs with three candidates equal to the reference, no more than alpha announce any difference.

    The losses answer single samples differently and are equal in the population alone, as two real
    losses are. A test over the seeds alone takes the accident of the held-out set for a discovery.
    """
    rng = np.random.default_rng(11)
    announced, by_seeds_alone = 0, 0
    for _ in range(DESIGNS):
        reference = trained(rng, 5, 400)
        candidates = [trained(rng, 5, 400) for _ in range(3)]
        full = judge([difference_of(one, reference) for one in candidates], ALPHA)
        announced += any(one.verdict != "no difference" for one in full)
        narrow = judge([paired_difference(one.mean(1), reference.mean(1)) for one in candidates], ALPHA)
        by_seeds_alone += any(one.verdict != "no difference" for one in narrow)
    assert announced / DESIGNS <= ALPHA + CHANCE
    assert by_seeds_alone / DESIGNS > ALPHA + CHANCE


@pytest.mark.parametrize(("seeds", "wobble"), [(2, 0.05), (3, 0.05), (3, 0.0), (10, 0.02)])
def test_few_seeds_that_agree_by_chance_are_no_discovery(seeds, wobble):
    """The promise holds with the fewest seeds too, and where the seeds' share of the error is the larger one."""
    rng = np.random.default_rng(19)
    announced = 0
    for _ in range(DESIGNS):
        reference = trained(rng, seeds, 1000, wobble=wobble)
        candidates = [trained(rng, seeds, 1000, wobble=wobble) for _ in range(3)]
        found = judge([difference_of(one, reference) for one in candidates], ALPHA)
        announced += any(one.verdict != "no difference" for one in found)
    assert announced / DESIGNS <= ALPHA + CHANCE


def normal_pairs(rng, seeds, gain, spread):
    reference = rng.normal(0.9, spread, seeds)
    return reference + rng.normal(gain, spread, seeds), reference


def test_the_detectable_difference_is_seen_four_times_in_five():
    """Losses that differ by what the design says it would see are told apart with power near 0.8."""
    rng = np.random.default_rng(13)
    spread, seeds = 0.01, 12
    variance = spread**2
    design = Difference(0.0, math.sqrt(variance / seeds), seeds - 1.0, variance, 0.0, 1.0)
    gain = detectable(design, ALPHA)
    seen = [
        judge([paired_difference(*normal_pairs(rng, seeds, gain, spread))], ALPHA)[0].verdict == "better"
        for _ in range(DESIGNS)
    ]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.05)


def power(seeds, gain, spread):
    """Simulate how often a difference is seen."""
    rng = np.random.default_rng(17)
    found = (paired_difference(*normal_pairs(rng, seeds, gain, spread)) for _ in range(DESIGNS))
    return np.mean([judge([one], ALPHA)[0].verdict == "better" for one in found])


@pytest.mark.parametrize("gain", [0.006, 0.012, 0.03])
def test_the_seeds_needed_are_enough_and_hardly_more_than_enough(gain):
    """With the seeds it asks for a difference is seen four times in five; with two fewer it is not."""
    spread = 0.01
    seeds = seeds_needed(Difference(gain, spread / math.sqrt(5), 4.0, spread**2, 0.0, 0.2), ALPHA)
    assert seeds is not None
    assert power(seeds, gain, spread) >= 0.77
    assert power(max(2, seeds - 2), gain, spread) < 0.8


def test_a_held_out_split_read_again_and_again_is_no_source_of_discoveries():
    """Searches extended five times as long as they find nothing: corrected, few ever call an equal loss better.

    Without the correction the chance adds up to more than was promised. Each reading here has samples of its own:
    readings of the same samples announce together less often.
    """
    rng = np.random.default_rng(23)
    ever = {True: 0, False: 0}
    for _ in range(DESIGNS):
        found = [[paired_difference(*normal_pairs(rng, 10, 0.0, 0.01)) for _ in range(3)] for _ in range(5)]
        for corrected in ever:
            verdicts = [
                one.verdict
                for k, some in enumerate(found, 1)
                for one in judge(some, ALPHA, spent(k) if corrected else 1.0)
            ]
            ever[corrected] += "better" in verdicts
    assert ever[True] / DESIGNS <= ALPHA + CHANCE
    assert ever[False] / DESIGNS > ALPHA + CHANCE


@given(chances, st.integers(1, 5))
def test_reading_again_halves_the_level(p_values, reading):
    """The same differences are judged at half the level each time, and interval and verdict agree as ever."""
    some = [Difference(0.01, 0.01, 4.0, 1e-4, 0.0, p) for p in p_values]
    once, again = judge(some, ALPHA), judge(some, ALPHA, spent(reading))
    for one, other in zip(once, again, strict=True):
        assert other.p_corrected == pytest.approx(min(1.0, 2 ** (reading - 1) * one.p_corrected))


def test_no_number_of_seeds_replaces_held_out_samples():
    """Where the held-out split alone is too small for a difference, the answer is None and not a large number."""
    assert seeds_needed(Difference(0.01, 0.02, 4.0, 1e-6, 4e-4, 0.6), ALPHA) is None
    assert seeds_needed(Difference(0.0, 0.02, 4.0, 1e-6, 0.0, 1.0), ALPHA) is None
