"""Many searches at once: each runs the product's loop; what they want trained is trained in common batches.

A search is a coroutine on a thread of its own: it runs until it asks for training, and goes on when it has the answer.
One runs at a time and all in a fixed order, so that batches, and with them results, are the same every time. Networks
that many searches ask for at once, such as those of the first published losses, are trained once.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Thread

import torch

from lossml.backend import descent, stack
from lossml.program import Node, show
from lossml.proxy import Facts, Outcome, Run, Task, TrainingState
from lossml.proxy.train import advance
from lossml.search.cohort import Waiting

GROUP = 512  # networks in one batch: more are hardly faster, and memory is not endless
Request = tuple[Sequence[Run], Sequence[TrainingState | None], int, int]


def remember_descents() -> None:
    """Descend each program once, whichever search meets it: what comes of it follows from the program alone."""
    module, learned = sys.modules["lossml.backend.screen"], descent.learned
    known: dict[tuple[Node, int, int], torch.Tensor] = {}

    def remembered(programs: Sequence[Node], classes: int, pixels: int = 1) -> torch.Tensor:
        new = [program for program in dict.fromkeys(programs) if (program, classes, pixels) not in known]
        known.update(zip(((p, classes, pixels) for p in new), learned(new, classes, pixels), strict=True))
        found = [known[program, classes, pixels] for program in programs]
        return torch.stack(found) if found else torch.zeros(0, dtype=torch.double)

    module.learned = remembered


def facts_of(task: Task) -> Facts:
    sizes = (len(task.train), len(task.validation), len(task.heldout))
    weights = sum(parameter.numel() for parameter in task.network().parameters())
    return Facts(task.name, task.classes, task.prior, task.steps, GROUP, sizes, weights)


@dataclass(eq=False)
class Seat:
    """What a search holds for its trainer."""

    facts: Facts
    asked: SimpleQueue = field(default_factory=SimpleQueue)
    answered: SimpleQueue = field(default_factory=SimpleQueue)

    def advance(
        self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int
    ) -> list[Outcome]:
        self.asked.put((runs, states, start, stop))
        return self.answered.get()

    def begin(self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int) -> Waiting:
        return lambda: self.advance(runs, states, start, stop)

    def work(self, job: Callable[["Seat"], None]) -> None:
        torch.set_num_threads(1)  # each thread has its own number
        self.answered.get()
        try:
            job(self)
            self.asked.put(None)
        except BaseException as error:  # noqa: BLE001 - handed to the one who waits
            self.asked.put(error)

    def resume(self, answer: list[Outcome] | None) -> Request | None:
        """Let the search go on until it asks again; None at its end."""
        self.answered.put(answer)
        found = self.asked.get()
        if isinstance(found, BaseException):
            raise found
        return found


def run_together(task: Task, jobs: Sequence[Callable[[Seat], None]], say: Callable[[str], None]) -> None:
    """Run searches side by side to their ends."""
    remember_descents()
    facts = facts_of(task)
    seats = [Seat(facts) for _ in jobs]
    for seat, job in zip(seats, jobs, strict=True):
        Thread(target=seat.work, args=(job,), daemon=True).start()
    answers: dict[int, list[Outcome] | None] = dict.fromkeys(range(len(seats)))
    turn = 0
    while answers:
        requests = {k: request for k, answer in answers.items() if (request := seats[k].resume(answer)) is not None}
        answers = dict(trained(task, requests))
        turn += 1
        say(f"turn {turn}: {len(requests)} searches trained {sum(len(r[0]) for r in requests.values())} networks")


def trained(task: Task, requests: dict[int, Request]) -> dict[int, list[Outcome]]:
    """Train what searches ask for, those from one fidelity to another together."""
    answers: dict[int, list[Outcome]] = {}
    for stage in sorted({request[2:] for request in requests.values()}):
        asking = {k: request for k, request in requests.items() if request[2:] == stage}
        runs = [run for request in asking.values() for run in request[0]]
        states = [state for request in asking.values() for state in request[1]]
        outcomes = iter(_advanced(task, runs, states, *stage))
        answers |= {k: [next(outcomes) for _ in request[0]] for k, request in asking.items()}
    return answers


def _advanced(
    task: Task, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int
) -> list[Outcome]:
    """Train in batches; fresh networks of one loss and one seed are the same network."""
    places: dict[object, int] = {}
    at = [places.setdefault(_identity(*row), len(places)) for row in zip(runs, states, strict=True)]
    first = [at.index(place) for place in range(len(places))]
    found: list[Outcome] = []
    for k in range(0, len(first), GROUP):
        part = first[k : k + GROUP]
        found += advance(task, stack, [runs[i] for i in part], [states[i] for i in part], start, stop)
    return [found[place] for place in at]


def _identity(run: Run, state: TrainingState | None) -> object:
    return (show(run.loss.program), float(run.loss.scale), run.lr, run.seed, id(state) if state else None)
