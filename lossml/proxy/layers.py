"""Layers that are those of torch on any device, and faster than torch's own on one core of a CPU.

Value and gradient are torch's but for rounding. On a GPU, or where a compiler takes the network over, they are torch's
own layers.
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

LANES = 256  # columns of a row at most
MARGIN, SIDE = 1, 3  # pixels around an image, and of a filter
LEAST = 32  # channels from which patches are worth writing out
QUIET = np.errstate(all="ignore")  # what diverges is found where it is trained


class Convolution(nn.Conv2d):
    """A convolution of 3 × 3 pixels with a margin of one and no bias.

    In bfloat16 the gradient of many small images in the weights is a matrix product of patches here; on a CPU
    it takes torch two to three times as long.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        """Build it for so many channels before and after."""
        super().__init__(before, after, SIDE, stride, MARGIN, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve images (B, before, H, W)."""
        if not (_is_ours(input) and input.dtype == torch.bfloat16 and self.in_channels >= LEAST):
            return super().forward(input)
        return _Convolved.apply(input, self.weight.to(input.dtype), self.stride[0])


class NormalisedRelu(nn.BatchNorm2d):
    """Batch normalisation (Ioffe, Szegedy 2015) and max(0, x) behind it, in one go on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise images (B, C, H, W), and keep running statistics where it trains."""
        if not _is_ours(input):
            return super().forward(input).relu_()
        known = (None, None) if self.training else (self.running_mean, self.running_var)
        y, mean, variance = _Normalised.apply(input, self.weight, self.bias, *known, self.eps)
        if self.training:
            track(self, mean, variance, input.numel() // input.shape[1])
        return y


@torch.no_grad()
def track(norm: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """Bring running statistics of a BatchNorm2d up to date with those of so many numbers a channel."""
    norm.num_batches_tracked.add_(1)
    norm.running_mean.mul_(1 - norm.momentum).add_(norm.momentum * mean)
    norm.running_var.mul_(1 - norm.momentum).add_(norm.momentum * variance * (count / (count - 1)))


def _is_ours(x: Tensor) -> bool:
    known = x.dtype in {torch.float32, torch.bfloat16}
    return known and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _one_by_one(apply: Callable[..., Any], count: int, in_dims: tuple[int | None, ...], given: tuple[Any, ...]) -> Any:
    """Apply a function to each of several networks' arguments; give tensors, and along which axis they are stacked."""
    pairs = list(zip(given, in_dims, strict=True))
    found = [apply(*(a if d is None else a.select(d, k) for a, d in pairs)) for k in range(count)]
    if isinstance(found[0], Tensor):
        return torch.stack(found), 0
    return tuple(map(torch.stack, zip(*found, strict=True))), (0,) * len(found[0])


# ------------------------------------------------------------------------- convolution


class _Convolved(torch.autograd.Function):
    """A convolution whose gradient in the weights is a matrix product."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int) -> Tensor:
        return nn.functional.conv2d(x, weight, stride=stride, padding=MARGIN)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004 - torch's own form
        *kept, ctx.stride = inputs
        ctx.save_for_backward(*kept)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor, None]:
        return _convolved_slopes(ctx, *slopes)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *given: Any) -> Any:
        return _one_by_one(_Convolved.apply, info.batch_size, in_dims, given)


@once_differentiable
def _convolved_slopes(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor, None]:
    """Give the gradient in images and weights."""
    x, weight = ctx.saved_tensors
    back = None
    if ctx.needs_input_grad[0]:
        back = conv2d_input(x.shape, weight, slope, stride=ctx.stride, padding=MARGIN)
    rows = slope.permute(0, 2, 3, 1).flatten(0, 2)
    found = (rows.T @ _patches(x, ctx.stride)).unflatten(1, (SIDE, SIDE, -1))
    return back, found.permute(0, 3, 1, 2), None


def _patches(x: Tensor, stride: int) -> Tensor:
    """Write out what each pixel of a convolution's result sees, (pixels, 3 * 3 * channels)."""
    padded = nn.functional.pad(x.permute(0, 2, 3, 1), (0, 0, MARGIN, MARGIN, MARGIN, MARGIN))
    images, height, width, channels = padded.shape
    down, right = padded.stride(1), padded.stride(2)  # a filter's rows are without gaps
    places = ((size - SIDE) // stride + 1 for size in (height, width))
    shape = (images, *places, SIDE, SIDE * channels)
    return padded.as_strided(shape, (padded.stride(0), down * stride, right * stride, down, 1)).reshape(
        -1, SIDE * SIDE * channels
    )


# ------------------------------------------------------------------------- normalisation


class _Normalised(torch.autograd.Function):
    """max(0, normalised x), with the mean and variance (C,) that it was normalised by: given ones, or those of x."""

    @staticmethod
    @QUIET
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor | None, variance: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(x)
        middle, spread = _moments(x, rows) if mean is None else (_numpy(mean), _numpy(variance))
        scale = _numpy(weight) / np.sqrt(spread + np.float32(eps))
        y = torch.empty_like(x.permute(0, 2, 3, 1), memory_format=torch.contiguous_format)
        _kernel().scaled(rows, *_wide(rows, scale, _numpy(bias) - middle * scale), _flat(y, rows))
        # copies, as what a function gives back may not be what it was given
        return y.permute(0, 3, 1, 2), torch.tensor(middle), torch.tensor(spread)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, bias, known, _, ctx.eps = inputs
        ctx.own = known is None
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, weight, bias, *output[1:])

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return *_normalised_slopes(ctx, *slopes), None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *given: Any) -> Any:
        return _one_by_one(_Normalised.apply, info.batch_size, in_dims, given)


@once_differentiable
@QUIET
def _normalised_slopes(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the gradient in images, weight and bias; a mean and variance that are the images' own change with them."""
    x, *rest = ctx.saved_tensors
    weight, bias, mean, variance = map(_numpy, rest)
    rows, steep, kernel = _rows(x), _rows(slope), _kernel()
    inverse = 1 / np.sqrt(variance + np.float32(ctx.eps))
    scale = weight * inverse
    ways = _wide(rows, scale, bias - mean * scale, mean)
    total, along = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    kernel.slopes(steep, rows, *ways, total, along)
    total, along = (part.reshape(-1, len(mean)).sum(0) for part in (total, along))
    count = x.numel() // len(mean) if ctx.own else np.inf
    level, tilt = (total / count).astype(np.float32), (along / count * inverse**2).astype(np.float32)
    found = torch.empty_like(x.permute(0, 2, 3, 1), memory_format=torch.contiguous_format)
    kernel.gradient(steep, rows, *ways, *_wide(rows, level, tilt), _flat(found, rows))
    in_weight, in_bias = (torch.from_numpy(part.astype(np.float32)) for part in (along * inverse, total))
    return found.permute(0, 3, 1, 2), in_weight, in_bias


def _numpy(x: Tensor | None) -> np.ndarray:
    """Read numbers for each channel."""
    return np.empty(0) if x is None else x.detach().numpy()


def _rows(x: Tensor) -> np.ndarray:
    """Show images as rows of channels, of as many pixels as fit in a row of `LANES`."""
    last = x.detach().permute(0, 2, 3, 1).contiguous()
    bits, width = last.view(torch.uint16) if x.dtype == torch.bfloat16 else last, x.shape[1]
    while 2 * width <= LANES and x.numel() % (2 * width) == 0:
        width *= 2
    return bits.view(-1, width).numpy()


def _flat(x: Tensor, like: np.ndarray) -> np.ndarray:
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).view(like.shape).numpy()


def _wide(rows: np.ndarray, *given: np.ndarray) -> list[np.ndarray]:
    """Repeat numbers of each channel for every pixel of a row."""
    return [np.tile(part, rows.shape[1] // len(part)) for part in given]


def _moments(x: Tensor, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and variance of each channel; summed are differences from the first pixel, which lose less."""
    channels, total, square = x.shape[1], np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    first = x.detach()[0, :, 0, 0].float().numpy()
    _kernel().sums(rows, *_wide(rows, first), total, square)
    mean, second = (part.reshape(-1, channels).sum(0) * channels / rows.size for part in (total, square))
    return (first + mean).astype(np.float32), np.maximum(second - mean**2, 0.0).astype(np.float32)


@cache
def _kernel() -> ModuleType:
    from lossml.backend import normalising  # numba takes a second to import: only those wait who train

    return normalising
