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

    def draw(self, batches: int, samples: int, generator: torch.Generator, /) -> Tensor:
        """Draw what is random for so many batches of so many samples, (batches, samples, ...)."""
        ...

    def apply(self, inputs: Tensor, targets: Tensor, drawn: Tensor, /) -> tuple[Tensor, Tensor]:
        """Change batches (K, B, ...) with their targets as drawn (K, ...)."""
        ...


@dataclass(frozen=True, slots=True)
class FlipAndShift:
    """Mirrors half of the images (B, C, H, W) and shifts them by up to two pixels, filling with black.

    Masks (B, H, W) move with their images, filled with what is ignored; classes (B,) stay as they are.

    Attributes:
        apart: whether each image is shifted by itself, which costs a copy, and not the batch as a whole.
    """

    apart: bool = False

    def __call__(self, images: Tensor, targets: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Change one batch."""
        drawn = self.draw(1, len(images), generator)
        moved, said = self.apply(images.unsqueeze(0), targets.unsqueeze(0), drawn)
        return moved[0], said[0]

    def draw(self, batches: int, samples: int, generator: torch.Generator) -> Tensor:
        """Draw whether each image is mirrored, and how far down and right it goes: (batches, B, 3), on the CPU."""
        mirror = torch.rand(batches, samples, 1, generator=generator) < 0.5
        places = torch.randint(0, 2 * MARGIN + 1, (batches, samples if self.apart else 1, 2), generator=generator)
        return torch.cat([mirror.long(), places.expand(batches, samples, 2)], dim=2)

    def apply(self, images: Tensor, targets: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Change batches (K, B, C, H, W) with masks (K, B, H, W) or classes (K, B) as drawn (K, B, 3)."""
        moved = self._moved(images, drawn, 0)
        return moved, targets if targets.dim() == 2 else self._moved(targets, drawn, IGNORED)

    def _moved(self, pictures: Tensor, drawn: Tensor, fill: int) -> Tensor:
        """Mirror the chosen pictures (K, B, ..., H, W) and cut each out of a margin at its place."""
        here = drawn.to(pictures.device, non_blocking=True)
        mirror = here[..., 0].bool().view(*here.shape[:2], *[1] * (pictures.dim() - 2))
        mirrored = _mirrored(pictures, mirror)
        height, width = pictures.shape[-2:]
        if len(mirrored) > 1 or self.apart or mirrored.is_cuda:  # to read a place would be to wait for a GPU
            padded = nn.functional.pad(mirrored, (MARGIN,) * 4, value=fill)
            return _cut(padded, here[..., 1:], (height, width))
        down, right = drawn[0, 0, 1:].tolist()  # one place for all: a view, of images that keep their layout
        padded = nn.functional.pad(mirrored[0], (MARGIN,) * 4, value=fill)
        return padded[..., down : down + height, right : right + width].unsqueeze(0)


flip_and_shift = FlipAndShift()


def _mirrored(pictures: Tensor, mirror: Tensor) -> Tensor:
    """Mirror the chosen pictures; bytes bit by bit, as a CPU would choose between them one at a time."""
    if pictures.dtype != torch.uint8:
        return torch.where(mirror, pictures.flip(-1), pictures)
    return pictures ^ (pictures ^ pictures.flip(-1)) & -mirror.to(torch.uint8)


def _cut(padded: Tensor, places: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut pictures of a size out of (K, B, ..., H, W) at places (K, B, 2)."""
    flat = padded.flatten(0, 1).flatten(1, -3) if padded.dim() > 4 else padded.flatten(0, 1).unsqueeze(1)
    first, second = (torch.arange(n, device=padded.device) for n in flat.shape[:2])
    rows, columns = (places[..., k].reshape(-1, 1) + torch.arange(n, device=padded.device) for k, n in enumerate(size))
    found = flat[first.view(-1, 1, 1, 1), second.view(1, -1, 1, 1), rows[:, None, :, None], columns[:, None, None, :]]
    return found.view(*padded.shape[:-2], *size)
