"""From a program to sympy, by a walk over the tree: no text is ever read by sympy."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import sympy

from lossml.program import Axes, Node, fold
from lossml.program.primitives import EPSILON
from lossml.program.tree import CONST

Expr: TypeAlias = Any  # the operators of sympy's own Expr have no types

DIGITS = 17  # as many as tell any two floats apart
LARGEST_INTEGER = 1000  # above it sympy's exact integers serve nobody and their powers take for ever

SYMBOLS: Mapping[str, sympy.Symbol] = MappingProxyType(
    {
        "y": sympy.Symbol("y", nonnegative=True),
        "p": sympy.Symbol("p", positive=True),
        "z": sympy.Symbol("z", real=True),
        "s": sympy.Symbol("s", positive=True),
        "C": sympy.Symbol("C", positive=True),
        "pi": sympy.Symbol("pi", positive=True),
        "t": sympy.Symbol("t", nonnegative=True),
    }
)
AGGREGATES: Mapping[str, Expr] = MappingProxyType(
    {
        f"{name}_{axis}": sympy.Function(f"{name}_{axis}", real=True)
        for name, axis in [("sum", a) for a in "CBX"] + [("mean", a) for a in "CBX"] + [("max", "C")]
    }
)
# How many terms an aggregate along an axis has.
COUNTS: Mapping[Axes, sympy.Symbol] = MappingProxyType(
    {
        Axes.CLASS: SYMBOLS["C"],
        Axes.BATCH: sympy.Symbol("B", positive=True),
        Axes.PIXEL: sympy.Symbol("N", positive=True),
    }
)


def number(value: float) -> Expr:
    """Give a constant to sympy: small whole numbers exactly, others with all their digits."""
    if value.is_integer() and abs(value) <= LARGEST_INTEGER:
        return sympy.Integer(int(value))
    return sympy.Float(repr(value), DIGITS)


_LOGARITHMS: Mapping[str, Expr] = MappingProxyType(
    {
        "logp": sympy.log(SYMBOLS["p"]),
        "logs": sympy.log(SYMBOLS["s"]),
        "log1mp": sympy.log(1 - SYMBOLS["p"]),
        "log1ms": sympy.log(1 - SYMBOLS["s"]),
    }
)


def _rsqrt1p(a: Expr) -> Expr:
    return 1 / sympy.sqrt(1 + a**2)


def _logabs(a: Expr) -> Expr:
    return sympy.log(sympy.Abs(a) + number(EPSILON))


OPERATIONS: Mapping[str, Callable[..., Expr]] = MappingProxyType(
    {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "pow": lambda a, b: a**b,
        "neg": lambda a: -a,
        "square": lambda a: a**2,
        "exp": sympy.exp,
        "log": sympy.log,
        "sqrt": sympy.sqrt,
        "abs": sympy.Abs,
        "sin": sympy.sin,
        "cos": sympy.cos,
        "tanh": sympy.tanh,
        "rsqrt1p": _rsqrt1p,
        "logabs": _logabs,
        "max": sympy.Max,
        "min": sympy.Min,
        **AGGREGATES,
    }
)


def _visit(node: Node, args: tuple[Expr, ...]) -> Expr:
    if node.op == CONST:
        return number(node.value)
    if args:
        return OPERATIONS[node.op](*args)
    return _LOGARITHMS[node.op] if node.op in _LOGARITHMS else SYMBOLS[node.op]


def expression(node: Node) -> Expr:
    """Build the sympy expression of a program; aggregates become functions such as sum_C."""
    return fold(node, _visit)
