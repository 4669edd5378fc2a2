"""What a distillation has found: the best programs of every size, and the front of size against disagreement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from lossml.distill.combine import Terms
from lossml.distill.points import Points, disagreement, judge
from lossml.distill.shape import negated, reads_prediction, tidied
from lossml.errors import ProgramError
from lossml.program import Node

KEPT = 8  # programs of each size
OPENINGS = 3  # small programs of each size
SAME = 1e-9  # disagreements closer than this, at one size, are taken for one loss
CHUNK = 256  # programs evaluated in one call: measured fastest


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A program and how far it is from the target.

    Attributes:
        program: turned so that it pulls the way the target does.
        apart: its disagreement at the search's points, in [0, 1].
        row: its weighted gradient of length 1.
        size: the length it had.
    """

    program: Node
    apart: float
    row: Tensor
    size: float


class Pool:
    """The programs met so far; the few best of each size stay."""

    def __init__(self, points: Points, most: int, budget: int) -> None:
        """Begin with nothing.

        Args:
            points: where programs are compared.
            most: nodes of a program that stays.
            budget: programs that are evaluated.
        """
        self.budget = budget
        self.points = points
        self.most = most
        self.evaluated = 0
        self.by_size: dict[int, list[Candidate]] = {}
        self.met: set[Node] = set()

    def add(self, programs: Iterable[Node], *, free: bool = False) -> list[Candidate]:
        """Judge programs not met before, keep the best; gives all that have a gradient.

        Args:
            programs: as many are judged as the budget allows.
            free: they are all judged and do not count: fitted forms of programs that did.
        """
        usable = (p for p in dict.fromkeys(map(tidied, programs)) if p not in self.met and reads_prediction(p))
        new = list(usable if free else islice(usable, self.budget - self.evaluated))
        self.evaluated += 0 if free else len(new)
        self.met.update(new)
        found: list[Candidate] = []
        for start in range(0, len(new), CHUNK):
            found += self._judged(new[start : start + CHUNK])
        for candidate in found:
            self._keep(candidate)
        return found

    def _judged(self, programs: Sequence[Node]) -> list[Candidate]:
        judged = judge(programs, self.points)
        signs = torch.where(judged.cosines < 0, -1.0, 1.0)
        rows = judged.rows * signs.unsqueeze(1)
        apart, sizes = disagreement(rows, self.points).tolist(), judged.sizes.tolist()
        found: list[Candidate] = []
        for k, program in enumerate(programs):
            turned = program if signs[k] > 0 else _turned(program)
            if sizes[k] > 0 and turned is not None:
                found.append(Candidate(turned, apart[k], rows[k].clone(), sizes[k]))
        return found

    def _keep(self, candidate: Candidate) -> None:
        size = candidate.program.size
        if size > self.most:
            return
        row = self.by_size.setdefault(size, [])
        if any(abs(candidate.apart - other.apart) < SAME for other in row):
            return
        row.append(candidate)
        row.sort(key=lambda c: c.apart)
        del row[KEPT:]

    def front(self) -> list[Candidate]:
        """Return the candidates that no shorter one equals, from short to long."""
        found: list[Candidate] = []
        for size in sorted(self.by_size):
            best = self.by_size[size][0]
            if not found or best.apart < 0.999 * found[-1].apart - SAME:
                found.append(best)
        return found

    def openings(self, small: int) -> list[Candidate]:
        """Return the front, and of the programs of up to `small` nodes several of each size."""
        few = [c for size in sorted(self.by_size) if size <= small for c in self.by_size[size][:OPENINGS]]
        return [*few, *(c for c in self.front() if c.program.size > small)]

    def parents(self) -> list[Candidate]:
        """Return the candidates worth varying: for every size those better than all that are shorter."""
        found: list[Candidate] = []
        bar = 1.0
        for size in sorted(self.by_size):
            found += [candidate for candidate in self.by_size[size] if candidate.apart < 1.2 * bar]
            bar = min(bar, self.by_size[size][0].apart)
        return found


def _turned(program: Node) -> Node | None:
    try:
        return negated(program)
    except ProgramError:  # one node too many
        return None


def terms_of(candidates: Sequence[Candidate]) -> Terms:
    """Stack candidates for `sums`."""
    rows = torch.stack([c.row for c in candidates]) if candidates else torch.zeros(0, 0)
    sizes = torch.tensor([c.size for c in candidates], dtype=torch.float64)
    return Terms([c.program for c in candidates], rows, sizes)
