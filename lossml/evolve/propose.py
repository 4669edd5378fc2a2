"""What a proposer sees and gives, and the random one."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from lossml.program import Node, parse, show, structure_key
from lossml.program.grammar import Grammar, generate

SEED = "seed:"  # begins the operator of a program that was given
TRIES_EACH = 20  # per proposal asked for, before fewer are given


@lru_cache(maxsize=4096)
def key_of(program: Node) -> str:
    """Return the structure key, remembered while a cohort is filled."""
    return structure_key(program)


@lru_cache(maxsize=256)
def _grown(text: str) -> Node:
    """Return a parent's tree, remembered while it is young enough to breed."""
    return parse(text)


@dataclass(frozen=True, slots=True)
class Parent:
    """A finished trial as a proposer sees it; as text, for a tree takes twenty times as much, and most never breed.

    Attributes:
        text: of the program; empty where it was only proposed, as such a one never breeds.
        number: the trial's number; larger is younger.
        scores: one per rung reached, the lowest first; higher is better. Empty for a failed trial.
        key: of the program's structure.
    """

    text: str
    number: int
    scores: tuple[float, ...]
    key: str

    @classmethod
    def of(cls, program: Node, number: int, scores: tuple[float, ...]) -> "Parent":
        """Take the key once: every cohort asks for the whole history's."""
        return cls(show(program), number, scores, key_of(program))

    @property
    def program(self) -> Node:
        """The program."""
        return _grown(self.text)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A program to try, and where it came from.

    Attributes:
        program: the program.
        operator: how it was made, "seed:NAME" for a seed.
        parents: numbers of the trials it was made from.
    """

    program: Node
    operator: str
    parents: tuple[int, ...] = ()

    @property
    def is_seed(self) -> bool:
        """Whether it was given, not made."""
        return self.operator.startswith(SEED)


class Proposer(Protocol):
    """Suggests programs; a pure function of its arguments, so that a resumed search goes the same way."""

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        """Suggest up to `count` programs, none of them in the history and no two alike in structure.

        Args:
            rng: where chance comes from.
            history: the finished trials, oldest first.
            count: how many are wanted; fewer come only where nothing new is found.
        """
        ...


def distinct(
    known: Iterable[Parent], first: Iterable[Proposal], make: Callable[[], Proposal | None], count: int
) -> list[Proposal]:
    """Collect up to `count` proposals of structures not met yet: `first` in order, then made ones."""
    met = {parent.key for parent in known}
    found: list[Proposal] = []

    def take(proposal: Proposal | None) -> None:
        if proposal is not None and len(found) < count and key_of(proposal.program) not in met:
            met.add(key_of(proposal.program))
            found.append(proposal)

    for proposal in first:
        take(proposal)
    tries = TRIES_EACH * count
    while len(found) < count and tries:
        tries -= 1
        take(make())
    return found


@dataclass(frozen=True, slots=True)
class RandomProposer:
    """Random programs: what a search has to beat.

    Attributes:
        grammar: what may be generated.
    """

    grammar: Grammar

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        """Generate `count` new programs; see `Proposer`."""
        return distinct(history, (), lambda: Proposal(generate(rng, self.grammar), "random"), count)
