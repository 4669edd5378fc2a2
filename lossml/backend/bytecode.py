"""Programs as lists of simple instructions, for a machine that runs them without tensors.

A sample has one class here: the pixel axis has length one. A register holds a value per element, per
sample, per class or one for all. Instructions work on registers of one shape; what must be broadcast is
expanded by an instruction of its own, so that broadcasting and its reverse stand in one place.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from lossml.program import Node, operations
from lossml.program.primitives import OPERATIONS
from lossml.program.tree import fold
from lossml.program.types import Axes

LEAVES = ("y", "p", "logp", "log1mp", "z")
"""Terminals of the first registers, filled before a program runs."""
ONE, SAMPLE, CLASS, ELEMENT = range(4)  # shapes: a bit for the samples, a bit for the classes
NONE = -1  # no argument

STEPS = (
    *("const", "C", "t", "pi", "tiny", "expand", "sum_C", "mean_C", "max_C", "sum_B", "mean_B"),
    *("add", "sub", "mul", "div", "neg", "square", "exp", "max", "min", "nonzero", "log", "sqrt", "pow", "abs"),
    *("tanh", "sin", "cos", "rsqrt1p", "logabs"),
)
"""What an instruction may do: what needs no argument, what changes the shape, what acts on each number."""
CODES: Mapping[str, int] = MappingProxyType({name: code for code, name in enumerate(STEPS)})
"""Their numbers, the same to every kernel."""


class Instruction(NamedTuple):
    """One step of a program; its result is the next register.

    Attributes:
        op: an element-wise operation or aggregate of the language, "const", a scalar or
            class terminal, "nonzero", "expand", or "tiny", the smallest normal number.
        shape: of the result.
        a: register of the first argument, or NONE.
        b: register of the second.
        value: of a constant.
    """

    op: str
    shape: int
    a: int = NONE
    b: int = NONE
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Code:
    """A program's instructions, the last of which gives the mean loss.

    Attributes:
        instructions: in order.
        shapes: of all registers, those of the leaves first.
        slopes: whether the logits change a register.
        leaves: that the program reads.
    """

    instructions: Sequence[Instruction]
    shapes: Sequence[int]
    slopes: Sequence[bool]
    leaves: Collection[str]


def fits(program: Node) -> bool:
    """Say whether the machine knows every terminal of a program: it does not know the sigmoids."""
    return operations(program).isdisjoint({"s", "logs", "log1ms"})


def shape_of(axes: Axes) -> int:
    """Return the shape of a value that varies over some axes."""
    return SAMPLE * (Axes.BATCH in axes) | CLASS * (Axes.CLASS in axes)


class _Assembly:
    """Instructions as they are laid, equal ones once; a leaf while a program is assembled."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.places: dict[Instruction, int] = {}
        self.shapes = [ELEMENT] * len(LEAVES)
        self.slopes = [leaf != "y" for leaf in LEAVES]
        self.leaves: set[str] = set()

    def lay(self, one: Instruction) -> int:
        if one not in self.places:
            self.append(one)
        return self.places[one]

    def append(self, one: Instruction) -> None:
        self.places[one] = len(self.shapes)
        self.instructions.append(one)
        self.shapes.append(one.shape)
        self.slopes.append(any(place != NONE and self.slopes[place] for place in (one.a, one.b)))

    def visit(self, node: Node, args: tuple[int, ...]) -> int:
        if node.op in LEAVES:
            self.leaves.add(node.op)
            return LEAVES.index(node.op)
        shape = shape_of(node.type.axes)
        if not args:
            return self.lay(Instruction(node.op, shape, value=node.value))
        removed = OPERATIONS[node.op].removes
        if removed == Axes.PIXEL:
            return args[0]
        return self.lay(Instruction(node.op, shape, *args)) if removed else self.elementwise(node.op, shape, args)

    def elementwise(self, op: str, shape: int, args: tuple[int, ...]) -> int:
        first, *rest = (self.expanded(arg, shape) for arg in args)
        if op in {"pow", "sqrt"}:  # see `runtime.nonzero`
            tiny = self.expanded(self.lay(Instruction("tiny", ONE)), shape)
            first = self.lay(Instruction("nonzero", shape, first, tiny))
        return self.lay(Instruction(op, shape, first, *rest))

    def expanded(self, place: int, shape: int) -> int:
        return place if self.shapes[place] == shape else self.lay(Instruction("expand", shape, place))

    def reduced(self, place: int) -> int:
        """Sum what varies over the classes over them, and average over the samples; see `interpret.reduce`."""
        if self.shapes[place] & CLASS:
            place = self.lay(Instruction("sum_C", self.shapes[place] & ~CLASS, place))
        return self.lay(Instruction("mean_B", ONE, place)) if self.shapes[place] & SAMPLE else place


def assemble(program: Node) -> Code:
    """Lay a program out; its instructions compute its mean loss."""
    work = _Assembly()
    last = work.reduced(fold(program, work.visit))
    if last != len(work.shapes) - 1:  # a part that was laid before is the whole
        work.append(Instruction("expand", ONE, last))
    return Code(work.instructions, work.shapes, work.slopes, work.leaves)
