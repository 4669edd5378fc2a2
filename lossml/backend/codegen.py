"""Code generation: a program as the source of a torch module that needs torch and nothing else."""

import builtins
from keyword import iskeyword
from pathlib import Path
from textwrap import indent
from types import MappingProxyType

from lossml.backend import runtime
from lossml.backend.ops import AGGREGATES, ELEMENTWISE, FROM_LOGITS
from lossml.backend.source import FORMULA, SCALE, Dialect, docstring, functions, reduced, used, weighing
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
_RUNTIME = MappingProxyType(functions(Path(runtime.__file__)))
_TAKEN = frozenset({"torch", "nn", "Tensor", "BATCH", "CLASS", "PIXEL", *_RUNTIME, *dir(builtins)})

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
_WEIGHT = "None if self.weight is None else self.weight.to(scores.dtype)"


def _body(program: Node, scale: float) -> list[str]:
    """Write what a loss computes: for class numbers without y, where the program has such a form."""
    hard, soft = hard_form(program), exponentials(program)
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
    terminals, axes = operations(program), program.type.axes
    body = "\n".join(_body(program, scale))
    pixels = "logits.shape[2:]" if Axes.PIXEL in axes else "()"
    per_sample = Axes.BATCH in axes
    return _MODULE.format(
        header=docstring(f"{header}\n\n{FORMULA}{show(program)}\n{SCALE}{scale!r}"),
        runtime=used(_RUNTIME, body + " full_precision"),
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
