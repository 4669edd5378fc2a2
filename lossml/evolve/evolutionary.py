"""The evolutionary proposer: seeds, then variation of what did well."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest

from lossml.evolve import vary
from lossml.evolve.propose import SEED, Parent, Proposal, distinct
from lossml.program import Node
from lossml.program.grammar import Grammar, generate


def better(one: Parent, other: Parent, tie: float) -> bool:
    """Say whether one parent did better than another.

    They are compared where both can be: on the deepest rung both reached. Scores closer than
    `tie` are equal there; then the one that survived longer wins, then the shorter program.
    """
    common = min(len(one.scores), len(other.scores))
    if not common:
        return len(one.scores) > len(other.scores)
    difference = one.scores[common - 1] - other.scores[common - 1]
    if abs(difference) > tie:
        return difference > 0
    if len(one.scores) != len(other.scores):
        return len(one.scores) > len(other.scores)
    return one.program.size < other.program.size


@dataclass(frozen=True, slots=True)
class EvolutionaryProposer:
    """Seeds first, random programs next, then children of tournament winners.

    Attributes:
        grammar: what may be generated.
        seeds: (name, program) pairs, proposed first as long as the history is shorter than they are.
        start: how many finished trials there must be before programs are varied.
        population: only so many of the youngest parents breed, and the elite: old luck retires.
        elite: how many of the best ever stay parents.
        tournament: how many parents are drawn for one to be chosen.
        immigrants: share of random programs.
        crossovers: share of children made from two parents.
        tie: scores closer than this count as equal.
    """

    grammar: Grammar
    seeds: tuple[tuple[str, Node], ...] = ()
    start: int = 24
    population: int = 64
    elite: int = 8
    tournament: int = 7
    immigrants: float = 0.08
    crossovers: float = 0.4
    tie: float = 0.003

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        """Suggest up to `count` programs; see `Proposer`."""
        pool = self._pool(history)
        breeding = len(history) >= self.start and bool(pool)
        seeds = self.seeds if len(history) < len(self.seeds) else ()
        first = [Proposal(program, SEED + name) for name, program in seeds]

        def make() -> Proposal | None:
            if not breeding or rng.random() < self.immigrants:
                return Proposal(generate(rng, self.grammar), "random")
            return self._child(rng, pool)

        return distinct(history, first, make, count)

    def _pool(self, history: Sequence[Parent]) -> list[Parent]:
        living = [parent for parent in history if parent.scores]
        best = nsmallest(self.elite, living, key=depth_then_score)
        young = living[-self.population :]
        return [*young, *(parent for parent in best if parent not in young)]

    def _select(self, rng: random.Random, pool: Sequence[Parent]) -> Parent:
        winner = rng.choice(pool)
        for _ in range(self.tournament - 1):
            rival = rng.choice(pool)
            if better(rival, winner, self.tie):
                winner = rival
        return winner

    def _child(self, rng: random.Random, pool: Sequence[Parent]) -> Proposal | None:
        mother = self._select(rng, pool)
        if rng.random() < self.crossovers:
            father = self._select(rng, pool)
            child = vary.crossover(rng, self.grammar, mother.program, father.program)
            return child and Proposal(child, "crossover", (mother.number, father.number))
        name, child = vary.mutate(rng, self.grammar, mother.program)
        return child and Proposal(child, name, (mother.number,))


def depth_then_score(parent: Parent) -> tuple[int, float, int]:
    """Return what parents with scores are sorted by, best first: rungs reached, the score there, age."""
    return -len(parent.scores), -parent.scores[-1], parent.number
