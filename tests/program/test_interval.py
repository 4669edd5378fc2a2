"""Interval arithmetic is sound: what an expression's interval leaves out is never its value."""

import math
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lossml.errors import ProgramError
from lossml.program import interval as iv
from lossml.program import parse
from lossml.program.key import NUMERIC
from lossml.program.primitives import OPERATIONS, TERMINALS

NUMBERS = st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))
UNARY = [name for name, op in OPERATIONS.items() if op.arity == 1 and name in NUMERIC]
BINARY = [name for name, op in OPERATIONS.items() if op.arity == 2]


@st.composite
def intervals(draw):
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    left, right = (draw(st.booleans()), draw(st.booleans())) if low < high else (False, False)
    if draw(st.booleans()) and draw(st.booleans()):
        high = math.inf
    return iv.of(low, high, low_open=left, high_open=right)


def inside(interval, share):
    """Return a number of the interval."""
    high = min(interval.high, interval.low + 30)
    value = interval.low + share * (high - interval.low)
    assume(value in interval)
    return value


def assert_inside(value, bound):
    """Allow for rounding at the ends, which floating point cannot avoid."""
    slack = 1e-9 * max(1.0, abs(value))
    assert bound.low - slack <= value <= bound.high + slack, (value, bound)


@pytest.mark.parametrize("name", UNARY)
@given(a=intervals(), share=st.floats(0, 1))
def test_unary_bounds_hold(name, a, share):
    """Each operation's value at a point lies in its bound for any interval around the point."""
    bound = OPERATIONS[name].bound(a)
    assume(bound is not None)
    try:
        value = NUMERIC[name](inside(a, share))
    except OverflowError:
        return
    assert_inside(value, bound)


@pytest.mark.parametrize("name", BINARY)
@given(a=intervals(), b=intervals(), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_binary_bounds_hold(name, a, b, shares):
    """The same for two arguments."""
    bound = OPERATIONS[name].bound(a, b)
    assume(bound is not None)
    try:
        value = NUMERIC[name](inside(a, shares[0]), inside(b, shares[1]))
    except (OverflowError, ZeroDivisionError, ValueError):
        assume(False)
    assert_inside(value, bound)


def _attained_grid():
    ends = [-math.inf, -1.0, -0.5, 0.0, 0.5, 1.0, math.inf]
    for low, high in product(ends, repeat=2):
        for left, right in product((False, True), repeat=2):
            if low < high or (low == high and math.isfinite(low) and not left and not right):
                yield iv.of(low, high, low_open=left, high_open=right)


GRID = sorted(set(_attained_grid()), key=str)
POINTS = [-4.0, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 4.0]
EXACT = ["neg", "square", "abs", "add", "sub", "mul", "max", "min"]  # exact on these points, so no slack


@pytest.mark.parametrize("name", EXACT)
def test_an_end_that_is_attained_is_never_left_out(name):
    """On a grid of open and closed intervals every value at a point of them is strictly in the bound."""
    operation = OPERATIONS[name]
    held = [(a, [x for x in POINTS if x in a]) for a in GRID]
    for chosen in product(held, repeat=operation.arity):
        bound = operation.bound(*(a for a, _ in chosen))
        for point in product(*(points for _, points in chosen)):
            assert NUMERIC[name](*point) in bound, (chosen, point, bound)


@pytest.mark.parametrize("text", ["log(1 - abs(min(cos(z), p)))", "p/(1 - min(cos(z), p)^2)"])
def test_a_half_open_range_keeps_its_closed_end_under_abs(text):
    """The range [-1, 1) holds -1, so one minus its absolute value can be zero."""
    with pytest.raises(ProgramError, match=r"positive|denominator"):
        parse(text)


@pytest.mark.parametrize(
    ("interval", "inside_it", "outside"),
    [
        (iv.UNIT, (0.5, 1e-300), (0.0, 1.0, -1.0)),
        (iv.CLOSED_UNIT, (0.0, 1.0), (1.1, -0.1)),
        (iv.POSITIVE, (1e-300, 1e300), (0.0, -1.0)),
        (iv.NON_POSITIVE, (0.0, -5.0), (1e-9,)),
    ],
)
def test_open_ends_are_left_out(interval, inside_it, outside):
    """An open end is no value, a closed one is."""
    assert all(x in interval for x in inside_it)
    assert not any(x in interval for x in outside)


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("div", (iv.REAL, iv.NON_NEGATIVE)),
        ("log", (iv.NON_NEGATIVE,)),
        ("sqrt", (iv.NON_NEGATIVE,)),
        ("pow", (iv.REAL, iv.REAL)),
        ("pow", (iv.NON_NEGATIVE, iv.REAL)),
        ("log", (iv.REAL,)),
    ],
)
def test_what_can_be_undefined_is_refused(op, args):
    """Division by a possible zero, logarithms and roots of what can be zero or less have no bound."""
    assert OPERATIONS[op].bound(*args) is None


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        ("sub", (iv.of(1, 1), iv.UNIT), iv.UNIT),
        ("mul", (iv.CLOSED_UNIT, iv.NEGATIVE), iv.NON_POSITIVE),
        ("mul", (iv.NEGATIVE, iv.NEGATIVE), iv.POSITIVE),
        ("div", (iv.of(1, 1), iv.UNIT), iv.of(1, math.inf, low_open=True)),
        ("div", (iv.of(1, 1), iv.NEGATIVE), iv.NEGATIVE),
        ("div", (iv.of(1, 1), iv.of(2, math.inf)), iv.of(0, 0.5, low_open=True)),
        ("exp", (iv.REAL,), iv.POSITIVE),
        ("exp", (iv.of(0, 1e6),), iv.of(1, math.inf)),
        ("log", (iv.UNIT,), iv.NEGATIVE),
        ("log", (iv.POSITIVE,), iv.REAL),
        ("log", (iv.of(0, 5e-324, low_open=True),), None),
        ("sqrt", (iv.POSITIVE,), iv.POSITIVE),
        ("square", (iv.REAL,), iv.NON_NEGATIVE),
        ("square", (iv.of(1e-200, 1),), iv.of(0, 1, low_open=True)),
        ("square", (iv.of(-1e200, 0),), iv.of(0, math.inf)),
        ("abs", (iv.NEGATIVE,), iv.POSITIVE),
        ("abs", (iv.of(-3, 2),), iv.of(0, 3)),
        ("tanh", (iv.REAL,), iv.of(-1, 1, low_open=True, high_open=True)),
        ("rsqrt1p", (iv.REAL,), iv.of(0, 1, low_open=True)),
        ("logabs", (iv.REAL,), iv.REAL),
        ("max", (iv.NEGATIVE, iv.CLOSED_UNIT), iv.CLOSED_UNIT),
        ("min", (iv.UNIT, iv.of(2, 3)), iv.UNIT),
        ("pow", (iv.UNIT, iv.POSITIVE), iv.UNIT),
        ("pow", (iv.of(0, 1, low_open=True), iv.POSITIVE), iv.of(0, 1, low_open=True)),
        ("pow", (iv.UNIT, iv.REAL), iv.POSITIVE),
        ("pow", (iv.CLOSED_UNIT, iv.POSITIVE), iv.NON_NEGATIVE),
        ("sum_C", (iv.UNIT,), iv.POSITIVE),
        ("sum_C", (iv.NEGATIVE,), iv.NEGATIVE),
        ("mean_C", (iv.UNIT,), iv.UNIT),
    ],
)
def test_bounds_are_as_tight_as_the_signs_need(op, args, expected):
    """The bounds that losses rely on, 1 - p in (0, 1) first of all, are exact."""
    found = OPERATIONS[op].bound(*args)
    if expected is not None:
        assert found == expected
    else:
        assert found.high <= -700


def test_an_interval_reads_as_in_mathematics():
    """Brackets and parentheses tell closed from open ends."""
    assert str(iv.of(0, 1, low_open=True)) == "(0, 1]"
    assert str(TERMINALS["logp"].type.interval) == "(-inf, 0)"
