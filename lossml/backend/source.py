"""A program as straight-line source text, in any dialect that has a spelling for each word of the language."""

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lossml.backend.weighting import Weight, choose
from lossml.program import Axes, Node, fold, fold_constants, nodes
from lossml.program.hard import read_at_true
from lossml.program.primitives import OPERATIONS
from lossml.program.tree import CONST, terminal

WEIGHTS: Mapping[Weight, str] = MappingProxyType(
    {
        Weight.NONE: "None",
        Weight.CLASS: "class_weight",
        Weight.SAMPLE: "sample",
        Weight.MASK: "mask",
        Weight.MASK_IMAGE: "image_mask(mask)",
        Weight.MASK_PIXEL: "pixel_mask(mask)",
    }
)
FORMULA, SCALE = "Formula: ", "Scale: "  # begin the header lines that `load` reads
CURVE = "curve"  # begins the name of a terminal that stands for a function of p alone; see `curve`
LONGEST = 60  # characters of an expression that is still written in place


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a library spells the language. In all of them the logits are `scores` and the targets `y`.

    Attributes:
        operations: source of every element-wise operation, {0} and {1} for its arguments.
        aggregates: source of every aggregate, {0} for its argument and {1} for a weight.
        terminals: source of every terminal but y.
        number: source of a number as a tensor, {0} for its digits.
    """

    operations: Mapping[str, str]
    aggregates: Mapping[str, str]
    terminals: Mapping[str, str]
    number: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """An expression and whether it can stand beside an operator or before a dot without parentheses."""

    text: str
    atomic: bool = True


@dataclass(slots=True)
class _Writer:
    """Straight-line code in the making: a statement for what is used twice or too long to stand in place."""

    dialect: Dialect
    uses: Counter[Node]
    lines: list[str] = field(default_factory=list)
    pieces: dict[Node, _Piece] = field(default_factory=dict)

    def write(self, node: Node, args: tuple[_Piece, ...]) -> _Piece:
        if node not in self.pieces:
            self.pieces[node] = self._piece(node, args)
        return self.pieces[node]

    def _piece(self, node: Node, args: tuple[_Piece, ...]) -> _Piece:
        if node.op == CONST:
            return _Piece(repr(node.value), node.value >= 0)
        if node.op == "y":
            return _Piece("y")
        if not node.args:
            return self._terminal(node)
        text = self._source(node, args)
        if self.uses[node] == 1 and len(text) <= LONGEST:
            return _Piece(text, atomic=not OPERATIONS[node.op].sign)
        return self._named(f"v{len(self.lines)}", text)

    def _terminal(self, node: Node) -> _Piece:
        base = read_at_true(node)
        if node.op.startswith(CURVE):
            return self._named(f"{node.op}_value", f"by_curve({self.write(terminal('p'), ()).text}, {node.op})")
        if base is None:
            return self._named(node.op, self.dialect.terminals[node.op].format("scores"))
        return self._named(f"{base.op}_true", f"at_true({self.write(base, ()).text}, label)")

    def _named(self, name: str, text: str) -> _Piece:
        self.lines.append(f"{name} = {text}")
        return _Piece(name)

    def _source(self, node: Node, args: tuple[_Piece, ...]) -> str:
        if node.op in self.dialect.aggregates:
            source = self.dialect.aggregates[node.op]
            weight = WEIGHTS[choose(node.args[0].type.axes, OPERATIONS[node.op].removes)]
            return source.format(_fitting(source, 0, args[0]), weight)
        return self._elementwise(node, args)

    def _elementwise(self, node: Node, args: tuple[_Piece, ...]) -> str:
        source = self.dialect.operations[node.op]
        only_numbers = all(arg.op == CONST for arg in node.args)
        takes_numbers = len(args) == 2 and OPERATIONS[node.op].sign and not only_numbers
        ready = [
            _Piece(self.dialect.number.format(piece.text)) if arg.op == CONST and not takes_numbers else piece
            for arg, piece in zip(node.args, args, strict=True)
        ]
        return source.format(*(_fitting(source, k, piece) for k, piece in enumerate(ready)))


def _fitting(source: str, place: int, piece: _Piece) -> str:
    """Put an argument in parentheses unless it is one word or stands inside the call's own."""
    inside = f"({{{place}}}," in source or f"({{{place}}})" in source or f", {{{place}}})" in source
    return piece.text if piece.atomic or inside else f"({piece.text})"


def written(programs: Sequence[Node], dialect: Dialect) -> tuple[list[str], list[str]]:
    """Write programs as Python statements over `scores`, `y` or `label`, and the weights.

    Returns:
        The statements, equal subexpressions once, and the expression of each program's value.
    """
    folded = [fold_constants(program) for program in programs]
    distinct = {node for program in folded for _, node in nodes(program)}
    writer = _Writer(dialect, Counter(arg for node in distinct for arg in node.args))
    values = [fold(program, writer.write).text for program in folded]
    return writer.lines, [
        dialect.number.format(text) if program.op == CONST else text
        for program, text in zip(folded, values, strict=True)
    ]


def statements(program: Node, dialect: Dialect) -> tuple[list[str], str]:
    """Write one program; see `written`."""
    lines, (value,) = written([program], dialect)
    return lines, value


def reduced(program: Node, dialect: Dialect, reduction: str, scale: float) -> list[str]:
    """Write a program and its reduction to `loss`; `reduction` is the expression that says which."""
    lines, value = statements(program, dialect)
    axes = program.type.axes
    if Axes.CLASS in axes:
        lines.append(f"value = weighted_sum({value}, {WEIGHTS[choose(axes, Axes.CLASS)]}, CLASS)")
        value, axes = "value", axes & ~Axes.CLASS
    factor = "" if scale == 1.0 else f" * {scale!r}"
    return [*lines, f"loss = finish({value}, {WEIGHTS[choose(axes, axes)]}, {reduction}){factor}"]


def weighing(lines: list[str], weight: str, sample: str) -> list[str]:
    """Write the statements that make the weights which the given ones read.

    Args:
        lines: a program's statements.
        weight: expression of the class weights (C,), or None.
        sample: expression of the samples' weights.
    """
    text = "\n".join(lines)
    by_sample, by_class = "sample" in text, "class_weight" in text
    return [
        *([f"weight = {weight}"] if by_sample or by_class else []),
        *([f"sample = {sample}"] if by_sample else []),
        *(["class_weight = None if weight is None else weight.reshape(-1, 1)"] if by_class else []),
    ]


def functions(path: Path) -> dict[str, str]:
    """Read the source of every function and class of a module, which is not run."""
    text = path.read_text()
    found = (node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return {node.name: ast.get_source_segment(text, node) or "" for node in found}


def used(library: Mapping[str, str], body: str) -> str:
    """Copy the functions that the body calls, with those that they call, in the library's order."""
    needed: set[str] = set()
    frontier = [body]
    while frontier:
        text = frontier.pop()
        found = [name for name in library if re.search(rf"\b{name}\b", text)]
        frontier += [library[name] for name in found if name not in needed]
        needed.update(found)
    return "\n\n\n".join(library[name] for name in library if name in needed)


def docstring(text: str) -> str:
    """Write a text as a module's docstring, out of which it cannot break."""
    safe = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{safe}\n"""'
