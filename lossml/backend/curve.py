"""Functions of one probability inside a program: their slope on paper, and as polynomials where those are as exact.

A part of a program that reads p alone is a curve over [0, 1]. Its slope is derived here, so that a step forward
computes both and a step back is one product, not one pass for every operation. Where the curve is smooth, a
polynomial gives it to single precision by a dozen multiplications, where sines of sines cost ten times as much.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from lossml.backend.source import CURVE
from lossml.errors import ProgramError
from lossml.program import Axes, Node, fold, nodes, operations
from lossml.program.hard import ONE, ZERO, simplified
from lossml.program.interval import REAL
from lossml.program.tree import CONST, apply, constant
from lossml.program.types import Type

LEAST = 2  # operations beyond arithmetic from which a curve pays
DEGREES = range(4, 17)
LARGEST_ERROR = 4  # in roundings
PRECISION = 2.0**-24  # of a single-precision number, relative
_DEAR = frozenset({"exp", "sin", "cos", "tanh", "log", "sqrt", "pow", "rsqrt1p"})
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "neg", "square"})


def _power_slope(_: Node, base: Node, exponent: Node) -> tuple[Node, ...]:
    if exponent.op != CONST:
        raise ProgramError("the exponent is no number")
    return simplified("mul", exponent, simplified("pow", base, constant(exponent.value - 1.0))), ZERO


def _quotient_slope(v: Node, _: Node, below: Node) -> tuple[Node, ...]:
    return simplified("div", ONE, below), simplified("neg", simplified("div", v, below))


# The slope of an operation's value v by each of its arguments.
_SLOPES: Mapping[str, Callable[..., tuple[Node, ...]]] = MappingProxyType(
    {
        "add": lambda *_: (ONE, ONE),
        "sub": lambda *_: (ONE, constant(-1.0)),
        "mul": lambda _, a, b: (b, a),
        "div": _quotient_slope,
        "neg": lambda *_: (constant(-1.0),),
        "square": lambda _, a: (simplified("mul", constant(2.0), a),),
        "exp": lambda v, _: (v,),
        "sin": lambda _, a: (apply("cos", a),),
        "cos": lambda _, a: (simplified("neg", apply("sin", a)),),
        "tanh": lambda v, _: (simplified("sub", ONE, apply("square", v)),),
        "log": lambda _, a: (simplified("div", ONE, a),),
        "sqrt": lambda v, _: (simplified("div", constant(0.5), v),),
        "rsqrt1p": lambda v, a: (simplified("neg", simplified("mul", a, apply("pow", v, constant(3.0)))),),
        "pow": _power_slope,
    }
)


@dataclass(frozen=True, slots=True)
class Curve:
    """A function of p, its slope, and the polynomials that stand for both in single precision, lowest power first."""

    name: str
    value: Node
    slope: Node
    polynomials: tuple[tuple[float, ...], tuple[float, ...]] | None


def take_out(program: Node) -> tuple[Node, list[Curve]]:
    """Replace the largest parts of a program that are curves, and dear, by terminals named after them."""
    found: dict[Node, Curve] = {}

    def visit(node: Node) -> Node:
        if node not in found and _is_dear(node):
            made = _curve(f"{CURVE}{len(found)}", node)
            if made is not None:
                found[node] = made
        if node in found:
            return Node(found[node].name, (), 0.0, Type(Axes.ELEMENT, REAL), 1, 1)
        if not node.args:
            return node
        args = tuple(map(visit, node.args))
        return Node(node.op, args, node.value, node.type, node.size, node.depth)

    return visit(program), list(found.values())


def _is_dear(node: Node) -> bool:
    words = operations(node)
    return (
        words <= _DEAR | _ARITHMETIC | {"p", CONST}
        and "p" in words
        and len({one for _, one in nodes(node) if one.op in _DEAR}) >= LEAST
    )


def _curve(name: str, value: Node) -> Curve | None:
    try:
        slope = fold(value, _slope)
    except ProgramError:  # an interval that cannot know better
        return None
    if not _is_finite_at_ends(slope):
        return None  # on the way back through the softmax, an underflowed p would turn it into no number
    return Curve(name, value, slope, _polynomials(value, slope))


def _is_finite_at_ends(slope: Node) -> bool:
    """Say whether a slope is a number in single precision at 1 and where p underflows, as powers raise it a little."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(_at(slope, np.array([np.finfo(np.float32).tiny, 1.0], np.float32))).all())


def _slope(node: Node, args: tuple[Node, ...]) -> Node:
    """Differentiate by p; `args` are the slopes of the arguments."""
    if not args:
        return ONE if node.op == "p" else ZERO
    total = ZERO
    for own, inner in zip(_SLOPES[node.op](node, *node.args), args, strict=True):
        total = simplified("add", total, simplified("mul", own, inner))
    return total


# ------------------------------------------------------------------------- polynomials

_NUMPY: Mapping[str, Callable[..., np.ndarray]] = MappingProxyType(
    {
        "add": np.add,
        "sub": np.subtract,
        "mul": np.multiply,
        "div": np.divide,
        "neg": np.negative,
        "square": np.square,
        "exp": np.exp,
        "sin": np.sin,
        "cos": np.cos,
        "tanh": np.tanh,
        "log": np.log,
        "sqrt": np.sqrt,
        "rsqrt1p": lambda a: 1.0 / np.sqrt(1.0 + a * a),
        "pow": np.power,
    }
)


def _at(node: Node, points: np.ndarray) -> np.ndarray:
    """Evaluate a curve in double precision."""

    def visit(node: Node, args: tuple[np.ndarray, ...]) -> np.ndarray:
        if node.op == CONST:
            return np.full_like(points, node.value)
        return _NUMPY[node.op](*args) if args else points

    return fold(node, visit)


def _polynomials(value: Node, slope: Node) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Find a polynomial that is the curve to single precision, and whose derivative is the slope; None for no such."""
    points = np.concatenate([np.linspace(0.0, 1.0, 2001), np.logspace(-30, 0, 301)])
    with np.errstate(all="ignore"):
        exact, steep = _at(value, points), _at(slope, points)
        if not (np.isfinite(exact).all() and np.isfinite(steep).all()):
            return None
        for degree in DEGREES:
            fitted = Chebyshev.interpolate(lambda at: _at(value, at), degree, [0.0, 1.0]).convert(kind=Polynomial)
            if _is_close(fitted, points, exact) and _is_close(fitted.deriv(), points, steep):
                return tuple(map(float, fitted.coef)), tuple(map(float, fitted.deriv().coef))
    return None


def _is_close(fitted: Polynomial, points: np.ndarray, exact: np.ndarray) -> bool:
    """Say whether a polynomial, computed in single precision, has the relative errors of single precision."""
    return bool((np.abs(_horner(fitted.coef, points) - exact) <= LARGEST_ERROR * PRECISION * np.abs(exact)).all())


def _horner(coefficients: np.ndarray, points: np.ndarray) -> np.ndarray:
    at = points.astype(np.float32)
    total = np.zeros_like(at)
    for one in coefficients[::-1].astype(np.float32):
        total = total * at + one
    return total
