"""Batch normalisation with the ReLU behind it, forward and backward on one processor core; compiled by numba.

Rows are pixels of all images, columns are channels, as images lie that are channels last; several pixels may stand in
a row, each with columns of its own, so that a processor takes more numbers at once. Numbers of bfloat16 come as the
integers that hold their bits, as numba has no such numbers. Sums are taken in single precision for a block of rows,
those of blocks in double precision.
"""

import numba
import numpy as np
from numba.extending import overload

from lossml.backend.elementary import INNER, OPTIONS, ZERO, F, compiled

WIDE, NARROW = np.uint32, np.uint16
HALF, LAST, UPPER = WIDE(0x7FFF), WIDE(1), WIDE(16)
ROWS = 64  # of a block
outer = numba.njit(**OPTIONS, cache=True, nogil=True)


def _wide(x):
    """Read a number in single precision."""
    raise NotImplementedError


@overload(_wide, jit_options=OPTIONS | INNER)
def _choose_wide(x):
    if x == numba.uint16:
        return lambda x: WIDE(WIDE(x) << UPPER).view(F)
    return lambda x: x


def _as(x, like):
    """Round a number to the precision of another, halves to even."""
    raise NotImplementedError


@overload(_as, jit_options=OPTIONS | INNER)
def _choose_as(x, like):
    if like == numba.uint16:

        def narrow(x, like):
            bits = F(x).view(WIDE)
            return NARROW(WIDE(bits + HALF + ((bits >> UPPER) & LAST)) >> UPPER)

        return narrow
    return lambda x, like: x


@compiled
def _add_block(x, middle, first, last, total, square):
    """Add the sums of rows and of their squares to totals in double precision."""
    channels = x.shape[1]
    one, two = np.zeros(channels, F), np.zeros(channels, F)
    for i in range(first, last):
        row = x[i]
        for c in range(channels):
            value = _wide(row[c]) - middle[c]
            one[c] += value
            two[c] += value * value
    for c in range(channels):
        total[c] += one[c]
        square[c] += two[c]


@outer
def sums(x, middle, total, square):
    """Add up each column of x (M, C) less a number of its own, and its square, which keeps digits near the mean."""
    rows = x.shape[0]
    for first in range(0, rows, ROWS):
        _add_block(x, middle, first, min(first + ROWS, rows), total, square)


@outer
def scaled(x, scale, shift, y):
    """Write max(0, x * scale + shift) into y, both (M, C)."""
    for i in range(x.shape[0]):
        row, into = x[i], y[i]
        for c in range(x.shape[1]):
            value = F(_wide(row[c]) * scale[c] + shift[c])
            into[c] = _as(ZERO if value < ZERO else value, row[c])


@compiled
def _add_slopes(g, x, scale, shift, mean, first, last, total, along):
    channels = x.shape[1]
    one, two = np.zeros(channels, F), np.zeros(channels, F)
    for i in range(first, last):
        row, steep = x[i], g[i]
        for c in range(channels):
            value = _wide(row[c])
            slope = _wide(steep[c]) if value * scale[c] + shift[c] > ZERO else ZERO
            one[c] += slope
            two[c] += slope * (value - mean[c])
    for c in range(channels):
        total[c] += one[c]
        along[c] += two[c]


@outer
def slopes(g, x, scale, shift, mean, total, along):
    """Sum the gradient g (M, C) of `scaled`, where its value is positive: alone, and times x less its mean, (C,)."""
    rows = x.shape[0]
    for first in range(0, rows, ROWS):
        _add_slopes(g, x, scale, shift, mean, first, min(first + ROWS, rows), total, along)


@outer
def gradient(g, x, scale, shift, mean, level, tilt, found):
    """Write scale * (g, where the value is positive, - level - tilt * (x - mean)) into `found` (M, C)."""
    for i in range(x.shape[0]):
        row, steep, into = x[i], g[i], found[i]
        for c in range(x.shape[1]):
            value = _wide(row[c])
            slope = _wide(steep[c]) if value * scale[c] + shift[c] > ZERO else ZERO
            into[c] = _as(F(scale[c] * (slope - level[c] - tilt[c] * (value - mean[c]))), row[c])
