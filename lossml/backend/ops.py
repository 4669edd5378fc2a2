"""What each word of the language means on tensors, beside the source that says the same in an export."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from lossml.backend import runtime
from lossml.backend.runtime import BATCH, CLASS, PIXEL
from lossml.program.primitives import EPSILON


@dataclass(frozen=True, slots=True)
class TensorOp:
    """An element-wise operation: a function of tensors and its source, with {0} and {1} for the arguments."""

    function: Callable[..., Tensor]
    source: str


ELEMENTWISE: Mapping[str, TensorOp] = MappingProxyType(
    {
        "add": TensorOp(torch.add, "{0} + {1}"),
        "sub": TensorOp(torch.sub, "{0} - {1}"),
        "mul": TensorOp(torch.mul, "{0} * {1}"),
        "div": TensorOp(torch.div, "{0} / {1}"),
        "pow": TensorOp(lambda a, b: torch.pow(runtime.nonzero(a), b), "nonzero({0}) ** {1}"),
        "neg": TensorOp(torch.neg, "-{0}"),
        "square": TensorOp(torch.square, "{0}.square()"),
        "exp": TensorOp(torch.exp, "{0}.exp()"),
        "log": TensorOp(torch.log, "{0}.log()"),
        "sqrt": TensorOp(lambda a: torch.sqrt(runtime.nonzero(a)), "nonzero({0}).sqrt()"),
        "abs": TensorOp(torch.abs, "{0}.abs()"),
        "sin": TensorOp(torch.sin, "{0}.sin()"),
        "cos": TensorOp(torch.cos, "{0}.cos()"),
        "tanh": TensorOp(torch.tanh, "{0}.tanh()"),
        "rsqrt1p": TensorOp(lambda a: (1.0 + a.square()).rsqrt(), "(1.0 + {0}.square()).rsqrt()"),
        "logabs": TensorOp(lambda a: (a.abs() + EPSILON).log(), f"({{0}}.abs() + {EPSILON!r}).log()"),
        "max": TensorOp(torch.maximum, "torch.maximum({0}, {1})"),
        "min": TensorOp(torch.minimum, "torch.minimum({0}, {1})"),
    }
)

FROM_LOGITS: Mapping[str, TensorOp] = MappingProxyType(
    {
        "p": TensorOp(runtime.softmax, "softmax({0})"),
        "logp": TensorOp(runtime.log_softmax, "log_softmax({0})"),
        "log1mp": TensorOp(runtime.log_one_minus_softmax, "log_one_minus_softmax({0})"),
        "z": TensorOp(lambda logits: logits - logits.mean(CLASS, keepdim=True), "{0} - {0}.mean(CLASS, keepdim=True)"),
        "s": TensorOp(torch.sigmoid, "{0}.sigmoid()"),
        "logs": TensorOp(logsigmoid, "torch.nn.functional.logsigmoid({0})"),
        "log1ms": TensorOp(lambda logits: logsigmoid(-logits), "torch.nn.functional.logsigmoid(-{0})"),
    }
)
"""Terminals that are functions of the logits (..., B, C, N), of the same shape."""


def _largest(value: Tensor, _weight: Tensor | None, dim: int) -> Tensor:
    return value.amax(dim, keepdim=True)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A reduction along one axis: a function of (value, weight, dim) and its source."""

    function: Callable[[Tensor, Tensor | None, int], Tensor]
    dim: int
    source: str


_AXES = {"B": ("BATCH", BATCH), "C": ("CLASS", CLASS), "X": ("PIXEL", PIXEL)}
AGGREGATES: Mapping[str, Aggregate] = MappingProxyType(
    {
        f"{name}_{letter}": Aggregate(function, dim, f"weighted_{name}({{0}}, {{1}}, {word})")
        for name, function in (("sum", runtime.weighted_sum), ("mean", runtime.weighted_mean))
        for letter, (word, dim) in _AXES.items()
    }
    | {"max_C": Aggregate(_largest, CLASS, "{0}.amax(CLASS, keepdim=True)")}
)
