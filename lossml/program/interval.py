"""Interval arithmetic: which values an expression can take, in exact arithmetic.

The type checker uses it to know that a logarithm meets a positive argument and a division a
denominator that cannot be zero. Ends can be open: a softmax probability lies in (0, 1).
Infinite ends are always open.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

End = tuple[float, bool]  # (value, is it excluded?)


@dataclass(frozen=True, slots=True)
class Interval:
    """The values between `low` and `high`; an open end is not itself a value."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, other: "Interval | float") -> bool:
        """Say whether a number or a whole interval lies inside."""
        if not isinstance(other, Interval):
            other = Interval(other, other)
        return _covers((self.low, self.low_open), (other.low, other.low_open), 1) and _covers(
            (self.high, self.high_open), (other.high, other.high_open), -1
        )

    def __str__(self) -> str:
        """Write the interval as mathematics does: (0, 1]."""
        left, right = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


def _covers(outer: End, inner: End, side: int) -> bool:
    (bound, is_open), (value, value_open) = outer, inner
    return (bound - value) * side < 0 or (bound == value and (value_open or not is_open))


def of(low: float, high: float, *, low_open: bool = False, high_open: bool = False) -> Interval:
    """Build an interval, opening every infinite end."""
    return Interval(low + 0.0, high + 0.0, low_open or math.isinf(low), high_open or math.isinf(high))


REAL = of(-math.inf, math.inf)
NON_NEGATIVE = of(0.0, math.inf)
POSITIVE = of(0.0, math.inf, low_open=True)
NON_POSITIVE = of(-math.inf, 0.0)
NEGATIVE = of(-math.inf, 0.0, high_open=True)
UNIT = of(0.0, 1.0, low_open=True, high_open=True)
CLOSED_UNIT = of(0.0, 1.0)


def is_nonzero(x: Interval) -> bool:
    """Say whether zero is certainly not a value."""
    return x in POSITIVE or x in NEGATIVE


def add(a: Interval, b: Interval) -> Interval:
    """Bound a + b."""
    return of(
        a.low + b.low,
        a.high + b.high,
        low_open=a.low_open or b.low_open,
        high_open=a.high_open or b.high_open,
    )


def neg(a: Interval) -> Interval:
    """Bound -a."""
    return of(-a.high, -a.low, low_open=a.high_open, high_open=a.low_open)


def sub(a: Interval, b: Interval) -> Interval:
    """Bound a - b."""
    return add(a, neg(b))


def _times(a: End, b: End) -> End:
    (x, x_open), (y, y_open) = a, b
    if 0.0 in (x, y):  # zero times anything finite; a zero that is attained makes the product attained
        attained = (x == 0.0 and not x_open) or (y == 0.0 and not y_open)
        return 0.0, not attained
    return x * y, x_open or y_open


def _hull(ends: Iterable[End]) -> Interval:
    points = list(ends)
    low, low_open = min(points)  # (value, False) sorts before (value, True): closed wins
    high, not_high_open = max((value, not is_open) for value, is_open in points)
    return of(low, high, low_open=low_open, high_open=not not_high_open)


def _ends(a: Interval) -> tuple[End, End]:
    return (a.low, a.low_open), (a.high, a.high_open)


def mul(a: Interval, b: Interval) -> Interval:
    """Bound a * b."""
    return _hull(_times(x, y) for x in _ends(a) for y in _ends(b))


def reciprocal(a: Interval) -> Interval | None:
    """Bound 1 / a; None where a can be zero."""
    if not is_nonzero(a):
        return None
    sign = 1.0 if a in POSITIVE else -1.0
    ends = [(sign * math.inf, True) if v == 0.0 else (1.0 / v, is_open) for v, is_open in _ends(a)]
    return _hull((value, is_open or value == 0.0) for value, is_open in ends)


def div(a: Interval, b: Interval) -> Interval | None:
    """Bound a / b; None where b can be zero."""
    inverse = reciprocal(b)
    return None if inverse is None else mul(a, inverse)


def monotone(function: Callable[[float], float], bounds: Interval = REAL) -> Callable[[Interval], Interval]:
    """Lift an increasing function whose range is `bounds`; its ends are approached, never reached."""

    def lifted(a: Interval) -> Interval:
        low, high = function(a.low), function(a.high)
        return of(
            low,
            high,
            low_open=a.low_open or (low <= bounds.low and bounds.low_open),
            high_open=a.high_open or (high >= bounds.high and bounds.high_open),
        )

    return lifted


def absolute(a: Interval) -> Interval:
    """Bound |a|."""
    if a in NON_NEGATIVE:
        return a
    if a in NON_POSITIVE:
        return neg(a)
    high, closed = max((-a.low, not a.low_open), (a.high, not a.high_open))  # of two equal ends the closed one wins
    return of(0.0, high, high_open=not closed)


def square(a: Interval) -> Interval:
    """Bound a²."""
    size = absolute(a)
    low, high = size.low * size.low, _finite(lambda: size.high * size.high)
    is_open = size.low_open or (low == 0.0 and size.low > 0.0)
    return of(low, high, low_open=is_open, high_open=size.high_open)


def maximum(a: Interval, b: Interval) -> Interval:
    """Bound max(a, b)."""
    low, low_open = max((a.low, a.low_open), (b.low, b.low_open))
    high, closed = max((a.high, not a.high_open), (b.high, not b.high_open))
    return of(low, high, low_open=low_open, high_open=not closed)


def minimum(a: Interval, b: Interval) -> Interval:
    """Bound min(a, b)."""
    return neg(maximum(neg(a), neg(b)))


def total(a: Interval) -> Interval:
    """Bound a sum of one or more values of `a`: the sign is known, the size is not."""
    low = a.low if a.low >= 0.0 else -math.inf
    high = a.high if a.high <= 0.0 else math.inf
    return of(low, high, low_open=a.low_open, high_open=a.high_open)


def power(a: Interval, b: Interval) -> Interval | None:
    """Bound a ** b for a positive base, or a non-negative one under a positive exponent."""
    if a in POSITIVE:
        return _positive_power(a, b)
    return NON_NEGATIVE if a in NON_NEGATIVE and b in POSITIVE else None


def _positive_power(a: Interval, b: Interval) -> Interval:
    if a in CLOSED_UNIT and b in POSITIVE:
        return UNIT if a.high_open else of(0.0, 1.0, low_open=True)
    return POSITIVE


def integer_power(a: Interval, exponent: float) -> Interval:
    """Bound a ** n for an integer n >= 0 and any base: the sign is known, the size is not."""
    if exponent % 2 == 0:
        return POSITIVE if is_nonzero(a) else NON_NEGATIVE
    return sign_of(a)


def sign_of(a: Interval) -> Interval:
    """Keep only the sign of `a`."""
    return next((s for s in (POSITIVE, NEGATIVE, NON_NEGATIVE, NON_POSITIVE) if a in s), REAL)


def _finite(compute: Callable[[], float]) -> float:
    try:
        return compute()
    except OverflowError:
        return math.inf


def exp(a: Interval) -> Interval:
    """Bound e ** a: always positive, however small."""
    low, high = _finite(lambda: math.exp(a.low)), _finite(lambda: math.exp(a.high))
    return of(low, high, low_open=a.low_open or low == 0.0, high_open=a.high_open)


def log(a: Interval) -> Interval | None:
    """Bound log a; None where a can be zero or less."""
    if a not in POSITIVE:
        return None
    low = -math.inf if a.low == 0.0 else math.log(a.low)
    high = math.inf if math.isinf(a.high) else math.log(a.high) if a.high > 0.0 else -math.inf
    return of(low, high, low_open=a.low_open, high_open=a.high_open)


def sqrt(a: Interval) -> Interval | None:
    """Bound the square root; None where a can be zero or less, where its slope is infinite."""
    if a not in POSITIVE:
        return None
    high = math.sqrt(a.high) if math.isfinite(a.high) else math.inf
    return of(math.sqrt(a.low), high, low_open=a.low_open, high_open=a.high_open)
