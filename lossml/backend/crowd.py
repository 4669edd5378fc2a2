"""Which losses are variants of one another: logit gradients that point almost the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossml.backend.probe import Probe, directions, make_probe
from lossml.program import Node

ALIKE = 0.99  # cosine of two logit gradients, from which two losses are kin
ALIKE_ON_MASKS = 0.999  # the same where a sample has pixels: Dice+CE has 0.998 with CE
BLOCK = 64  # losses from which a block is full: what joins then begins another, and copies none of it


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Losses, remembered by the directions of their gradients.

    Attributes:
        probe: where gradients are compared.
        blocks: directions (n, D) each, oldest first; all but the last have BLOCK rows or more. In half precision, which
            takes a quarter of the memory; their lengths are made 1 again when they are compared.
    """

    probe: Probe
    blocks: tuple[Tensor, ...]

    @classmethod
    def of(cls, programs: Sequence[Node], classes: int, pixels: int = 1) -> "Crowd":
        """Gather losses of a task's number of classes and pixels."""
        probe = make_probe(classes, pixels)
        return cls(probe, (directions(programs, probe).half(),))

    def places(self, programs: Sequence[Node]) -> Tensor:
        """Return the directions (K, D) of programs, comparable with the members'."""
        return directions(programs, self.probe)

    def plus(self, places: Tensor) -> "Crowd":
        """Return the crowd with further losses in it, given by their places (K, D)."""
        *full, last = self.blocks
        joining = places.half()
        grown = (last, joining) if len(last) >= BLOCK else (torch.cat([last, joining]),)
        return Crowd(self.probe, (*full, *grown))

    def emptied(self) -> "Crowd":
        """Return a crowd on the same probe without members."""
        return Crowd(self.probe, (self.blocks[0][:0],))

    def youngest(self, count: int) -> Tensor:
        """Return the directions (count or fewer, D) of those that joined last, in order."""
        return _exact(torch.cat(self.blocks[-(count // BLOCK + 2) :])[-count:])

    def kin(self, places: Tensor) -> list[int]:
        """Count for each of the places (K, D) the members that are kin to it."""
        least = ALIKE if self.probe.pixels == 1 else ALIKE_ON_MASKS
        found, given = torch.zeros(len(places), dtype=torch.int64), places.float()
        for block in self.blocks:  # one product with all of them would take memory that grows with the search
            found += (given @ _exact(block).T > least).sum(1)
        counts: list[int] = found.tolist()
        return counts


def _exact(kept: Tensor) -> Tensor:
    """Give directions their length back, which rounding moves by up to 2^-11; what has none stays zero."""
    return nn.functional.normalize(kept.float(), dim=1)
