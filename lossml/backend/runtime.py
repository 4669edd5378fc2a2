"""What every loss does around its formula: read targets, mask, weigh, aggregate, reduce.

Needs torch alone. The interpreter and the batched evaluator call these functions, and code
generation copies their source into the exported file, so that they have one meaning.

Shapes: logits are (..., B, C, N): batch, classes and pixels, N = 1 for plain classification.
Values broadcast against them, with length 1 along every axis they do not vary over.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

BATCH, CLASS, PIXEL = -3, -2, -1


def full_precision(logits: Tensor) -> Tensor:
    """Compute in float32 at least, also where the network runs in half precision."""
    return logits.float() if logits.dtype in {torch.float16, torch.bfloat16} else logits


def read_label(target: Tensor, logits: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """Turn class numbers (..., B, *pixels) into labels and a mask of what counts, both (..., B, 1, N).

    The mask is None without an ignore_index. An ignored pixel gets class 0, so that its value is
    finite; the mask removes it.
    """
    label, mask = target.reshape(*logits.shape[:CLASS], 1, logits.shape[PIXEL]).long(), None
    if ignore_index is not None:
        ignored = label == ignore_index
        label = torch.where(ignored, 0, label)
        mask = (~ignored).to(logits.dtype)
    return label, mask


def one_hot(target: Tensor, logits: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """Turn class numbers (..., B, *pixels) into y (..., B, C, N) and a mask; see `read_label`."""
    label, mask = read_label(target, logits, ignore_index)
    return torch.zeros_like(logits, requires_grad=False).scatter(CLASS, label, 1.0), mask


def at_true(value: Tensor, label: Tensor) -> Tensor:
    """Read a value (..., B, C, N), or one that broadcasts to it, at the true class, (..., B, 1, N)."""
    return value.expand(*label.shape[:CLASS], value.shape[CLASS], label.shape[PIXEL]).gather(CLASS, label)


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the classes; along the last axis, where it is several times faster, unless there are pixels."""
    if logits.shape[PIXEL] == 1:
        return logits.squeeze(PIXEL).softmax(-1).unsqueeze(PIXEL)
    return logits.softmax(CLASS)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithm of `softmax`, without underflow."""
    if logits.shape[PIXEL] == 1:
        return logits.squeeze(PIXEL).log_softmax(-1).unsqueeze(PIXEL)
    return logits.log_softmax(CLASS)


def log_one_minus_softmax(logits: Tensor) -> Tensor:
    """Return log(1 - softmax) without cancellation.

    For the largest class 1 - p is the sum of the others; all other classes have p <= 1/2.
    """
    top = logits.detach().argmax(CLASS, keepdim=True)
    is_top = torch.zeros_like(logits, dtype=torch.bool).scatter(CLASS, top, value=True)
    others = logits.masked_fill(is_top, -torch.inf).logsumexp(CLASS, keepdim=True)
    below = log_softmax(logits).masked_fill(is_top, -1.0)
    return torch.where(is_top, others - logits.logsumexp(CLASS, keepdim=True), torch.log1p(-below.exp()))


def nonzero(value: Tensor) -> Tensor:
    """Replace exact zeros by the smallest normal number.

    Where a base or radicand must be positive, zero is an underflow; its infinite slope times the
    softmax's zero would be NaN, where the true gradient is zero. A plain number stays as it is.
    """
    return torch.where(value == 0, torch.finfo(value.dtype).tiny, value) if isinstance(value, Tensor) else value


def weighted_sum(value: Tensor, weight: Tensor | None, dim: int | tuple[int, ...]) -> Tensor:
    """Sum over an axis, keeping it with length 1; weight None counts everything once."""
    return (value if weight is None else value * weight).sum(dim, keepdim=True)


def weighted_mean(value: Tensor, weight: Tensor | None, dim: int | tuple[int, ...]) -> Tensor:
    """Average over an axis, keeping it with length 1; 0 where nothing counts."""
    if weight is None:
        return value.mean(dim, keepdim=True)
    weight = weight.expand(torch.broadcast_shapes(weight.shape, value.shape))
    total = weight.sum(dim, keepdim=True)
    return (value * weight).sum(dim, keepdim=True) / torch.where(total > 0, total, 1.0)


def sample_weight(y: Tensor, mask: Tensor | None, weight: Tensor | None) -> Tensor | None:
    """Weigh each sample (..., B, 1, N) by its target's class weight; None where all count alike."""
    if weight is None:
        return mask
    by_class = weighted_sum(y * weight.view(-1, 1), None, CLASS)
    return by_class if mask is None else by_class * mask


def label_weight(label: Tensor, mask: Tensor | None, weight: Tensor | None) -> Tensor | None:
    """Weigh each sample (..., B, 1, N) by its label's class weight; `sample_weight` without y."""
    if weight is None:
        return mask
    return weight[label] if mask is None else weight[label] * mask


def read_soft(target: Tensor, scores: Tensor) -> Tensor:
    """Read probabilities to y (..., B, C, N)."""
    return target.reshape(scores.shape).to(scores.dtype)


def read_target(target: Tensor, scores: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor | None]:
    """Read probabilities, or class numbers as `one_hot` does, to y (..., B, C, N) and a mask."""
    if target.is_floating_point():
        return read_soft(target, scores), None
    return one_hot(target, scores, ignore_index)


def image_mask(mask: Tensor | None) -> Tensor | None:
    """Say which images have anything that counts, (..., B, 1, 1)."""
    return None if mask is None else mask.amax(PIXEL, keepdim=True)


def pixel_mask(mask: Tensor | None) -> Tensor | None:
    """Say which pixels count in any image, (..., 1, 1, N)."""
    return None if mask is None else mask.amax(BATCH, keepdim=True)


def finish(value: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """Reduce values that no longer vary over the classes, (..., B, 1, N) or shorter, to the loss.

    "none" gives (..., B, N) of weighted values, "mean" divides their sum by the total weight.
    """
    if value.dim() == 0:
        return value
    if reduction == "none":
        return (value if weight is None else value * weight).squeeze(CLASS)
    combine = weighted_mean if reduction == "mean" else weighted_sum
    return combine(value, weight, (BATCH, PIXEL)).reshape(value.shape[:BATCH])


def polynomial(x: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Evaluate a polynomial, lowest power first, by Horner's rule."""
    *others, last = coefficients
    value = x * last + others.pop()
    for one in reversed(others):
        value = value * x + one
    return value


def by_curve(p: Tensor, curve: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Return the value of a function of p that gives its slope as well; see `ByCurve`."""
    return ByCurve.apply(p, curve)[0]


class ByCurve(torch.autograd.Function):
    """A function of p and its slope, computed together: a gradient goes back by one product."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, curve: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Compute value and slope, on a CPU piece by piece, so that what lies between stays in the cache."""
        piece = 1 << 15
        if torch.compiler.is_compiling() or p.device.type != "cpu" or p.numel() <= piece:
            return curve(p)
        given = p.reshape(-1)
        value, slope = torch.empty_like(given), torch.empty_like(given)
        for found, steep, part in zip(value.split(piece), slope.split(piece), given.split(piece), strict=True):
            for into, one in zip((found, steep), curve(part), strict=True):
                into.copy_(one)
        return value.view(p.shape), slope.view(p.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the slope, and p for a slope that has one itself."""
        p, ctx.curve = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(p, output[1])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        """Multiply by the slope; where the gradient is to have a gradient, by one that has."""
        p, own = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            own = ctx.curve(p)[1]
        return slopes[0] * own, None
