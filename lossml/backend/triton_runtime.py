"""What kernels on a GPU share: the functions that act on each number of a tile, and sums along its rows.

Needs Triton alone. `triton_kernel` calls these functions, and `triton_source` copies their source into the
exported file, so that they have one meaning. Tiles are (samples, classes), padded; `known` marks what is a class.
"""

import math

import triton
import triton.language as tl

from lossml.program import primitives

# A compiled function reads no globals but these.
EPSILON = tl.constexpr(primitives.EPSILON)
SMALLEST = tl.constexpr(2.0**-126)  # the smallest normal float32
RAISED, LOG_RAISED = tl.constexpr(2.0**24), tl.constexpr(24 * math.log(2))


@triton.jit
def tanh(x):
    """Hyperbolic tangent: by a polynomial near zero, where the difference of exponentials would lose digits."""
    square = x * x
    small = -5.70498872745e-3 * square + 2.06390887954e-2
    small = (small * square - 5.37397155531e-2) * square + 1.33314422036e-1
    small = (small * square - 3.33332819422e-1) * square * x + x
    size = 1.0 - 2.0 / (tl.exp(2.0 * tl.abs(x)) + 1.0)
    return tl.where(tl.abs(x) < 0.625, small, tl.where(x < 0, -size, size))


@triton.jit
def log(x):
    """Logarithm, also of numbers too small to be normal, which a GPU's own takes for zero."""
    small = tl.abs(x) < SMALLEST
    return tl.log(tl.where(small, x * RAISED, x)) - tl.where(small, LOG_RAISED, 0.0)


@triton.jit
def log_complement(p):
    """Logarithm of 1 - p to full precision: what rounding took from 1 - p is given back as a factor."""
    rest = 1.0 - p
    lost = rest - 1.0
    return tl.where(lost == 0, -p, tl.log(rest) * (-p / tl.where(lost == 0, 1.0, lost)))


@triton.jit
def power(x, y):
    """Raise x to y; what is negative only to whole numbers, and anything to zero is one."""
    size = tl.exp(y * log(tl.abs(x)))
    odd = y - 2.0 * tl.floor(0.5 * y) == 1.0
    signed = tl.where(odd, -size, size)
    signed = tl.where(x < 0, tl.where(tl.floor(y) == y, signed, float("nan")), size)
    return tl.where((y == 0) | (x == 1), 1.0, signed)


@triton.jit
def sign(x):
    """Say on which side of zero x is."""
    return tl.where(x > 0, 1.0, 0.0) - tl.where(x < 0, 1.0, 0.0)


@triton.jit
def nonzero(x):
    """Replace exact zeros by the smallest normal number; see `runtime.nonzero`."""
    return tl.where(x != 0, x, SMALLEST)


@triton.jit
def power_slope(g, x, y):
    """Take the gradient g of nonzero(x)^y to x: a base that underflowed has none."""
    base = nonzero(x)
    return tl.where((y == 0) | (x == 0), 0.0, g * (y * power(base, y - 1.0)))


@triton.jit
def root_slope(g, x, v):
    """Take the gradient g of v = sqrt(nonzero(x)) to x."""
    return tl.where(x != 0, g * (0.5 / v), 0.0)


@triton.jit
def larger(x, y):
    """Choose the larger; what is no number is."""
    return tl.where((x > y) | (x != x), x, y)


@triton.jit
def smaller(x, y):
    """Choose the smaller; what is no number is."""
    return tl.where((x < y) | (x != x), x, y)


@triton.jit
def larger_slope(g, x, y):
    """Take the gradient g of the larger of x and y to x: ties share it."""
    return tl.where(x == y, 0.5 * g, tl.where(x < y, 0.0, g))


@triton.jit
def logistic(x):
    """Compute 1 / (1 + exp(-x)), of either sign without overflow."""
    shrunk = tl.exp(-tl.abs(x))
    return tl.where(x < 0, shrunk, 1.0) / (1.0 + shrunk)


@triton.jit
def log_logistic(x):
    """Logarithm of `logistic`, without underflow."""
    return tl.where(x < 0, x, 0.0) - log_complement(-tl.exp(-tl.abs(x)))


@triton.jit
def over_classes(x, known):
    """Sum over the classes, one number a sample."""
    return tl.sum(tl.where(known, x, 0.0), 1)[:, None]


@triton.jit
def largest(x, known):
    """Largest over the classes, one number a sample; what is no number is largest."""
    top = tl.max(tl.where(known & (x == x), x, float("-inf")), 1)
    strange = tl.max(tl.where(known & (x != x), 1, 0), 1)
    return tl.where(strange > 0, float("nan"), top)[:, None]


@triton.jit
def share(g, x, v, known):
    """Share the gradient g of the largest v among all that are largest, as torch's amax does."""
    ties = over_classes(tl.where(x == v, 1.0, 0.0), known)
    return tl.where(x == v, g / ties, 0.0)


@triton.jit
def is_top(x, column, known):
    """Mark the first of each sample's largest logits."""
    top = tl.argmax(tl.where(known, x, float("-inf")), 1, tie_break_left=True)
    return column == top[:, None]


@triton.jit
def complement(x, p, logp, is_top, known):
    """Compute log(1 - p); see `runtime.log_one_minus_softmax`."""
    minus = float("-inf")
    others = known & (is_top == 0)
    second = tl.max(tl.where(others, x, minus), 1)[:, None]
    total = tl.sum(tl.where(others, tl.exp(x - second), 0.0), 1)[:, None]
    first = tl.max(tl.where(known, x, minus), 1)[:, None]
    return tl.where(is_top, logp + tl.log(total) + (second - first), log_complement(p))


@triton.jit
def complement_at_top(slope, value, p, logp, top, known):
    """Give the logits the gradient of log(1 - p) of the top class, which is that of the others' log-sum-exp."""
    own, at_top = over_classes(slope, known & top), over_classes(value, known & top)
    return own * (tl.where(top, 0.0, tl.exp(logp - at_top)) - p)


@triton.jit
def complement_below(slope, p, top):
    """Give log p the gradient of log(1 - p) of all classes but the top one."""
    return tl.where(top, 0.0, -slope * (p / (1.0 - p)))
