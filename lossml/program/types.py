"""What a value ranges over and which numbers it can be."""

from dataclasses import dataclass
from enum import Flag

from lossml.program.interval import Interval


class Axes(Flag):
    """The axes along which a value varies; along all others it is broadcast.

    A logit varies along all three. Classification has a pixel axis of length one.
    """

    SCALAR = 0
    BATCH = 1
    CLASS = 2
    PIXEL = 4
    SAMPLE = BATCH | PIXEL
    ELEMENT = BATCH | CLASS | PIXEL


@dataclass(frozen=True, slots=True)
class Type:
    """The type of an expression: its axes and the interval its values lie in."""

    axes: Axes
    interval: Interval

    def __str__(self) -> str:
        """Describe the type in words for an error message."""
        names = [a.name.lower() for a in (Axes.BATCH, Axes.CLASS, Axes.PIXEL) if a in self.axes and a.name]
        return f"{' × '.join(names) or 'scalar'} in {self.interval}"
