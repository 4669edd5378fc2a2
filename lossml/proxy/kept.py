"""Networks in training that stay with the worker that trained them: what others hold of one is a ticket.

Megabytes of weights and moments take longer to hand over than the few steps to the first rung. A ticket says how its
network came about, so that where the worker that has it was lost, another can train it again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4
from weakref import ReferenceType, ref

from lossml.proxy.train import Outcome, Run, Ticket, TrainingState, Weights


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer to a job that needs a network which the worker does not have."""


class Keeper:
    """What a worker keeps; a leaf."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._held: dict[str, Weights] = {}

    def keep(
        self, runs: Sequence[Run], before: Sequence[TrainingState | None], found: Sequence[Outcome], stop: int
    ) -> list[Outcome]:
        """Keep the networks of outcomes and give tickets in their place.

        Args:
            runs: what was trained.
            before: where each stood.
            found: the outcomes.
            stop: how far they were trained, in sixteenths.
        """
        return [self._ticketed(*one, stop) for one in zip(runs, before, found, strict=True)]

    def _ticketed(self, run: Run, before: TrainingState | None, outcome: Outcome, stop: int) -> Outcome:
        if not isinstance(outcome.state, Weights):
            return outcome
        earlier = before.stops if isinstance(before, Ticket) else ()
        ticket = Ticket(uuid4().hex, run, (*earlier, stop))
        self._held[ticket.number] = outcome.state
        return replace(outcome, state=ticket)

    def find(self, states: Sequence[TrainingState | None]) -> list[Weights | None] | Missing:
        """Return the networks that states stand for; `Missing` where one is not here."""
        found = [self._held.get(one.number, Missing()) if isinstance(one, Ticket) else one for one in states]
        here = [one for one in found if not isinstance(one, Missing)]
        return here if len(here) == len(found) else Missing()

    def drop(self, numbers: Iterable[str]) -> None:
        """Forget networks."""
        for number in numbers:
            self._held.pop(number, None)


class Dropped:
    """Numbers of the tickets that nobody holds any more; a leaf on the side that holds tickets.

    It looks when it is asked. Were it called as a ticket goes, an interrupt that comes just then would be lost,
    as Python ignores what is raised there.
    """

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._watched: dict[str, ReferenceType[Ticket]] = {}

    def watch(self, outcomes: Iterable[Outcome]) -> None:
        """Watch the tickets of outcomes."""
        states = [outcome.state for outcome in outcomes]
        self._watched.update({state.number: ref(state) for state in states if isinstance(state, Ticket)})

    def take(self) -> tuple[str, ...]:
        """Return those dropped since the last call."""
        found = tuple(number for number, ticket in self._watched.items() if ticket() is None)
        for number in found:
            del self._watched[number]
        return found
