"""When two programs are the same by structure: constants folded, commuting arguments sorted."""

import hashlib
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lossml.errors import ProgramError
from lossml.program.primitives import EPSILON, OPERATIONS
from lossml.program.text import Piece, piece
from lossml.program.tree import CONST, Node, constant, fold, rebuild, with_args


def _divide(a: float, b: float) -> float:
    return a / b


def _square(a: float) -> float:
    return a * a


def _rsqrt1p(a: float) -> float:
    return 1.0 / math.sqrt(1.0 + a * a)


def _logabs(a: float) -> float:
    return math.log(abs(a) + EPSILON)


_UNARY: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "neg": operator.neg,
        "square": _square,
        "exp": math.exp,
        "log": math.log,
        "sqrt": math.sqrt,
        "abs": math.fabs,
        "sin": math.sin,
        "cos": math.cos,
        "tanh": math.tanh,
        "rsqrt1p": _rsqrt1p,
        "logabs": _logabs,
    }
)
_BINARY: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {
        "add": operator.add,
        "sub": operator.sub,
        "mul": operator.mul,
        "div": _divide,
        "pow": math.pow,
        "max": max,
        "min": min,
    }
)
NUMERIC: Mapping[str, Callable[..., float]] = MappingProxyType({**_UNARY, **_BINARY})


def _folded(node: Node, args: tuple[Node, ...]) -> Node:
    try:
        if not args or any(a.op != CONST for a in args) or node.op not in NUMERIC:
            return with_args(node, args)
        return constant(NUMERIC[node.op](*(a.value for a in args)))
    except (ArithmeticError, ValueError, ProgramError):  # beyond what a float can hold, or a positive argument
        return node  # rounded to zero: leave it as written


def fold_constants(tree: Node) -> Node:
    """Replace every operation on constants alone by its value."""
    return rebuild(tree, _folded)


def _sorted_piece(node: Node, args: tuple[Piece, ...]) -> Piece:
    """Write a node with the arguments of a commuting operation in one order."""
    return piece(node, tuple(sorted(args)) if args and OPERATIONS[node.op].commutes else args)


def structure_key(tree: Node) -> str:
    """Return a short key equal for programs of the same structure, stable over runs and machines."""
    return hashlib.blake2b(fold(fold_constants(tree), _sorted_piece)[0].encode(), digest_size=12).hexdigest()
