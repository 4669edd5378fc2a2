"""Code generation: a program as the source of a torch module that needs torch and nothing else."""

import builtins
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from textwrap import indent
from types import MappingProxyType

from lossml.backend import runtime
from lossml.backend.ops import AGGREGATES, ELEMENTWISE, FROM_LOGITS
from lossml.backend.weighting import Weight, choose
from lossml.errors import UsageError
from lossml.program import Axes, Node, fold, fold_constants, nodes, operations, show
from lossml.program.primitives import OPERATIONS
from lossml.program.tree import CONST

_WEIGHTS: Mapping[Weight, str] = MappingProxyType(
    {
        Weight.NONE: "None",
        Weight.CLASS: "class_weight",
        Weight.SAMPLE: "sample",
        Weight.MASK: "mask",
        Weight.MASK_IMAGE: "image_mask(mask)",
        Weight.MASK_PIXEL: "pixel_mask(mask)",
    }
)
_RUNTIME: Sequence[Callable[..., object]] = (
    runtime.full_precision,
    runtime.one_hot,
    runtime.read_target,
    runtime.log_one_minus_softmax,
    runtime.nonzero,
    runtime.weighted_sum,
    runtime.weighted_mean,
    runtime.sample_weight,
    runtime.image_mask,
    runtime.pixel_mask,
    runtime.finish,
)
_TAKEN = frozenset(
    {"torch", "nn", "Tensor", "BATCH", "CLASS", "PIXEL", *(f.__name__ for f in _RUNTIME), *dir(builtins)}
)

FORMULA, SCALE = "Formula: ", "Scale: "  # begin the header lines that `load` reads
LONGEST = 60  # characters of an expression that is still written in place


@dataclass(frozen=True, slots=True)
class _Piece:
    """An expression and whether it can stand beside an operator or before a dot without parentheses."""

    text: str
    atomic: bool


@dataclass(slots=True)
class _Writer:
    """Straight-line code in the making: a statement for what is used twice or too long to stand in place."""

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
            return _Piece("y", atomic=True)
        text = _source(node, args)
        if node.args and self.uses[node] == 1 and len(text) <= LONGEST:
            return _Piece(
                text, atomic=not (node.op == "neg" or (node.op in ELEMENTWISE and ELEMENTWISE[node.op].literal))
            )
        name = f"v{len(self.lines)}" if node.args else node.op
        self.lines.append(f"{name} = {text}")
        return _Piece(name, atomic=True)


_OWN_TERMINALS: Mapping[str, str] = MappingProxyType(
    {
        "C": "scores.new_tensor(float(scores.shape[CLASS]))",
        "pi": "self.prior.to(scores).view(-1, 1)",
        "t": "self.progress.to(scores)",
    }
)


def _source(node: Node, args: tuple[_Piece, ...]) -> str:
    if node.op in FROM_LOGITS:
        return FROM_LOGITS[node.op].source.format("scores")
    if not node.args:
        return _OWN_TERMINALS[node.op]
    if node.op in ELEMENTWISE:
        return _elementwise(node, args)
    source, weight = AGGREGATES[node.op].source, _WEIGHTS[choose(node.args[0].type.axes, OPERATIONS[node.op].removes)]
    return source.format(_fitting(source, 0, args[0]), weight)


def _is_operator(op: str) -> bool:
    return op in ELEMENTWISE and ELEMENTWISE[op].literal


def _elementwise(node: Node, args: tuple[_Piece, ...]) -> str:
    operation = ELEMENTWISE[node.op]
    only_numbers = all(arg.op == CONST for arg in node.args)
    ready = [
        _Piece(f"scores.new_tensor({piece.text})", atomic=True)
        if arg.op == CONST and (only_numbers or not operation.literal)
        else piece
        for arg, piece in zip(node.args, args, strict=True)
    ]
    return operation.source.format(*(_fitting(operation.source, k, piece) for k, piece in enumerate(ready)))


def _fitting(source: str, place: int, piece: _Piece) -> str:
    """Put an argument in parentheses unless it is one word or stands inside the call's own."""
    inside = f"({{{place}}}," in source or f"({{{place}}})" in source or f", {{{place}}})" in source
    return piece.text if piece.atomic or inside else f"({piece.text})"


def statements(program: Node) -> tuple[list[str], str]:
    """Write a program as Python statements over `scores`, `y` and the weights.

    Returns:
        The statements, equal subexpressions once, and the expression of the value.
    """
    folded = fold_constants(program)
    distinct = {node for _, node in nodes(folded)}
    writer = _Writer(Counter(arg for node in distinct for arg in node.args))
    value = fold(folded, writer.write).text
    return writer.lines, f"scores.new_tensor({value})" if folded.op == CONST else value


def _used_runtime(body: str) -> str:
    """Copy the runtime functions that the body needs, with those that they need."""
    sources = {function.__name__: inspect.getsource(function) for function in _RUNTIME}
    needed: set[str] = set()
    frontier = [body]
    while frontier:
        text = frontier.pop()
        found = [name for name in sources if f"{name}(" in text or f"{name} " in text]
        frontier += [sources[name] for name in found if name not in needed]
        needed.update(found)
    return "\n\n".join(sources[name] for name in sources if name in needed)


_MODULE = '''{header}

import torch
from torch import Tensor, nn

BATCH, CLASS, PIXEL = -3, -2, -1


{runtime}

class {name}(nn.Module):
    """{formula}

    Args:
        weight: class weights (C,).
        ignore_index: class number of samples and pixels that do not count; None for none.
        reduction: "mean", "sum" or "none".{prior_doc}

    Call it with logits (B, C) or (B, C, *pixels) and class numbers (B,) or (B, *pixels), or
    probabilities of the logits' shape.
    """

    def __init__(
        self,{prior_parameter}
        weight: Tensor | None = None,
        ignore_index: int | None = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if reduction not in {reductions!r}:
            raise ValueError(f"reduction is {{reduction!r}}; it must be one of {reductions!r}")
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction{state}
{setter}
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            scores = full_precision(logits)
            scores = scores.reshape(*scores.shape[:2], -1)
{body}
        return loss{shape}
'''


def _body(program: Node, scale: float) -> str:
    lines, value = statements(program)
    axes = program.type.axes
    if Axes.CLASS in axes:
        lines.append(f"value = weighted_sum({value}, {_WEIGHTS[choose(axes, Axes.CLASS)]}, CLASS)")
        value, axes = "value", axes & ~Axes.CLASS
    factor = "" if scale == 1.0 else f" * {scale!r}"
    lines.append(f"loss = finish({value}, {_WEIGHTS[choose(axes, axes)]}, self.reduction){factor}")
    return "\n".join([*_preparation("\n".join(lines)), *lines])


def _preparation(rest: str) -> list[str]:
    lines = ["y, mask = read_target(target, scores, self.ignore_index)"]
    if "sample" in rest or "class_weight" in rest:
        lines.append("weight = None if self.weight is None else self.weight.to(scores.dtype)")
    if "sample" in rest:
        lines.append("sample = sample_weight(y, mask, weight)")
    if "class_weight" in rest:
        lines.append("class_weight = None if weight is None else weight.view(-1, 1)")
    return lines


def _state(used: frozenset[str]) -> str:
    lines = ['self.register_buffer("prior", prior)'] if "pi" in used else []
    if "t" in used:
        lines.append('self.register_buffer("progress", torch.tensor(1.0))')
    return "".join(f"\n        {line}" for line in lines)


_SETTER = '''
    def set_progress(self, progress: float) -> None:
        """Say how far training is, from 0 to 1; call it before every step. Without it the loss is that of the end."""
        self.progress.fill_(progress)
'''


def torch_source(program: Node, *, header: str, name: str = "Loss", scale: float = 1.0) -> str:
    """Write a torch module of its own for a program.

    Args:
        program: the program.
        header: what the module's docstring says before formula and scale: source, versions, licence.
        name: of the class.
        scale: factor on the loss.

    Returns:
        The text of a file that imports torch alone; equal to ProgramLoss in value and gradient.
    """
    if not name.isidentifier() or iskeyword(name) or name in _TAKEN:
        raise UsageError(f"the class name {name!r} is no Python identifier, or means something else in the file")
    used, axes = operations(program), program.type.axes
    body = _body(program, scale)
    pixels = "logits.shape[2:]" if Axes.PIXEL in axes else "()"
    per_sample = Axes.BATCH in axes
    return _MODULE.format(
        header=_docstring(f"{header}\n\n{FORMULA}{show(program)}\n{SCALE}{scale!r}"),
        runtime=_used_runtime(body + " full_precision("),
        name=name,
        formula=show(program),
        reductions=("mean", "sum", "none") if per_sample else ("mean", "sum"),
        prior_doc="\n        prior: class shares (C,)." if "pi" in used else "",
        prior_parameter="\n        prior: Tensor," if "pi" in used else "",
        state=_state(used),
        setter=_SETTER if "t" in used else "",
        body=indent(body, " " * 12),
        shape=f' if self.reduction != "none" else loss.reshape(*logits.shape[:1], *{pixels})' if per_sample else "",
    )


def _docstring(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{safe}\n"""'
