"""The primitive set: every terminal and operation of the language, with the types each one declares.

An operation gives its result's interval from its arguments' intervals, or None where they break
its rule; the rule is stated once, as the sentence that a user reads.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from lossml.program import interval as iv
from lossml.program.interval import Interval
from lossml.program.types import Axes, Type

EPSILON = 1e-6  # the ε of logabs


@dataclass(frozen=True, slots=True)
class Terminal:
    """A leaf: a quantity every loss can read.

    Attributes:
        name: as written in a program.
        type: its axes and interval, in exact arithmetic.
        meaning: one line for people.
    """

    name: str
    type: Type
    meaning: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An inner node.

    Attributes:
        name: as written in a program, or the name behind an operator sign.
        arity: number of arguments.
        bound: the result's interval from the arguments', None where the rule is broken.
        meaning: one line for people.
        rule: what the arguments must satisfy, where anything.
        sign: the operator sign, for those written between or before their arguments.
        removes: the axis an aggregate reduces; SCALAR for element-wise operations.
        commutes: whether the arguments can be swapped.
    """

    name: str
    arity: int
    bound: Callable[..., Interval | None]
    meaning: str
    rule: str = ""
    sign: str = ""
    removes: Axes = Axes.SCALAR
    commutes: bool = False


Row = TypeVar("Row", Terminal, Operation)


def _table(*rows: Row) -> Mapping[str, Row]:
    return MappingProxyType({row.name: row for row in rows})


def _element(bounds: Interval) -> Type:
    return Type(Axes.ELEMENT, bounds)


TERMINALS: Mapping[str, Terminal] = _table(
    Terminal("y", _element(iv.CLOSED_UNIT), "target: one-hot or soft, sums to 1 over the classes"),
    Terminal("p", _element(iv.UNIT), "softmax probability"),
    Terminal("logp", _element(iv.NEGATIVE), "log p, from log-softmax"),
    Terminal("log1mp", _element(iv.NEGATIVE), "log(1 - p), computed stably from the logits"),
    Terminal("z", _element(iv.REAL), "logit, centred over the classes"),
    Terminal("s", _element(iv.UNIT), "sigmoid probability of the raw logit (multi-label)"),
    Terminal("logs", _element(iv.NEGATIVE), "log s, from log-sigmoid"),
    Terminal("log1ms", _element(iv.NEGATIVE), "log(1 - s), from log-sigmoid"),
    Terminal("C", Type(Axes.SCALAR, iv.of(2.0, math.inf)), "number of classes"),
    Terminal("pi", Type(Axes.CLASS, iv.UNIT), "class prior: share of each class in the training data"),
    Terminal("t", Type(Axes.SCALAR, iv.CLOSED_UNIT), "training progress, 0 at the start and 1 at the end"),
)

_POSITIVE_RULE = "its argument must be positive"


def _minus_one_to_one(_: Interval) -> Interval:
    return iv.of(-1.0, 1.0)


def _zero_to_one(_: Interval) -> Interval:
    return iv.of(0.0, 1.0, low_open=True)


def _any(_: Interval) -> Interval:
    return iv.REAL


def _same(a: Interval) -> Interval:
    return a


OPERATIONS: Mapping[str, Operation] = _table(
    Operation("add", 2, iv.add, "a + b", sign="+", commutes=True),
    Operation("sub", 2, iv.sub, "a - b", sign="-"),
    Operation("mul", 2, iv.mul, "a * b", sign="*", commutes=True),
    Operation("div", 2, iv.div, "a / b", "its denominator must not be able to be zero", sign="/"),
    Operation(
        "pow",
        2,
        iv.power,
        "a ^ b",
        "its base must be positive, or non-negative under a positive exponent, or the exponent a whole number >= 0",
        sign="^",
    ),
    Operation("neg", 1, iv.neg, "-a", sign="-"),
    Operation("square", 1, iv.square, "a ^ 2"),
    Operation("exp", 1, iv.exp, "e ^ a"),
    Operation("log", 1, iv.log, "natural logarithm", _POSITIVE_RULE),
    Operation("sqrt", 1, iv.sqrt, "square root", _POSITIVE_RULE),
    Operation("abs", 1, iv.absolute, "|a|"),
    Operation("sin", 1, _minus_one_to_one, "sine"),
    Operation("cos", 1, _minus_one_to_one, "cosine"),
    Operation(
        "tanh",
        1,
        iv.monotone(math.tanh, iv.of(-1.0, 1.0, low_open=True, high_open=True)),
        "hyperbolic tangent",
    ),
    Operation("rsqrt1p", 1, _zero_to_one, "1 / sqrt(1 + a^2)"),
    Operation("logabs", 1, _any, f"log(|a| + {EPSILON:g})"),
    Operation("max", 2, iv.maximum, "the larger of a and b", commutes=True),
    Operation("min", 2, iv.minimum, "the smaller of a and b", commutes=True),
    Operation("sum_C", 1, iv.total, "sum over the classes", removes=Axes.CLASS),
    Operation("mean_C", 1, _same, "mean over the classes", removes=Axes.CLASS),
    Operation("max_C", 1, _same, "largest over the classes", removes=Axes.CLASS),
    Operation("sum_B", 1, iv.total, "sum over the batch", removes=Axes.BATCH),
    Operation("mean_B", 1, _same, "mean over the batch", removes=Axes.BATCH),
    Operation("sum_X", 1, iv.total, "sum over the pixels", removes=Axes.PIXEL),
    Operation("mean_X", 1, _same, "mean over the pixels", removes=Axes.PIXEL),
)
