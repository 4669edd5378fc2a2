"""A program for hard labels: the same loss written without y, where a label is the number of a class.

A hard label makes y 1 at the true class and 0 elsewhere, so an expression e has two forms, and
its sum over the classes is that of the one, set right at the true class:

    sum_C(e) = sum_C(e[y=0]) + (e[y=1] - e[y=0]) at the true class

Often e[y=0] is 0 and nothing is left to sum. What is read at the true class is written with
terminals of its own, such as `logp@y`, which the text form does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from lossml.errors import ProgramError
from lossml.program import interval as iv
from lossml.program.interval import Interval
from lossml.program.key import fold_constants
from lossml.program.primitives import OPERATIONS, TERMINALS
from lossml.program.tree import CONST, Node, apply, constant, fold, operations, rebuild, terminal, with_args
from lossml.program.types import Axes, Type

AT = "@y"  # ends the name of a terminal that is read at the true class alone
ZERO, ONE = constant(0.0), constant(1.0)

# What terminals are in float32 short of a network that has lost all measure.
_USUAL: Mapping[str, Interval] = MappingProxyType(
    {
        "p": iv.of(1e-7, 1.0),
        "logp": iv.of(-100.0, 0.0),
        "log1mp": iv.of(-100.0, 0.0),
        "z": iv.of(-100.0, 100.0),
        "s": iv.of(1e-7, 1.0),
        "logs": iv.of(-100.0, 0.0),
        "log1ms": iv.of(-100.0, 0.0),
        "C": iv.of(2.0, 1e4),
        "pi": iv.of(1e-6, 1.0),
    }
)
_LARGEST = 1e3


class _NoHardFormError(Exception):
    """The program needs y itself."""


@dataclass(frozen=True, slots=True)
class _Split:
    """A part of a program: where y is 0, where y is 1, and the second less the first, simplified."""

    other: Node
    true: Node
    step: Node


def at_true(name: str) -> Node:
    """Build the terminal that reads another one, which varies over the classes, at the true class."""
    return Node(name + AT, (), 0.0, Type(Axes.SAMPLE, TERMINALS[name].type.interval), 1, 1)


def read_at_true(node: Node) -> Node | None:
    """Return the terminal whose value at the true class a node is, None for any other node."""
    return terminal(node.op.removesuffix(AT)) if node.op.endswith(AT) else None


def hard_form(program: Node) -> Node | None:
    """Write a program for hard labels, without y.

    Args:
        program: a program.

    Returns:
        A tree with terminals such as `p@y`, which vary over samples and pixels; the same loss for
        every hard label. None where y is read outside sums and means over the classes, and where
        the sum over all classes would drown what it is corrected by.
    """
    if "y" not in operations(program):
        return None
    whole = apply("sum_C", program) if program.type.axes == Axes.ELEMENT else program
    try:
        found = fold(whole, _split)
    except (_NoHardFormError, ProgramError):
        return None
    return exponentials(fold_constants(found.other)) if found.step == ZERO else None


def exponentials(program: Node) -> Node:
    """Take p from log p where both are read, which saves a softmax and its gradient.

    Where the exponential's interval, which cannot know that it is p, breaks a rule, the program stays as it is.
    """
    used = operations(program)
    if not used & {"logp", "logp" + AT} or not used & {"p", "p" + AT}:
        return program
    try:
        return rebuild(program, _exponential)
    except ProgramError:
        return program


def _exponential(node: Node, args: tuple[Node, ...]) -> Node:
    return with_args(node, args) if args else _EXPONENTIALS.get(node.op, node)


_EXPONENTIALS: Mapping[str, Node] = MappingProxyType(
    {"p": apply("exp", terminal("logp")), "p" + AT: apply("exp", at_true("logp"))}
)


def _split(node: Node, args: tuple[_Split, ...]) -> _Split:
    if node.op == "y":
        return _Split(ZERO, ONE, ONE)
    if all(arg.step == ZERO for arg in args):
        same = node if all(arg.other is old for arg, old in zip(args, node.args, strict=True)) else _again(node, args)
        return _Split(same, same, ZERO)
    if not OPERATIONS[node.op].removes:
        return _split_elementwise(node.op, args)
    total = _total(node, args[0])
    return _Split(total, total, ZERO)


def _again(node: Node, args: tuple[_Split, ...]) -> Node:
    return _varying_as(node, simplified(node.op, *(arg.other for arg in args)))


def _varying_as(node: Node, found: Node) -> Node:
    """Refuse what no longer varies as it did: it would be weighted, or counted, in another way."""
    if OPERATIONS[node.op].removes and found.type.axes != node.type.axes:
        raise _NoHardFormError
    return found


def _split_elementwise(op: str, args: tuple[_Split, ...]) -> _Split:
    other, true = simplified(op, *(arg.other for arg in args)), simplified(op, *(arg.true for arg in args))
    return _Split(other, true, _step(op, args) or simplified("sub", true, other))


def _step(op: str, args: tuple[_Split, ...]) -> Node | None:
    """Subtract term by term where the operation is linear in what varies: what both sides share cancels."""
    steps = [arg.step for arg in args]
    if op in {"add", "sub", "neg"}:
        return simplified(op, *steps)
    if op == "mul" and ZERO in steps:
        return simplified(op, *(arg.other if arg.step == ZERO else arg.step for arg in args))
    if op == "div" and steps[1] == ZERO:
        return simplified(op, steps[0], args[1].other)
    return None


def _total(node: Node, arg: _Split) -> Node:
    """Sum or average over the classes: everywhere as if y were 0, and the difference at the true class."""
    if node.op not in {"sum_C", "mean_C"}:
        raise _NoHardFormError
    own = fold(arg.step, _at_true_class)
    if node.op == "mean_C":
        own = simplified("div", own, terminal("C"))
    return _varying_as(node, simplified("add", _everywhere(node.op, arg.other), own))


def _everywhere(op: str, other: Node) -> Node:
    if Axes.CLASS not in other.type.axes:
        return simplified("mul", terminal("C"), other) if op == "sum_C" else other
    if Axes.BATCH not in other.type.axes or not _is_tame(other):
        raise _NoHardFormError
    return apply(op, other)


def _at_true_class(node: Node, args: tuple[Node, ...]) -> Node:
    if Axes.CLASS not in node.type.axes:
        return node
    if not args:
        return at_true(node.op)
    if OPERATIONS[node.op].removes:
        raise _NoHardFormError
    return apply(node.op, *args)


def _is_tame(node: Node) -> bool:
    """Say whether a value is never so large that adding it and taking it off again loses the rest."""
    bounds = rebuild(node, _with_usual_bounds).type.interval
    return -bounds.low <= _LARGEST and bounds.high <= _LARGEST


def _with_usual_bounds(node: Node, args: tuple[Node, ...]) -> Node:
    if args:
        return with_args(node, args)
    base = node.op.removesuffix(AT)
    return Node(node.op, (), node.value, Type(node.type.axes, _USUAL.get(base, node.type.interval)), 1, 1)


def simplified(op: str, *args: Node) -> Node:
    """Apply an operation, leaving out what adds 0 and multiplies by 0 or 1, with constants folded."""
    if all(arg.op == CONST for arg in args):
        return fold_constants(apply(op, *args))
    if len(args) == 2:
        return _without_neutral(op, *args) or apply(op, *args)
    return args[0].args[0] if op == args[0].op == "neg" else apply(op, *args)


def _without_neutral(op: str, a: Node, b: Node) -> Node | None:
    if op == "add":
        return _sum(a, b)
    if op == "sub":
        return _difference(a, b)
    if op == "mul":
        return _product(a, b)
    if op == "div":
        return ZERO if a == ZERO else a if b == ONE else None
    return a if op == "pow" and b == ONE else None


def _sum(a: Node, b: Node) -> Node | None:
    if b.op == "neg":
        return simplified("sub", a, b.args[0])
    return b if a == ZERO else a if b == ZERO else None


def _product(a: Node, b: Node) -> Node | None:
    if ZERO in {a, b}:
        return ZERO
    for one, other in ((a, b), (b, a)):
        if one in {ONE, constant(-1.0)}:
            return other if one == ONE else simplified("neg", other)
    return None


def _difference(a: Node, b: Node) -> Node | None:
    if b.op == "neg":
        return simplified("add", a, b.args[0])
    if a == b:
        return ZERO
    return simplified("neg", b) if a == ZERO else a if b == ZERO else None
