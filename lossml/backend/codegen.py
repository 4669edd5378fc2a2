"""Code generation: a program as the source of a torch module that needs torch and nothing else."""

import builtins
import re
from dataclasses import dataclass, replace
from keyword import iskeyword
from pathlib import Path
from textwrap import indent
from types import MappingProxyType

from lossml.backend import runtime
from lossml.backend.curve import Curve, take_out
from lossml.backend.ops import AGGREGATES, ELEMENTWISE, FROM_LOGITS
from lossml.backend.source import FORMULA, SCALE, Dialect, docstring, functions, reduced, used, weighing, written
from lossml.errors import UsageError
from lossml.program import Axes, Node, operations, show
from lossml.program.hard import exponentials, hard_form

TORCH = Dialect(
    operations=MappingProxyType({name: op.source for name, op in ELEMENTWISE.items()}),
    aggregates=MappingProxyType({name: op.source for name, op in AGGREGATES.items()}),
    terminals=MappingProxyType(
        {name: op.source for name, op in FROM_LOGITS.items()}
        | {
            "C": "scores.new_tensor(float(scores.shape[CLASS]))",
            "pi": "self.prior.to(scores).view(-1, 1)",
            "t": "self.progress.to(scores)",
        }
    ),
    number="scores.new_tensor({0})",
)
_OF_P = replace(TORCH, terminals=MappingProxyType({"p": "p"}))
_RUNTIME = MappingProxyType(functions(Path(runtime.__file__)))
_TAKEN = frozenset({"torch", "nn", "Tensor", "BATCH", "CLASS", "PIXEL", *_RUNTIME, *dir(builtins)})

_MODULE = '''{header}

{standard}import torch
{imports}from torch import Tensor, nn

BATCH, CLASS, PIXEL = -3, -2, -1


{runtime}

{definitions}
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
{setter}{entry}
    def {form}(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            scores = full_precision(logits)
            scores = scores.reshape(*scores.shape[:2], -1)
{body}
        return loss{shape}
'''
_CURVE = '''
def {name}(p: Tensor) -> tuple[Tensor, Tensor]:
    """{formula}, and its slope."""{polynomial}{lines}
    return {pair}

'''
_POLYNOMIAL = """
    if torch.compiler.is_compiling() and p.dtype == torch.float32:  # as exact, and far fewer operations
        value = (
            {0}
        )
        slope = (
            {1}
        )
        return polynomial(p, value), polynomial(p, slope)"""
_TYPING = ("from collections.abc import Callable", "from typing import Any")
_WEIGHT = "None if self.weight is None else self.weight.to(scores.dtype)"


def _forms(program: Node) -> tuple[Node | None, Node, list[Curve]]:
    """Write a program without y, where it has such a form, and with y; curves are taken out of the first."""
    hard = hard_form(program)
    without, curves = (None, []) if hard is None else take_out(hard)
    return without, exponentials(program), curves


def _curve(curve: Curve) -> str:
    """Write a function that returns a curve and its slope."""
    lines, pair = written((curve.value, curve.slope), _OF_P)
    return _CURVE.format(
        name=curve.name,
        formula=show(curve.value),
        polynomial="" if curve.polynomials is None else _POLYNOMIAL.format(*map(_numbers, curve.polynomials)),
        lines="".join(f"\n    {line}" for line in lines[1:]),
        pair=", ".join(pair),
    )


def _standard(lines: list[str]) -> str:
    """Write imports of the standard library, which stand before the others."""
    return "".join(f"{line}\n" for line in sorted(lines)) + ("\n" if lines else "")


def _numbers(numbers: tuple[float, ...]) -> str:
    return ",\n            ".join(map(repr, numbers))


def _body(hard: Node | None, soft: Node, scale: float) -> list[str]:
    """Write what a loss computes: for class numbers without y, where the program has such a form."""
    if hard is None:
        return _computed(soft, scale, "y, mask = read_target(target, scores, self.ignore_index)")
    by_label = _computed(hard, scale, "label, mask = read_label(target, scores, self.ignore_index)")
    by_share = _computed(soft, scale, "y, mask = read_soft(target, scores), None")
    inside = [[f"    {line}" for line in lines] for lines in (by_share, by_label)]
    return ["if target.is_floating_point():", *inside[0], "else:", *inside[1]]


def _computed(program: Node, scale: float, read: str) -> list[str]:
    lines = reduced(program, TORCH, "self.reduction", scale)
    sample = "label_weight(label, mask, weight)" if read.startswith("label") else "sample_weight(y, mask, weight)"
    return [read, *weighing(lines, _WEIGHT, sample), *lines]


def _state(terminals: frozenset[str]) -> str:
    lines = ['self.register_buffer("prior", prior)'] if "pi" in terminals else []
    if "t" in terminals:
        lines.append('self.register_buffer("progress", torch.tensor(1.0))')
    return "".join(f"\n        {line}" for line in lines)


_SETTER = '''
    def set_progress(self, progress: float) -> None:
        """Say how far training is, from 0 to 1; call it before every step. Without it the loss is that of the end."""
        self.progress.fill_(progress)
'''


@dataclass(frozen=True, slots=True)
class Fused:
    """Source that computes a loss in another way where it can: imports, definitions, a `forward`, standard imports.

    The torch form is then the method `unfused`, for that `forward` to fall back on.
    """

    imports: str = ""
    definitions: str = ""
    entry: str = ""
    standard: tuple[str, ...] = ()


def torch_source(
    program: Node, *, header: str, name: str = "Loss", scale: float = 1.0, fused: Fused | None = None
) -> str:
    """Write a torch module of its own for a program.

    Args:
        program: the program.
        header: what the module's docstring says before formula and scale: source, versions, licence.
        name: of the class.
        scale: factor on the loss.
        fused: another way to compute it, which the file prefers.

    Returns:
        The text of a file that imports torch alone, but for what `fused` imports; equal to ProgramLoss in value
        and gradient.
    """
    other = fused or Fused()
    if not name.isidentifier() or iskeyword(name) or name in _TAKEN or re.search(rf"\b{name}\b", other.definitions):
        raise UsageError(f"the class name {name!r} is no Python identifier, or means something else in the file")
    terminals, axes = operations(program), program.type.axes
    hard, soft, curves = _forms(program)
    body, written_curves = "\n".join(_body(hard, soft, scale)), "".join(map(_curve, curves))
    pixels = "logits.shape[2:]" if Axes.PIXEL in axes else "()"
    per_sample = Axes.BATCH in axes
    return _MODULE.format(
        header=docstring(f"{header}\n\n{FORMULA}{show(program)}\n{SCALE}{scale!r}"),
        runtime=used(_RUNTIME, f"{body} full_precision {written_curves}"),
        standard=_standard([*other.standard, *(_TYPING if curves else ())]),
        imports=other.imports,
        definitions=written_curves + other.definitions,
        entry=other.entry,
        form="unfused" if other.entry else "forward",
        name=name,
        formula=show(program),
        reductions=("mean", "sum", "none") if per_sample else ("mean", "sum"),
        prior_doc="\n        prior: class shares (C,)." if "pi" in terminals else "",
        prior_parameter="\n        prior: Tensor," if "pi" in terminals else "",
        state=_state(terminals),
        setter=_SETTER if "t" in terminals else "",
        body=indent(body, " " * 12),
        shape=f' if self.reduction != "none" else loss.reshape(*logits.shape[:1], *{pixels})' if per_sample else "",
    )
