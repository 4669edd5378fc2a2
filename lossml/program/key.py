"""When two programs are the same by structure: constants folded, commuting arguments sorted."""

import hashlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lossml.errors import ProgramError
from lossml.program.primitives import EPSILON, OPERATIONS
from lossml.program.text import show
from lossml.program.tree import CONST, Node, constant, rebuild, with_args

NUMERIC: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "pow": lambda a, b: a**b,
        "neg": lambda a: -a,
        "square": lambda a: a * a,
        "exp": math.exp,
        "log": math.log,
        "sqrt": math.sqrt,
        "abs": abs,
        "sin": math.sin,
        "cos": math.cos,
        "tanh": math.tanh,
        "rsqrt1p": lambda a: 1.0 / math.sqrt(1.0 + a * a),
        "logabs": lambda a: math.log(abs(a) + EPSILON),
        "max": max,
        "min": min,
    }
)


def _folded(node: Node, args: tuple[Node, ...]) -> Node:
    if not args or any(a.op != CONST for a in args) or node.op not in NUMERIC:
        return with_args(node, args)
    try:
        return constant(NUMERIC[node.op](*(a.value for a in args)))
    except (ArithmeticError, ValueError, ProgramError):  # beyond what a float can hold: leave it as written
        return with_args(node, args)


def fold_constants(tree: Node) -> Node:
    """Replace every operation on constants alone by its value."""
    return rebuild(tree, _folded)


def _sorted(node: Node, args: tuple[Node, ...]) -> Node:
    if args and OPERATIONS[node.op].commutes:
        args = tuple(sorted(args, key=show))
    return with_args(node, args)


def ordered(tree: Node) -> Node:
    """Put the arguments of commuting operations into one order."""
    return rebuild(tree, _sorted)


def structure_key(tree: Node) -> str:
    """Return a short key equal for programs of the same structure, stable over runs and machines."""
    return hashlib.blake2b(show(ordered(fold_constants(tree))).encode(), digest_size=12).hexdigest()
