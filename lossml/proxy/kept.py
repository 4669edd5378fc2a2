"""Networks in training that stay with the worker that trained them: what others hold of one is a ticket.

Megabytes of weights and moments take longer to hand over than the few steps to the first rung. A ticket says how its
network came about, so that a worker that does not have it, as the one that did was lost, trains it again.
"""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from uuid import uuid4

from lossml.proxy.train import Outcome, Run, Ticket, TrainingState, Weights

Again = Callable[[Run, int], Weights | None]
"""Trains a run from the start to a fidelity."""


class Keeper:
    """What a worker keeps; a leaf."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._held: dict[str, Weights] = {}

    def keep(self, runs: Sequence[Run], outcomes: Sequence[Outcome], stop: int) -> list[Outcome]:
        """Keep the networks of outcomes and give tickets in their place."""
        return [self._ticketed(*pair, stop) for pair in zip(runs, outcomes, strict=True)]

    def _ticketed(self, run: Run, outcome: Outcome, stop: int) -> Outcome:
        if not isinstance(outcome.state, Weights):
            return outcome
        ticket = Ticket(uuid4().hex, run, stop)
        self._held[ticket.number] = outcome.state
        return replace(outcome, state=ticket)

    def find(self, state: TrainingState | None, again: Again) -> Weights | None:
        """Return the network that a state stands for, trained again where it is not here."""
        if not isinstance(state, Ticket):
            return state
        found = self._held.get(state.number) or again(state.run, state.stop)
        if found is not None:
            self._held[state.number] = found
        return found

    def drop(self, numbers: Iterable[str]) -> None:
        """Forget networks."""
        for number in numbers:
            self._held.pop(number, None)


class Dropped:
    """Numbers of the tickets that nobody holds any more; a leaf on the side that holds tickets."""

    def __init__(self) -> None:
        """Nothing is dropped yet."""
        self._numbers: list[str] = []

    def watch(self, outcomes: Iterable[Outcome]) -> None:
        """Note the tickets of outcomes when they are no longer held."""
        for state in (outcome.state for outcome in outcomes):
            if isinstance(state, Ticket):
                weakref.finalize(state, self._numbers.append, state.number).atexit = False

    def take(self) -> tuple[str, ...]:
        """Return those dropped since the last call."""
        found, self._numbers[:] = tuple(self._numbers), []
        return found
