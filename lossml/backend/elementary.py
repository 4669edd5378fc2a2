"""Elementary functions of numbers for the compiled machine, written so that a processor computes several at once.

In single precision they are polynomials after a reduction of the argument, without a branch (Cephes; Moshier 1989):
exp, log, tanh and powers within two units in the last place, also where the result is no normal number; sines and
cosines lose digits next to their zeros, the more the larger the argument. In double precision they are the C library's.
"""

import math
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from lossml.program.primitives import EPSILON

OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}}
INNER: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # Python cannot call it, which compiles faster
compiled = numba.njit(**OPTIONS, **INNER)

F, INT = np.float32, np.int32
TINY, RAISED, LOG_RAISED = F(2.0**-126), F(2.0**25), F(25)
LOG2E, LN2_HIGH, LN2_LOW = F(math.log2(math.e)), F(0.693359375), F(-2.12194440e-4)
SHIFT, SHIFT_BITS = (
    F(1.5 * 2**23),
    INT(0x4B400000),
)  # added to a number, it leaves the nearest whole one in the last bits
SHIFT_DOUBLE, LN2, LOG2E_DOUBLE = 1.5 * 2.0**52, math.log(2.0), math.log2(math.e)
QUARTER, PER_QUARTER = math.pi / 2, 2.0 / math.pi
HALF, ONE, TWO, ZERO = F(0.5), F(1), F(2), F(0)
INFINITY, NAN = F(np.inf), F(np.nan)
LARGEST, SMALLEST = F(89), F(-104)  # what lies beyond has an exponential that is infinite or zero


@compiled
def _power_of_two(n):
    return INT((n + INT(127)) << INT(23)).view(F)


@compiled
def _grown(r, n):
    """Compute exp(r) 2^n for |r| < 0.35, in two steps, so that the result may be too small to be normal."""
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    half = n >> INT(1)
    return (p * (r * r) + r + ONE) * _power_of_two(half) * _power_of_two(n - half)


@compiled
def _exp(x):
    x = LARGEST if x > LARGEST else x
    x = SMALLEST if x < SMALLEST else x
    shifted = x * LOG2E + SHIFT
    whole = shifted - SHIFT
    return _grown((x - whole * LN2_HIGH) - whole * LN2_LOW, F(shifted).view(INT) - SHIFT_BITS)


@compiled
def _split(x):
    """Split a positive x into its exponent and a factor from 0.7 to 1.4."""
    small = x < TINY
    bits = F(x * RAISED if small else x).view(INT)
    n = (bits - INT(0x3F3504F3)) >> INT(23)
    return F(n) - (LOG_RAISED if small else ZERO), INT(bits - (n << INT(23))).view(F)


@compiled
def _log(x):
    n, factor = _split(x)
    f = factor - ONE
    square = f * f
    p = F(7.0376836292e-2)
    p = p * f - F(1.1514610310e-1)
    p = p * f + F(1.1676998740e-1)
    p = p * f - F(1.2420140846e-1)
    p = p * f + F(1.4249322787e-1)
    p = p * f - F(1.6668057665e-1)
    p = p * f + F(2.0000714765e-1)
    p = p * f - F(2.4999993993e-1)
    p = p * f + F(3.3333331174e-1)
    found = f + (f * square * p + n * LN2_LOW - HALF * square) + n * LN2_HIGH
    found = found if x < INFINITY else x
    return found if x > ZERO else (-INFINITY if x == ZERO else NAN)


@compiled
def _log_complement(x):
    """Logarithm of 1 - x: what rounding took from 1 - x is given back as a factor."""
    rest = ONE - x
    lost = rest - ONE
    return -x if lost == ZERO else _log(rest) * (-x / lost)


@compiled
def _size_of_power(x, y):
    """Compute x^y of a positive and finite x; the logarithm in double precision, as its error grows with y."""
    n, factor = _split(x)
    s = (float(factor) - 1.0) / (float(factor) + 1.0)
    square = s * s
    p = 1.0 / 13
    p = p * square + 1.0 / 11
    p = p * square + 1.0 / 9
    p = p * square + 1.0 / 7
    p = p * square + 1.0 / 5
    p = p * square + 1.0 / 3
    p = p * square + 1.0
    exponent = float(y) * (2.0 * s * p + float(n) * LN2)
    shifted = exponent * LOG2E_DOUBLE + SHIFT_DOUBLE
    whole = shifted - SHIFT_DOUBLE
    found = _grown(F(exponent - whole * LN2), INT(F(F(whole) + SHIFT).view(INT) - SHIFT_BITS))
    found = INFINITY if F(exponent) > LARGEST else found
    return ZERO if F(exponent) < SMALLEST else found


@compiled
def _tanh(x):
    """By a polynomial near zero, where the difference of exponentials would lose digits."""
    square = x * x
    p = F(-5.70498872745e-3)
    p = p * square + F(2.06390887954e-2)
    p = p * square - F(5.37397155531e-2)
    p = p * square + F(1.33314422036e-1)
    p = p * square - F(3.33332819422e-1)
    near, size = p * square * x + x, abs(x)
    far = ONE - TWO / (_exp(size + size) + ONE)
    return near if size < F(0.625) else (-far if x < ZERO else far)


@compiled
def _wave(x, quarter):
    """Compute the sine of x + quarter π/2."""
    shifted = float(x) * PER_QUARTER + SHIFT_DOUBLE
    whole = shifted - SHIFT_DOUBLE
    r = F(float(x) - whole * QUARTER)
    turn = F(F(whole) + SHIFT).view(INT) + quarter
    square = r * r
    sine = F(-1.9515295891e-4)
    sine = sine * square + F(8.3321608736e-3)
    sine = (sine * square - F(1.6666654611e-1)) * square * r + r
    cosine = F(2.443315711809948e-5)
    cosine = cosine * square - F(1.388731625493765e-3)
    cosine = (cosine * square + F(4.166664568298827e-2)) * (square * square) - HALF * square + ONE
    found = cosine if turn & INT(1) else sine
    return -found if turn & INT(2) else found


@compiled
def _sin(x):
    return _wave(x, INT(0))


@compiled
def _cos(x):
    return _wave(x, INT(1))


def _of_one(single, double):
    """Make a function of one number that is computed one way in single and another in double precision."""

    def function(x):
        raise NotImplementedError

    @overload(function, jit_options=OPTIONS | INNER)
    def _choose(x):
        chosen = single if x == numba.float32 else double
        return lambda x: chosen(x)

    return function


def _of_two(single, double):
    """Make such a function of two numbers."""

    def function(x, y):
        raise NotImplementedError

    @overload(function, jit_options=OPTIONS | INNER)
    def _choose(x, y):
        chosen = single if x == numba.float32 else double
        return lambda x, y: chosen(x, y)

    return function


_D = {
    name: compiled(function)
    for name, function in {
        "exp": lambda x: np.exp(x),
        "log": lambda x: np.log(x),
        "log_complement": lambda x: np.log1p(-x),
        "power": lambda x, y: x**y,
        "tanh": lambda x: np.tanh(x),
        "sin": lambda x: np.sin(x),
        "cos": lambda x: np.cos(x),
        "raised": lambda x: abs(x) + EPSILON,
    }.items()
}

exp, log = _of_one(_exp, _D["exp"]), _of_one(_log, _D["log"])
log_complement, power = _of_one(_log_complement, _D["log_complement"]), _of_two(_size_of_power, _D["power"])
tanh, sin, cos = _of_one(_tanh, _D["tanh"]), _of_one(_sin, _D["sin"]), _of_one(_cos, _D["cos"])
raised = _of_one(compiled(lambda x: abs(x) + F(EPSILON)), _D["raised"])
"""|x| + ε, of `logabs`."""
