"""Changing images while training: what is random is drawn from a network's own generator, what is done is a batch."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lossml.backend.weighting import IGNORED

MARGIN = 2  # pixels that an image may move in each direction


class Augment(Protocol):
    """Changes a batch of inputs (B, ...) and its targets; draws from the generator alone."""

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator, /) -> tuple[Tensor, Tensor]:
        """Return the changed batch."""
        ...


@runtime_checkable
class Drawn(Protocol):
    """An `Augment` in two steps, for many networks in one go: draw for each, then change all their batches."""

    def draw(self, samples: int, generator: torch.Generator, /) -> Tensor:
        """Draw what is random for one batch."""
        ...

    def apply(self, inputs: Tensor, targets: Tensor, drawn: Tensor, /) -> tuple[Tensor, Tensor]:
        """Change batches (K, B, ...) with their targets as drawn (K, ...)."""
        ...


@dataclass(frozen=True, slots=True)
class FlipAndShift:
    """Mirrors half of the images (B, C, H, W) and shifts the batch by up to two pixels, filling with black.

    Masks (B, H, W) move with their images, filled with what is ignored; classes (B,) stay as they are.
    """

    def __call__(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change one batch."""
        drawn = self.draw(len(images), generator)
        moved, said = self.apply(images.unsqueeze(0), targets.unsqueeze(0), drawn.unsqueeze(0))
        return moved[0], said[0]

    def draw(self, samples: int, generator: torch.Generator) -> Tensor:
        """Draw which images are mirrored, and where the batch goes: (B + 2,), on the CPU."""
        mirror = torch.rand(samples, generator=generator) < 0.5
        return torch.cat([mirror.long(), torch.randint(0, 2 * MARGIN + 1, (2,), generator=generator)])

    def apply(self, images: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Change batches (K, B, C, H, W) with masks (K, B, H, W) or classes (K, B) as drawn (K, B + 2)."""
        moved = _moved(images, drawn, 0)
        return moved, targets if targets.dim() == 2 else _moved(targets, drawn, IGNORED)


flip_and_shift = FlipAndShift()


def _moved(pictures: Tensor, drawn: Tensor, fill: int) -> Tensor:
    """Mirror the chosen pictures (K, B, ..., H, W) and cut each batch out of a margin at its place."""
    chosen = drawn[:, :-2].bool().to(pictures.device)
    pictures = torch.where(chosen.view(*chosen.shape, *[1] * (pictures.dim() - 2)), pictures.flip(-1), pictures)
    padded = nn.functional.pad(pictures, (MARGIN,) * 4, value=fill)
    if len(padded) == 1:  # a view, where many need a copy
        down, right = drawn[0, -2:].tolist()
        return padded[..., down : down + pictures.shape[-2], right : right + pictures.shape[-1]]
    return _cut(padded, drawn[:, -2:].to(pictures.device), (pictures.shape[-2], pictures.shape[-1]))


def _cut(padded: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut pictures of a size out of (K, ..., H, W) at places (K, 2)."""
    flat = padded.flatten(1, -3)
    count, many = (torch.arange(n, device=padded.device) for n in flat.shape[:2])
    rows, columns = (places[:, k, None] + torch.arange(n, device=padded.device) for k, n in enumerate(size))
    found = flat[count.view(-1, 1, 1, 1), many.view(1, -1, 1, 1), rows[:, None, :, None], columns[:, None, None, :]]
    return found.view(*padded.shape[:-2], *size)
