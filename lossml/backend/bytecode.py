"""Programs as lists of simple instructions, for a machine that runs them without tensors.

Samples are what has a class: those of a batch, or the pixels of its images. A register holds a value per element,
per sample, per class, per image, per image and class, or one for all. Instructions work on registers of one shape;
what must be broadcast is expanded by an instruction of its own, so that broadcasting and its reverse stand in one
place.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from lossml.program import Node, operations
from lossml.program.hard import AT, read_at_true
from lossml.program.primitives import OPERATIONS
from lossml.program.tree import fold, terminal
from lossml.program.types import Axes

LEAVES = ("y", "p", "logp", "log1mp", "z")
"""Terminals of the first registers, filled before a program runs."""
ONE, SAMPLE, CLASS, ELEMENT, IMAGE = range(5)  # shapes: a bit for the samples, for the classes, for the images
NONE, Y = -1, LEAVES.index("y")  # no argument, and what marks the true classes

STEPS = (
    *("const", "C", "t", "pi", "tiny", "expand", "pick", "sum_C", "mean_C", "max_C"),
    *("any", "sum_X", "mean_X", "sum_I", "mean_I", "sum_B", "mean_B"),
    *("add", "sub", "mul", "div", "neg", "square", "exp", "max", "min", "nonzero", "log", "sqrt", "pow", "abs"),
    *("tanh", "sin", "cos", "rsqrt1p", "logabs"),
)
"""What an instruction may do: what needs no argument, what changes the shape, what acts on each number.

Picking reads at each sample's true class, which y marks. Any keeps a number unless nothing counts. An aggregate over X
takes an image's pixels together, over I the images, over B all samples there are.
"""
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


def fits(program: Node, *, masks: bool = False) -> bool:
    """Say whether the machine knows all that a program computes: no sigmoid, no value of pixels over all images."""
    read = {name.removesuffix(AT) for name in operations(program)}
    return read.isdisjoint({"s", "logs", "log1ms"}) and not (masks and fold(program, _mixes_images))


def _mixes_images(node: Node, args: tuple[bool, ...]) -> bool:
    return any(args) or (Axes.PIXEL in node.type.axes and Axes.BATCH not in node.type.axes)


def shape_of(axes: Axes, *, masks: bool = False) -> int:
    """Return the shape of a value that varies over some axes."""
    samples = Axes.PIXEL if masks else Axes.BATCH
    shape = SAMPLE * (samples in axes) | CLASS * (Axes.CLASS in axes)
    return shape | IMAGE * (masks and Axes.BATCH in axes and Axes.PIXEL not in axes)


class _Assembly:
    """Instructions as they are laid, equal ones once; a leaf while a program is assembled."""

    def __init__(self, *, masks: bool) -> None:
        self.masks = masks
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
        base = read_at_true(node)
        if base is not None:
            picked = Instruction("pick", shape_of(node.type.axes, masks=self.masks), self.visit(base, ()), Y)
            return self.lay(picked)
        if node.op == "exp" and args[0] == LEAVES.index("logp"):  # see `hard.exponentials`: here p costs nothing more
            return self.visit(terminal("p"), ())
        return self.computed(node, shape_of(node.type.axes, masks=self.masks), args)

    def computed(self, node: Node, shape: int, args: tuple[int, ...]) -> int:
        if not args:
            return self.lay(Instruction(node.op, shape, value=node.value))
        removed = OPERATIONS[node.op].removes
        if not removed:
            return self.elementwise(node.op, shape, args)
        if removed == Axes.PIXEL and not self.masks:
            return args[0]
        over_images = removed == Axes.BATCH and self.masks
        return self.lay(Instruction(node.op.replace("_B", "_I") if over_images else node.op, shape, *args))

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
        if not self.shapes[place]:
            return place
        return self.lay(Instruction("mean_B" if self.shapes[place] & SAMPLE else "mean_I", ONE, place))

    def mean(self, program: Node) -> int:
        """Lay a program out and average it.

        Of pixels' values to which one number for all is added, the number is added to the average: it may build on a
        sum, for which each value would have to wait.
        """
        if self.masks and program.op in {"add", "sub"} and program.type.axes == Axes.SAMPLE:
            parts = [self._part(arg) for arg in program.args if arg.type.axes in {Axes.SAMPLE, Axes.SCALAR}]
            if len(parts) == len(program.args):
                return self.lay(Instruction(program.op, ONE, *parts))
        return self.reduced(fold(program, self.visit))

    def _part(self, node: Node) -> int:
        if node.type.axes == Axes.SAMPLE:
            return self.mean(node)
        return self.lay(Instruction("any", ONE, fold(node, self.visit)))


def assemble(program: Node, *, masks: bool = False) -> Code:
    """Lay a program that fits out; its instructions compute its mean loss."""
    work = _Assembly(masks=masks)
    last = work.mean(program)
    if last != len(work.shapes) - 1:  # a part that was laid before is the whole
        work.append(Instruction("expand", ONE, last))
    return Code(work.instructions, work.shapes, work.slopes, work.leaves)
