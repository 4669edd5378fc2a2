"""Which losses are variants of one another: logit gradients that point almost the same way."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend.probe import Probe, directions, make_probe
from lossml.program import Node

ALIKE = 0.99  # cosine of two logit gradients, from which two losses are kin


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
    def of(cls, programs: Sequence[Node], classes: int) -> "Crowd":
        """Gather losses of a task's number of classes."""
        probe = make_probe(classes)
        return cls(probe, directions(programs, probe))

    def plus(self, programs: Sequence[Node]) -> "Crowd":
        """Return the crowd with further losses in it."""
        return Crowd(self.probe, torch.cat([self.members, directions(programs, self.probe)]))

    def kin(self, programs: Sequence[Node]) -> list[int]:
        """Count for each program the members that are kin to it."""
        alike = directions(programs, self.probe) @ self.members.T > ALIKE
        found: list[int] = alike.sum(1).tolist()
        return found
