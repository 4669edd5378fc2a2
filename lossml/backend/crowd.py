"""Which losses are variants of one another: logit gradients that point almost the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend.probe import Probe, directions, make_probe
from lossml.program import Node

ALIKE = 0.99  # cosine of two logit gradients, from which two losses are kin
ALIKE_ON_MASKS = 0.999  # the same where a sample has pixels: Dice+CE has 0.998 with CE


@dataclass(frozen=True, slots=True, eq=False)
class Crowd:
    """Losses, remembered by the directions of their gradients.

    Attributes:
        probe: where gradients are compared.
        members: directions (n, D).
    """

    probe: Probe
    members: Tensor

    @classmethod
    def of(cls, programs: Sequence[Node], classes: int, pixels: int = 1) -> "Crowd":
        """Gather losses of a task's number of classes and pixels."""
        probe = make_probe(classes, pixels)
        return cls(probe, directions(programs, probe))

    def places(self, programs: Sequence[Node]) -> Tensor:
        """Return the directions (K, D) of programs, comparable with `members`."""
        return directions(programs, self.probe)

    def plus(self, places: Tensor) -> "Crowd":
        """Return the crowd with further losses in it, given by their places (K, D)."""
        return Crowd(self.probe, torch.cat([self.members, places]))

    def emptied(self) -> "Crowd":
        """Return a crowd on the same probe without members."""
        return Crowd(self.probe, self.members[:0])

    def kin(self, places: Tensor) -> list[int]:
        """Count for each of the places (K, D) the members that are kin to it."""
        least = ALIKE if self.probe.pixels == 1 else ALIKE_ON_MASKS
        found: list[int] = (places @ self.members.T > least).sum(1).tolist()
        return found
