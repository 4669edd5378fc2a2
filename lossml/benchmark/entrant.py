"""The losses that a benchmark compares."""

from collections.abc import Sequence
from dataclasses import dataclass

from lossml.errors import UsageError
from lossml.program import Node, show
from lossml.zoo import Foreign


@dataclass(frozen=True, slots=True)
class Entrant:
    """A loss to compare: what people call it, and its program, or a loss that is none."""

    label: str
    program: Node | Foreign


def check_entrants(entrants: Sequence[Entrant]) -> None:
    """Refuse fewer than two losses, and two of one label."""
    labels = [entrant.label for entrant in entrants]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageError(f"the losses are {', '.join(labels)}; give at least two, each once, the reference first")


def program_text(program: Node | Foreign) -> str:
    """Return the text of a program, the name of a loss that is none."""
    return show(program) if isinstance(program, Node) else program.name
