"""The immutable, typed tree that is a loss program.

Trees are built by `constant`, `terminal` and `apply` alone, so that every tree that exists is well
typed and in normal form: log(p) is the terminal logp (and so always log-softmax), a squared value
is `square`, a negated constant is a constant.
"""

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from lossml.errors import ProgramError
from lossml.program import interval as iv
from lossml.program.interval import Interval
from lossml.program.primitives import OPERATIONS, TERMINALS
from lossml.program.types import Axes, Type

MAX_SIZE = 256
MAX_DEPTH = 32
CONST = "const"

Path = tuple[int, ...]
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Node:
    """A loss program, or a part of one.

    Attributes:
        op: name of an operation or terminal, or "const".
        args: the arguments, none for a leaf.
        value: the number of a constant, else 0.
        type: axes and interval of its values.
        size: number of nodes.
        depth: number of nodes on the longest way down.
    """

    op: str
    args: tuple["Node", ...]
    value: float
    type: Type
    size: int
    depth: int
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Hash once, without the type, which the rest determines: trees are looked up far more often than built."""
        object.__setattr__(self, "_hash", hash((self.op, self.args, self.value)))

    def __hash__(self) -> int:
        """Give the hash."""
        return self._hash

    def __reduce__(self) -> tuple[object, ...]:
        """Build anew in another process: texts hash differently there."""
        return Node, (self.op, self.args, self.value, self.type, self.size, self.depth)

    def __eq__(self, other: object) -> bool:
        """Compare structure: same operations, arguments and constants."""
        return isinstance(other, Node) and (
            self is other or (self.op, self.value, self.args) == (other.op, other.value, other.args)
        )


def constant(value: float) -> Node:
    """Build a constant; it must be finite."""
    number = float(value) + 0.0  # -0.0 and 0.0 are one program
    if not math.isfinite(number):
        raise ProgramError(f"the constant {value} is not finite; a program's constants must be ordinary numbers")
    return Node(CONST, (), number, Type(Axes.SCALAR, iv.of(number, number)), 1, 1)


_TERMINAL_NODES = {name: Node(name, (), 0.0, t.type, 1, 1) for name, t in TERMINALS.items()}


def terminal(name: str) -> Node:
    """Build the terminal of that name; a ProgramError names those there are."""
    if name not in _TERMINAL_NODES:
        raise ProgramError(f"unknown terminal {name!r}; there are {', '.join(TERMINALS)}")
    return _TERMINAL_NODES[name]


def apply(op: str, *args: Node) -> Node:
    """Apply an operation to arguments, checking types and normalising.

    Raises:
        ProgramError: for an unknown operation, a wrong number of arguments, arguments that break
            its rule, or a tree above MAX_SIZE nodes or MAX_DEPTH levels.
    """
    _check_call(op, args)
    return _normalised(op, args) or _build(op, args)


def _check_call(op: str, args: tuple[Node, ...]) -> None:
    if op not in OPERATIONS:
        raise ProgramError(f"unknown operation {op!r}; there are {', '.join(OPERATIONS)}")
    if len(args) != OPERATIONS[op].arity:
        raise ProgramError(f"{op} takes {OPERATIONS[op].arity} argument(s), {len(args)} given")


def _build(op: str, args: tuple[Node, ...]) -> Node:
    size, depth = 1 + sum(a.size for a in args), 1 + max(a.depth for a in args)
    if size > MAX_SIZE or depth > MAX_DEPTH:
        raise ProgramError(f"a program holds at most {MAX_SIZE} nodes on {MAX_DEPTH} levels; shorten it")
    return Node(op, args, 0.0, _infer(op, args), size, depth)


def _infer(op: str, args: tuple[Node, ...]) -> Type:
    operation = OPERATIONS[op]
    axes = Axes.SCALAR
    for arg in args:
        axes |= arg.type.axes
    if operation.removes and operation.removes not in axes:
        raise ProgramError(f"{op} has nothing to reduce: its argument ({args[0].type}) does not vary along that axis")
    bounds = _special_bound(op, args) or operation.bound(*(a.type.interval for a in args))
    if bounds is None or math.isnan(bounds.low) or math.isnan(bounds.high):
        given = " and ".join(str(a.type.interval) for a in args)
        raise ProgramError(f"{op} cannot take values in {given}: {operation.rule or 'the result is not a number'}")
    return Type(axes & ~operation.removes, bounds)


def _special_bound(op: str, args: tuple[Node, ...]) -> Interval | None:
    """Bounds that need more than the arguments' intervals."""
    if op == "sum_C":
        return _class_sum_bound(args[0])
    if op == "pow" and _is_whole(args[1]) and args[0].type.interval not in iv.POSITIVE:
        return iv.integer_power(args[0].type.interval, args[1].value)
    return None


def _is_whole(exponent: Node) -> bool:
    return exponent.op == CONST and exponent.value >= 0 and exponent.value.is_integer()


def _class_sum_bound(arg: Node) -> Interval | None:
    """Bound sums whose weights add up to one: Σp = Σy = 1, and Σy·x is a mean of x."""
    if arg.op in {"y", "p"}:
        return iv.of(1.0, 1.0)
    if arg.op == "mul":
        left, right = arg.args
        if "y" in (left.op, right.op):
            return (right if left.op == "y" else left).type.interval
    return None


def _normalised(op: str, args: tuple[Node, ...]) -> Node | None:
    """Give the normal form of an operation's application where it is another tree."""
    first = args[0]
    if op == "neg" and first.op == CONST:
        return constant(-first.value)
    if op == "log":
        return _normalised_log(first)
    if op == "pow" and args[1].op == CONST and args[1].value == 2.0:
        return apply("square", first)
    return None


_LOGS = {"p": "logp", "s": "logs"}


def _normalised_log(arg: Node) -> Node | None:
    if arg.op in _LOGS:
        return terminal(_LOGS[arg.op])
    if arg.op == "sub" and arg.args[0] == constant(1.0) and arg.args[1].op in _LOGS:
        return terminal(f"log1m{arg.args[1].op}")
    return None


def fold(tree: Node, visit: Callable[[Node, tuple[R, ...]], R]) -> R:
    """Compute a result bottom-up: `visit` gets a node and its arguments' results.

    This is the one traversal: printing, evaluation, keys and code generation are all folds.
    """
    return visit(tree, tuple([fold(arg, visit) for arg in tree.args]) if tree.args else ())


def rebuild(tree: Node, visit: Callable[[Node, tuple[Node, ...]], Node]) -> Node:
    """Fold into another tree; `visit` gets the node and its already rebuilt arguments."""
    return fold(tree, visit)


def with_args(node: Node, args: tuple[Node, ...]) -> Node:
    """Give the same operation other arguments, checked and normalised afresh; its own give the node itself."""
    return node if all(map(operator.is_, args, node.args)) else apply(node.op, *args)


def nodes(tree: Node) -> Iterator[tuple[Path, Node]]:
    """Yield every node with its path, parents before children."""
    waiting: list[tuple[Path, Node]] = [((), tree)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        waiting += [((*path, index), node.args[index]) for index in reversed(range(len(node.args)))]


def subtree(tree: Node, path: Path) -> Node:
    """Return the node at a path."""
    for index in path:
        tree = tree.args[index]
    return tree


def replace(tree: Node, path: Path, new: Node) -> Node:
    """Return the tree with the node at `path` replaced; a ProgramError where the types do not fit."""
    if not path:
        return new
    head, *rest = path
    args = tuple(replace(arg, tuple(rest), new) if i == head else arg for i, arg in enumerate(tree.args))
    return apply(tree.op, *args)


def operations(tree: Node) -> frozenset[str]:
    """Return the names of all operations and terminals in use."""
    waiting, found = [tree], set[str]()
    while waiting:
        node = waiting.pop()
        found.add(node.op)
        waiting += node.args
    return frozenset(found)
