"""A shorter way to write a program that is the same loss."""

import contextlib
from collections.abc import Callable, Iterator

import sympy

from lossml.algebra.expression import Expr, expression
from lossml.algebra.rebuild import program
from lossml.algebra.worker import WORKER
from lossml.errors import ProgramError
from lossml.program import Node, constant, fold_constants, operations, parse, show
from lossml.program.tree import rebuild, with_args

TIME_LIMIT = 2.0
_STABLE = frozenset({"logp", "log1mp", "logs", "log1ms"})

_FORMS: tuple[Callable[..., Expr], ...] = (
    sympy.powsimp,
    sympy.factor_terms,
    sympy.together,
    sympy.expand,
    sympy.logcombine,
    sympy.cancel,
    sympy.factor,
    sympy.simplify,
)


def _known(node: Node, args: tuple[Node, ...]) -> Node:
    bounds = node.type.interval
    return constant(bounds.low) if bounds.low == bounds.high else with_args(node, args)


def candidates(text: str) -> Iterator[str]:
    """Yield other ways to write a program, quick ones first; runs in the worker."""
    tree = fold_constants(rebuild(parse(text), _known))
    yield show(tree)
    start = expression(tree)
    yield from _shown(start)
    for form in _FORMS:
        yield from _shown(form(start))


def _shown(found: Expr) -> Iterator[str]:
    with contextlib.suppress(ProgramError):  # beyond the language
        yield show(program(found))


def _length(node: Node) -> tuple[int, int]:
    return node.size, len(show(node))


def _keeps_logarithms(short: Node, node: Node) -> bool:
    """Refuse log(p*pi) for logp + log(pi): equal on paper, but it loses log-softmax's accuracy at large logits."""
    used = operations(short)
    return "log" not in used or (operations(node) & _STABLE) <= used


def shorten(node: Node, same: Callable[[Node, Node], bool], time_limit: float = TIME_LIMIT) -> Node:
    """Find a shorter program that is the same loss.

    Args:
        node: a program.
        same: says whether two programs are the same loss, as their fingerprints do; nothing that it
            denies is returned.
        time_limit: seconds for sympy; what it found until then is used.

    Returns:
        The shortest form found, or `node` itself.
    """
    found = (parse(text) for text in WORKER.collect(candidates, show(node), time_limit))
    shorter = [tree for tree in found if tree.size < node.size and _keeps_logarithms(tree, node)]
    return next((tree for tree in sorted(shorter, key=_length) if same(node, tree)), node)
