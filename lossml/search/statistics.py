"""The statistics of a claim: paired differences, two sources of chance, correction for many candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

MANY = 1e9  # degrees of freedom at which t is normal
POWER = 0.8  # chance of seeing a difference of the size that is asked for
MOST_SEEDS = 10_000
FEWEST = 5  # pairs of which a rank correlation is taken


@dataclass(frozen=True, slots=True)
class Difference:
    """How a loss differs from the reference over paired seeds.

    Attributes:
        mean: mean difference, positive where the loss is better.
        error: its standard error over seeds and held-out samples.
        freedom: degrees of freedom of the error, those of the seeds.
        seed_variance: variance of the difference over seeds.
        sample_variance: variance of the mean difference over the held-out samples.
        p: chance of a difference this large where there is none, two-sided.
    """

    mean: float
    error: float
    freedom: float
    seed_variance: float
    sample_variance: float
    p: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A difference with its corrected p-value and the interval that goes with it.

    Attributes:
        difference: what was measured.
        p_corrected: Holm's p-value.
        low: lower end of the interval.
        high: upper end.
        verdict: "better", "worse" or "no difference".
    """

    difference: Difference
    p_corrected: float
    low: float
    high: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Correlation:
    """Spearman's rank correlation of two scores, with its interval of 95%."""

    value: float
    low: float
    high: float


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> Correlation | None:
    """Correlate the ranks of two scores of the same things, ties sharing theirs.

    The interval is Bonett's and Wright's (2000), on Fisher's scale.

    Returns:
        None for fewer than FEWEST pairs, or where either score is the same for all.
    """
    count = len(one)
    if count < FEWEST or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    value = float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])
    inner = max(-1.0, min(1.0, value)) * (1.0 - 1e-12)  # a perfect one has no place on Fisher's scale
    reach = NormalDist().inv_cdf(0.975) * math.sqrt((1.0 + inner**2 / 2.0) / (count - 3.0))
    low, high = (math.tanh(math.atanh(inner) + side * reach) for side in (-1.0, 1.0))
    return Correlation(value, low, high)


def _ranks(scores: Sequence[float]) -> NDArray[np.float64]:
    """Return the rank of each score, from 1 on; ties share the mean of theirs."""
    _, places, counts = np.unique(np.asarray(scores, float), return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2.0)[places]


def paired_difference(
    ours: Sequence[float],
    reference: Sequence[float],
    ours_samples: NDArray[np.float64] | None = None,
    reference_samples: NDArray[np.float64] | None = None,
) -> Difference:
    """Compare two losses over the same seeds.

    The t-test has the degrees of freedom of the seeds alone. Welch's and Satterthwaite's estimate gives
    more where the few seeds happen to agree, and with two or three seeds announces up to five times as
    many false differences as it may.

    Args:
        ours: scores of S >= 2 seeds, more is better.
        reference: scores of the reference for the same seeds.
        ours_samples: (S, N) score of each held-out sample; None where the score is no mean over samples.
        reference_samples: the same of the reference.
    """
    gaps = np.asarray(ours, float) - np.asarray(reference, float)
    count = len(gaps)
    seed_variance = float(gaps.var(ddof=1))
    sample_variance = 0.0
    if ours_samples is not None and reference_samples is not None:
        by_sample = ours_samples.mean(0) - reference_samples.mean(0)
        sample_variance = float(by_sample.var(ddof=1)) / len(by_sample)
    error = math.sqrt(seed_variance / count + sample_variance)
    freedom = count - 1.0
    mean = float(gaps.mean())
    return Difference(mean, error, freedom, seed_variance, sample_variance, _p_value(mean, error, freedom))


def _p_value(mean: float, error: float, freedom: float) -> float:
    if error == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    return 2.0 * _tail(abs(mean) / error, freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number (Holm 1979); in the given order."""
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        corrected[k] = largest
    return corrected


def spent(reading: int) -> float:
    """Return the factor on p-values when a held-out split is read for the `reading`-th time, from 1 on.

    Each time has half the level of the time before. A test calls an equal loss better with half its level, so
    that all times together do so with a chance of at most alpha, however often a search is extended and its
    new candidates are tested on the same samples.
    """
    return 2.0 ** (reading - 1)


def judge(differences: Sequence[Difference], alpha: float, factor: float = 1.0) -> list[Judged]:
    """Judge differences together.

    Each interval has the level at which Holm's method tests that difference, so that it leaves
    zero out exactly where the verdict is not "no difference".

    Args:
        differences: of one family.
        alpha: chance of calling any two equal losses different.
        factor: what the p-values are multiplied with besides, at least 1; see `spent`.
    """
    corrected = [min(1.0, factor * p) for p in holm([d.p for d in differences])]
    count = factor * len(differences)
    return [_judged(d, p, alpha, count) for d, p in zip(differences, corrected, strict=True)]


def _judged(difference: Difference, p: float, alpha: float, count: float) -> Judged:
    factor = p / difference.p if difference.p > 0.0 and p < 1.0 else count
    reach = _quantile(alpha / (2.0 * max(1.0, factor)), difference.freedom) * difference.error
    low, high = difference.mean - reach, difference.mean + reach
    if p >= alpha:
        return Judged(difference, p, min(low, 0.0), max(high, 0.0), "no difference")
    return Judged(difference, p, low, high, "better" if difference.mean > 0 else "worse")


def _tail(value: float, freedom: float) -> float:
    return float(_special().stdtr(freedom, -value))


def _quantile(tail: float, freedom: float) -> float:
    return -float(_special().stdtrit(freedom, tail))


def _special() -> Any:  # noqa: ANN401 - scipy has no stubs
    """Import scipy's functions when a claim is made: reading one back needs none."""
    from scipy import special  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    return special


def detectable(difference: Difference, alpha: float) -> float:
    """Return the smallest difference that this design would have seen four times out of five."""
    reach = _quantile(alpha / 2.0, difference.freedom) + _quantile(1.0 - POWER, difference.freedom)
    return reach * difference.error


def seeds_needed(difference: Difference, alpha: float) -> int | None:
    """Return how many seeds would see a difference of the observed size four times out of five.

    None where MOST_SEEDS would not, most often because the held-out split is too small.
    """
    if difference.mean == 0.0 or _reach(difference, MOST_SEEDS, alpha) > abs(difference.mean):
        return None
    low, high = 2, MOST_SEEDS
    while low < high:  # every seed more shortens the reach
        middle = (low + high) // 2
        enough = _reach(difference, middle, alpha) <= abs(difference.mean)
        low, high = (low, middle) if enough else (middle + 1, high)
    return low


def _reach(difference: Difference, seeds: int, alpha: float) -> float:
    error = math.sqrt(difference.seed_variance / seeds + difference.sample_variance)
    return (_quantile(alpha / 2.0, seeds - 1.0) + _quantile(1.0 - POWER, seeds - 1.0)) * error
