"""Small networks: cheap enough to train hundreds of times, good enough to tell losses apart."""

import torch
from torch import Tensor, nn

from lossml.backend.weighting import IGNORED


class MLP(nn.Sequential):
    """One hidden layer; networks of this kind train batched."""

    def __init__(self, inputs: int, hidden: int, classes: int) -> None:
        """Build the layers."""
        super().__init__(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


class StridedConv(nn.Module):
    """Three strided convolutions with batch normalisation, on images (B, channels, H, W) of uint8.

    Args:
        channels: of the images.
        size: height and width of the images.
        classes: number of classes.
        widths: output channels of the convolutions.
    """

    def __init__(self, channels: int, size: int, classes: int, widths: tuple[int, ...] = (24, 48, 96)) -> None:
        """Build the layers."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *widths[:-1]), widths, strict=True):
            layers += _convolution(before, after, 2)
        side = -(-size // 2 ** len(widths))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        pixels = images.to(memory_format=torch.channels_last).float() / 127.5 - 1.0
        return self.head(self.features(pixels).flatten(1))


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
        x = images.to(memory_format=torch.channels_last).float() / 127.5 - 1.0
        seen: list[Tensor] = []
        for layer in self.down:
            x = layer(x)
            seen.append(x)
        x = self.bottom(x)
        for layer, beside in zip(self.up, reversed(seen[:-1]), strict=True):
            x = layer(torch.cat([nn.functional.interpolate(x, size=beside.shape[2:]), beside], dim=1))
        return nn.functional.interpolate(self.head(x), size=images.shape[2:], mode="bilinear", align_corners=False)


def _convolution(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU())


def flip_and_shift(images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror half of the images (B, C, H, W) and shift the batch by up to two pixels, filling with black.

    Masks (B, H, W) move with their images, filled with what is ignored; classes (B,) stay as they are.
    """
    mirror = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    down, right = torch.randint(0, 5, (2,), generator=generator).tolist()
    moved = _moved(images, mirror, (down, right), 0)
    return moved, targets if targets.dim() == 1 else _moved(targets, mirror, (down, right), IGNORED)


def _moved(pictures: Tensor, mirror: Tensor, place: tuple[int, int], fill: int) -> Tensor:
    """Mirror the chosen pictures (B, ..., H, W) and cut all of them out of a margin of two pixels at a place."""
    pictures = torch.where(mirror.view(-1, *[1] * (pictures.dim() - 1)), pictures.flip(-1), pictures)
    (down, right), (height, width) = place, pictures.shape[-2:]
    padded = nn.functional.pad(pictures, (2, 2, 2, 2), value=fill)
    return padded[..., down : down + height, right : right + width]
