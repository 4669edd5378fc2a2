"""Where a trial comes from: its parents, their parents, and so on to what was given or made at random."""

from collections.abc import Sequence
from dataclasses import dataclass

from lossml.search.records import Trial


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A trial that another descends from.

    Attributes:
        trial: the ancestor.
        generation: steps of the shortest way down to the descendant; 0 for the descendant itself.
    """

    trial: Trial
    generation: int


def family(trials: Sequence[Trial], number: int) -> tuple[Ancestor, ...]:
    """Return a trial and all that it descends from, each once, generation by generation.

    Args:
        trials: of a search.
        number: of the descendant.
    """
    by_number = {trial.number: trial for trial in trials}
    found: dict[int, Ancestor] = {}
    generation, depth = [number], 0
    while generation:
        here = [by_number[k] for k in dict.fromkeys(generation) if k in by_number and k not in found]
        found |= {trial.number: Ancestor(trial, depth) for trial in sorted(here, key=lambda t: t.number)}
        generation, depth = [parent for trial in here for parent in trial.parents], depth + 1
    return tuple(found.values())
