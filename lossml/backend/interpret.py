"""The interpreter: one program on tensors, and the reduction of its value to a loss."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lossml.backend import runtime
from lossml.backend.ops import AGGREGATES, ELEMENTWISE, FROM_LOGITS
from lossml.backend.runtime import CLASS, at_true
from lossml.backend.weighting import Weights, choose
from lossml.errors import UsageError
from lossml.program.hard import read_at_true
from lossml.program.primitives import OPERATIONS
from lossml.program.tree import CONST, Node, fold
from lossml.program.types import Axes

Reduction = Literal["none", "mean", "sum"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a program reads.

    Attributes:
        logits: (..., B, C, N).
        y: targets of the same shape, each summing to 1 over the classes; None for a program in its hard form.
        weights: masks and class weights.
        prior: class shares (C,), or None where they are not known.
        progress: training progress in [0, 1].
        label: true classes (..., B, 1, N), for a program in its hard form.
    """

    logits: Tensor
    y: Tensor | None
    weights: Weights
    prior: Tensor | None = None
    progress: float | Tensor = 1.0
    label: Tensor | None = None


def read_terminal(name: str, inputs: Inputs) -> Tensor:
    """Return a terminal's tensor, broadcastable against the logits."""
    if name in FROM_LOGITS:
        return FROM_LOGITS[name].function(inputs.logits)
    if name == "y":
        return _given(inputs.y)
    if name == "pi":
        if inputs.prior is None:
            raise UsageError("this program reads the class prior pi; give prior=, the share of each class, shape (C,)")
        return inputs.prior.to(inputs.logits).view(1, -1, 1)
    number = inputs.logits.shape[CLASS] if name == "C" else inputs.progress
    return torch.as_tensor(number, dtype=inputs.logits.dtype, device=inputs.logits.device)


def _given(target: Tensor | None) -> Tensor:
    if target is None:
        raise UsageError("this program reads targets in a form that was not given")
    return target


def evaluate(program: Node, inputs: Inputs, known: dict[Node, Tensor] | None = None) -> Tensor:
    """Evaluate a program: its value, with length 1 along the axes it does not vary over.

    Equal subexpressions are computed once. A `known` given by the caller is filled with the value of every part.
    """
    known = {} if known is None else known

    def visit(node: Node, args: tuple[Tensor, ...]) -> Tensor:
        if node not in known:
            base = read_at_true(node)
            known[node] = _value(node, args, inputs) if base is None else at_true(visit(base, ()), _given(inputs.label))
        return known[node]

    return fold(program, visit)


def _value(node: Node, args: tuple[Tensor, ...], inputs: Inputs) -> Tensor:
    if node.op == CONST:
        return inputs.logits.new_tensor(node.value)
    if not args:
        return read_terminal(node.op, inputs)
    if node.op in ELEMENTWISE:
        return ELEMENTWISE[node.op].function(*args)
    aggregate = AGGREGATES[node.op]
    weight = inputs.weights[choose(node.args[0].type.axes, OPERATIONS[node.op].removes)]
    return aggregate.function(args[0], weight, aggregate.dim)


def reduce(value: Tensor, axes: Axes, weights: Weights, reduction: Reduction) -> Tensor:
    """Turn a program's value into a loss: sum over the classes, then over samples as asked.

    Returns:
        (...) for "mean" and "sum"; (..., B, N), or (..., B, 1) for a value without pixels, for "none".
    """
    if Axes.CLASS in axes:
        value = runtime.weighted_sum(value, weights[choose(axes, Axes.CLASS)], CLASS)
        axes &= ~Axes.CLASS
    return runtime.finish(value, weights[choose(axes, axes)], reduction)
