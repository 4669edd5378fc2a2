"""The engine: enumerate small programs, add them in pairs, vary the front, fit constants, shorten; again."""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from lossml.distill.combine import sums
from lossml.distill.fit import MOST, fitted
from lossml.distill.library import factors, small_programs
from lossml.distill.points import Points
from lossml.distill.pool import Candidate, Pool, terms_of
from lossml.distill.shape import Skeleton, constants, shorter_forms, skeleton
from lossml.errors import ProgramError
from lossml.evolve import vary
from lossml.program import Node, apply, nodes, replace
from lossml.program.grammar import Grammar, generate

BATCH = 256  # varied programs in a round
TRIED = 64  # programs whose constants begin to be fitted in a round
BEGUN = 2  # steps after which it is seen which are worth more
FITTED = 12  # those that are fitted to the end
OPENED = 4  # front programs that are shortened and extended in every way in a round
RANDOM, CROSSED, GRAFTED = 0.1, 0.25, 0.25  # shares of varied programs made in these ways; the rest are mutants
BEYOND = 6  # nodes by which a program tried may be longer than one that is good enough
PATIENCE = 8  # rounds without progress after which the search ends
PROGRESS = 0.97  # a disagreement has improved if it is below this share of what it was
REFINED = 3  # times that constants of another engine's programs are fitted and the best fitted on
SMALL = 4  # nodes of a program that is extended everywhere
ATTACHED = ("mul", "div", "add", "sub")


@dataclass(frozen=True, slots=True)
class Limits:
    """When a distillation ends.

    Attributes:
        tolerance: disagreement that is good enough.
        budget: programs evaluated, the evaluations of fits not counted.
        seconds: time limit, None for none; only without one is the result the same on every machine.
        most: nodes of a program that is kept.
    """

    tolerance: float = 0.01
    budget: int = 40_000
    seconds: float | None = None
    most: int = 32


class Engine:
    """One distillation: a pool, what has been done to its programs, and the rounds."""

    def __init__(self, points: Points, grammar: Grammar, limits: Limits, seed: int) -> None:
        """Begin a distillation; nothing is evaluated yet."""
        self.points = points
        self.grammar = grammar
        self.limits = limits
        self.rng = random.Random(seed)  # noqa: S311 - a search, no secret
        self.classes = points.probe.classes
        self.pool = Pool(points, limits.most, limits.budget)
        self.factors = factors(self.classes)
        self.library: list[Candidate] = []
        self.fits: set[Skeleton] = set()
        self.opened: set[Node] = set()
        self.ends = time.monotonic() + limits.seconds if limits.seconds is not None else None

    def run(self, seeds: Sequence[Node]) -> Pool:
        """Search; gives the pool.

        Args:
            seeds: programs to begin with, the target's own where it has one.
        """
        self._shorten(seeds)
        self.library = self.pool.add(small_programs(self.classes))
        self._fit(self.library)
        waited, best = 0, self._standing()
        while waited < PATIENCE and not self._spent():
            self._round()
            now = self._standing()
            waited = 0 if _progressed(best, now) else waited + 1
            best = now if waited == 0 else best
        return self.pool

    def refine(self, found: Sequence[Node]) -> Pool:
        """Shorten programs of another engine and fit their constants, without a search of our own."""
        for program in dict.fromkeys(found):
            self._shorten([program])
        for _ in range(REFINED):
            self._fit([c for row in self.pool.by_size.values() for c in row])
        return self.pool

    def _spent(self) -> bool:
        late = self.ends is not None and time.monotonic() > self.ends
        return late or self.pool.evaluated >= self.limits.budget

    def _shorten(self, seeds: Sequence[Node]) -> None:
        """Leave out what can be left out of the seeds, until nothing more can."""
        queue = self.pool.add(seeds)
        while queue and not self._spent():
            shortest = min(queue, key=lambda c: c.program.size)
            made = self.pool.add(shorter_forms(shortest.program))
            good = [c for c in made if c.apart <= max(self.limits.tolerance, shortest.apart)]
            queue = sorted(good, key=lambda c: (c.program.size, c.apart))[:1]

    def _standing(self) -> tuple[int, float]:
        """Return the size of the shortest program within tolerance, and the least disagreement."""
        front = self.pool.front()
        within = [c.program.size for c in front if c.apart <= self.limits.tolerance]
        return (within[0] if within else self.limits.most + 1), (front[-1].apart if front else 1.0)

    def _round(self) -> None:
        made = self.pool.add(self._sums())
        made += self.pool.add(self._opened())
        made += self.pool.add(islice(self._varied(), BATCH))
        self._fit(made)

    def _reach(self) -> int:
        """Return the most nodes worth trying: not many more than a program that is good enough has."""
        return min(self.limits.most, self._standing()[0] + BEYOND)

    def _parents(self) -> list[Candidate]:
        reach = self._reach()
        return [c for c in self.pool.parents() if c.program.size <= reach]

    def _sums(self) -> Iterator[Node]:
        parents = self._parents()
        others = terms_of([*self.library, *parents])
        return sums(terms_of(parents), others, self.points, self.classes, self._reach() - 2)

    def _opened(self) -> Iterator[Node]:
        """Shorten and extend, in every way, good programs to which that has not been done, the short ones first."""
        enough = self._standing()[0]
        fresh = [c.program for c in self.pool.openings(SMALL) if c.program not in self.opened][:OPENED]
        self.opened.update(fresh)
        for program in fresh:
            yield from shorter_forms(program)
            if program.size + 1 < enough:
                yield from _attached(program, self.factors)

    def _varied(self) -> Iterator[Node]:
        parents, reach = self._parents(), self._reach()
        for _ in range(2 * BATCH):
            made = generate(self.rng, self.grammar) if self.rng.random() < RANDOM else self._child(parents)
            if made is not None and made.size <= reach:
                yield made

    def _child(self, parents: Sequence[Candidate]) -> Node | None:
        mother, father = (self.rng.choice(parents).program for _ in range(2))
        chance = self.rng.random()
        if chance < CROSSED:
            return vary.crossover(self.rng, self.grammar, mother, father)
        if chance < CROSSED + GRAFTED:
            return self._grafted(mother)
        return vary.mutate(self.rng, self.grammar, mother)[1]

    def _grafted(self, mother: Node) -> Node | None:
        """Put a random part together with a random factor."""
        factor = self.rng.choice(self.factors)
        op = self.rng.choice(ATTACHED)

        def change(_path: object, node: Node) -> Node:
            args = (node, factor) if self.rng.random() < 0.7 else (factor, node)
            return apply(op, *args)

        return vary.changed(self.rng, self.grammar, mother, change)

    def _fit(self, candidates: Sequence[Candidate]) -> None:
        """Fit the constants of the most promising, each structure once, and keep the results."""
        new: dict[Skeleton, Node] = {}
        for candidate in sorted(candidates, key=self._promise):
            shape = skeleton(candidate.program)
            if shape not in self.fits and shape not in new and 0 < len(constants(candidate.program)) <= MOST:
                new[shape] = candidate.program
            if len(new) == TRIED:
                break
        self.fits.update(new)
        begun = self.pool.add(fitted(list(new.values()), self.points, BEGUN), free=True)
        best = sorted(begun, key=self._promise)[:FITTED]
        self.pool.add(fitted([c.program for c in best], self.points), free=True)

    def _promise(self, candidate: Candidate) -> tuple[float, int]:
        """Compare a candidate with the best of its size or less: below 1 it is on the front."""
        rivals = [c.apart for c in self.pool.front() if c.program.size <= candidate.program.size]
        return candidate.apart / max(min(rivals, default=1.0), 1e-12), candidate.program.size


def _attached(program: Node, parts: Sequence[Node]) -> Iterator[Node]:
    """Yield a program with each of some parts: combined at the root, and in a small one everywhere."""
    places = list(nodes(program)) if program.size <= SMALL else [((), program)]
    for (path, node), part, op in product(places, parts, ATTACHED):
        if path or op in ATTACHED[:2]:  # sums at the root are `sums`' affair
            try:
                yield replace(program, path, apply(op, node, part))
            except ProgramError:
                continue


def _progressed(before: tuple[int, float], now: tuple[int, float]) -> bool:
    return now[0] < before[0] or now[1] < PROGRESS * before[1] - 1e-9
