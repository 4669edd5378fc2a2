"""Small networks: cheap enough to train hundreds of times, good enough to tell losses apart."""

from typing import Any

import torch
from torch import Tensor, nn

ALIGNED = 8  # numbers of which rows are a multiple where a GPU's matrix units are fast
WHITENED, SMALLEST_VARIANCE = 5_000, 1e-4  # images whose patches are looked at; what keeps noise small


class MLP(nn.Sequential):
    """One hidden layer; networks of this kind train batched."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        """Build the layers."""
        super().__init__(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


class StridedConv(nn.Module):
    """Convolutions with batch normalisation, all but the last strided, on images (B, channels, H, W) of uint8.

    Args:
        channels: of the images.
        size: height and width of the images.
        classes: number of classes.
        widths: output channels of the convolutions. Powers of two are fast: on a CPU in bfloat16 the way back from 96
            to 48 channels took 1.5 times as long as that from 128 to 64, which is 1.8 times the work.
    """

    def __init__(self, channels: int, size: int, classes: int, widths: tuple[int, ...] = (16, 32, 64, 64)) -> None:
        """Build the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        self.strides = (*(2 for _ in widths[1:]), 1)
        for before, after, stride in zip((channels, *widths[:-1]), widths, self.strides, strict=True):
            layers += _convolution(before, after, stride)
        side = -(-size // 2 ** (len(widths) - 1))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.head(self.features(_pixels(_channels_last(images))).permute(0, 2, 3, 1).flatten(1))


class EncoderDecoder(nn.Module):
    """A small U-Net with batch normalisation, on images (B, channels, H, W) of uint8; logits at half the resolution.

    Args:
        channels: of the images.
        classes: number of classes.
        widths: output channels of the strided convolutions, and of the way back.
    """

    def __init__(self, channels: int, classes: int, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        """Build the layers."""
        super().__init__()
        pairs = list(zip((channels, *widths[:-1]), widths, strict=True))
        self.down = nn.ModuleList([_convolution(before, after, 2) for before, after in pairs])
        self.bottom = _convolution(widths[-1], widths[-1], 1)
        self.up = nn.ModuleList([_convolution(before + after, before, 1) for before, after in reversed(pairs[1:])])
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes, H, W)."""
        x = _pixels(_channels_last(images))
        seen: list[Tensor] = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        x = self.bottom(x)
        for layer, beside in zip(self.up, reversed(seen[:-1]), strict=True):
            x = layer(torch.cat([nn.functional.interpolate(x, size=beside.shape[2:]), beside], dim=1))
        return nn.functional.interpolate(self.head(x), size=images.shape[2:], mode="bilinear", align_corners=False)


def _channels_last(images: Tensor) -> Tensor:
    """Lay images out as convolutions read them; no copy where they lie so. Under `vmap` there is no `memory_format`."""
    return images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _pixels(images: Tensor) -> Tensor:
    """Bring images of uint8 into [-1, 1], in the precision that convolutions take."""
    device = images.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    return (images.to(kind) - 127.5).div_(127.5)  # the difference is exact in bfloat16, too


def _convolution(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


class MatrixConv(StridedConv):
    """`StridedConv` with its convolutions as matrix products, which many networks do as one batched product.

    The weights have the same names and shapes, and the same meaning: one can go on where the other stopped. On a GPU a
    convolution of many networks, one group each, is far slower than their product.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        x = _pixels(images.permute(0, 2, 3, 1))
        layers: list[Any] = list(self.features)
        for convolution, norm, stride in zip(layers[::3], layers[1::3], self.strides, strict=True):
            x = _normalised(_product(x, convolution.weight, stride), norm).relu()
        return self.head(x.flatten(1))


def _product(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve images (B, H, W, C) with weights (O, C, 3, 3), a margin of one pixel: (B, H', W', O)."""
    padded = nn.functional.pad(x, (0, 0, 1, 1, 1, 1))
    height, width = (-(-n // stride) for n in x.shape[1:3])
    rows, columns = ([slice(k, k + stride * n - stride + 1, stride) for k in range(3)] for n in (height, width))
    patches = torch.cat([padded[:, row, column] for row in rows for column in columns], dim=-1).flatten(0, 2)
    factor, spare = weight.permute(2, 3, 1, 0).flatten(0, 2), -patches.shape[1] % ALIGNED
    if spare:
        patches, factor = nn.functional.pad(patches, (0, spare)), nn.functional.pad(factor, (0, 0, 0, spare))
    return (patches @ factor).view(len(x), height, width, -1)


def _normalised(x: Tensor, norm: Any) -> Tensor:  # noqa: ANN401 - torch types the parts of a BatchNorm2d as optional
    """Normalise images (B, H, W, C) as `torch.nn.BatchNorm2d` does, its running statistics included."""
    mean, variance = norm.running_mean, norm.running_var
    if norm.training:
        count = x.shape[:3].numel()
        mean = x.sum((0, 1, 2), dtype=torch.float32) / count
        variance = torch.linalg.vector_norm(x, dim=(0, 1, 2), dtype=torch.float32).square() / count - mean.square()
        variance = variance.clamp_min(0.0)  # by rounding, of what hardly varies
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            norm.running_mean.mul_(1 - norm.momentum).add_(norm.momentum * mean)
            norm.running_var.mul_(1 - norm.momentum).add_(norm.momentum * variance * (count / (count - 1)))
    scale = norm.weight * (variance + norm.eps).rsqrt()
    return torch.addcmul((norm.bias - mean * scale).to(x.dtype), x, scale.to(x.dtype))


class PooledConv(nn.Module):
    """Three blocks of two convolutions with pooling and batch normalisation, on images (B, channels, H, W) of uint8.

    For a GPU: after networks that reach 94% on CIFAR-10 in a few seconds (Jordan 2024, arXiv:2404.00498), with their
    first layer, which decorrelates neighbouring pixels and is not trained, and convolutions that begin as identities.

    Args:
        classes: number of classes.
        whitening: filters (F, channels, 2, 2) of the first layer; see `whitening`.
        widths: output channels of the blocks.
    """

    whitening: Tensor

    def __init__(self, classes: int, whitening: Tensor, widths: tuple[int, ...] = (64, 256, 256)) -> None:
        """Build the layers."""
        super().__init__()
        self.register_buffer("whitening", whitening)
        self.bias = nn.Parameter(torch.zeros(len(whitening)))
        pairs = zip((len(whitening), *widths[:-1]), widths, strict=True)
        self.features = nn.Sequential(*(_block(before, after) for before, after in pairs))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        plain = nn.functional.conv2d(_pixels(_channels_last(images)), self.whitening, self.bias)
        x = self.features(nn.functional.gelu(plain))
        # not `amax`: compiled, its gradient looks for the rounded maximum among numbers that are not rounded
        return self.head(x.flatten(2).max(2).values)


class ResNet18(nn.Module):
    """Torchvision's ResNet-18 on small images (B, channels, H, W) of uint8.

    Its first convolution, as usual for 32 pixels, is of 3 x 3 and not strided, and no pooling follows it.

    Args:
        channels: of the images.
        classes: number of classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        """Build the layers."""
        super().__init__()
        from torchvision.models import resnet18  # noqa: PLC0415 - seconds that no other network needs

        body: Any = resnet18(num_classes=classes)
        body.conv1, body.maxpool = nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.Identity()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        return self.body(_pixels(_channels_last(images)))


def whitening(images: Tensor) -> Tensor:
    """Return filters (8 channels, channels, 2, 2) that whiten the patches of images (N, channels, H, W).

    Each principal direction of the patches, to a mean square of one, with both signs.
    """
    patches = (images[:WHITENED].float() / 127.5 - 1.0).unfold(2, 2, 1).unfold(3, 2, 1)
    flat = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
    variances, directions = torch.linalg.eigh(flat.T @ flat / len(flat))
    filters = directions.T / (variances + SMALLEST_VARIANCE).sqrt().unsqueeze(1)
    return torch.cat([filters, -filters]).view(-1, images.shape[1], 2, 2)


def _block(before: int, after: int) -> nn.Sequential:
    first, second = (nn.Conv2d(n, after, 3, padding=1, bias=False) for n in (before, after))
    for layer in (first, second):
        begin = layer.weight.data[: layer.in_channels].zero_()
        begin[:, :, 1, 1] = torch.eye(*begin.shape[:2])  # as `nn.init.dirac_`, which sets its ones one by one
    return nn.Sequential(
        first, nn.MaxPool2d(2), nn.BatchNorm2d(after), nn.GELU(), second, nn.BatchNorm2d(after), nn.GELU()
    )
