"""Small networks: cheap enough to train hundreds of times, good enough to tell losses apart."""

import torch
from torch import Tensor, nn


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
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        side = -(-size // 2 ** len(widths))
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1] * side * side, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, classes)."""
        pixels = images.to(memory_format=torch.channels_last).float() / 127.5 - 1.0
        return self.head(self.features(pixels).flatten(1))


def flip_and_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images (B, C, H, W) and shift the batch by up to two pixels, filling with black."""
    mirror = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(mirror.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)
    down, right = torch.randint(0, 5, (2,), generator=generator).tolist()
    height, width = images.shape[2:]
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    return padded[:, :, down : down + height, right : right + width]
