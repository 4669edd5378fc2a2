"""The trainer: many runs over all cores or the device, the same results however they are spread."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from statistics import median
from types import TracebackType
from typing import Any, Self, cast

import torch

from lossml.errors import UsageError
from lossml.proxy.gather import Gatherer
from lossml.proxy.jobs import Advance, Ask, Evaluate, Facts, Job, Pace, Setup, handler
from lossml.proxy.pool import Lost, Pool, answer
from lossml.proxy.tasks import TaskSpec
from lossml.proxy.train import Outcome, Run, Stack, TrainingState

TIME_LIMIT = 600.0  # seconds for one group of runs
ROUNDS, TRIED = 3, 0.2  # how often each number of workers is tried, and for how many seconds
ENOUGH = 0.95  # share of the best speed with which fewer workers are kept


class _Here:
    """Answers jobs in this process; what kills it kills the search."""

    def __init__(self, setup: Setup) -> None:
        self._handle = handler(setup)

    def map(self, jobs: Sequence[Job]) -> list[Any]:
        return [answer(self._handle, job) for job in jobs]

    def submit(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Do nothing yet: there is nobody else to do it."""
        return jobs

    def wait(self, jobs: Sequence[Job]) -> list[Any]:
        return self.map(jobs)

    def close(self) -> None:
        pass


def cores() -> int:
    """Return the number of cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def chosen_device(device: str) -> str:
    """Resolve "auto"; a UsageError for a device that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} cannot be used here; give cpu, or leave --device out") from error
    return device


def _useful(rounds: Sequence[Mapping[int, float]]) -> int:
    """Return the fewest workers that were as fast as any in every round, as one round may have met a busy moment."""
    enough = [n for n in rounds[0] if all(speeds[n] >= ENOUGH * max(speeds.values()) for speeds in rounds)]
    return min(enough, default=max(rounds[0]))


class Trainer:
    """Trains and scores runs; use it in a `with` statement.

    Args:
        spec: the task.
        stack: makes one batched loss of many; picklable.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        workers: processes; None for one per core on a CPU and one on a GPU, 0 for this process.
        time_limit: seconds that a group of runs may take from one fidelity to the next.
        others: further tasks that the same workers train; see `each`.
    """

    def __init__(
        self,
        spec: TaskSpec,
        stack: Stack,
        *,
        device: str = "auto",
        workers: int | None = None,
        time_limit: float = TIME_LIMIT,
        others: Sequence[TaskSpec] = (),
    ) -> None:
        """Start the workers and load the tasks in each."""
        self.device = chosen_device(device)
        self._automatic = workers is None and self.device == "cpu"
        self.workers = (cores() if self.device == "cpu" else 1) if workers is None else workers
        self._specs = (spec, *others)
        setup = Setup(self._specs, stack, self.device, own_process=self.workers > 0)
        self._pool = Pool(handler, setup, self.workers, time_limit) if self.workers else _Here(setup)
        self._gatherer = Gatherer(self._pool)
        self._choose(0)

    def _choose(self, task: int) -> None:
        """Take the task of that place."""
        facts = self._pool.map([Ask(task)])[0]
        if isinstance(facts, Lost):
            self._pool.close()
            name = self._specs[task].name
            raise UsageError(f"{name}: its network cannot be built ({facts.reason}); try `task.network()` alone")
        self._task, self.facts = task, cast("Facts", facts)

    def each(self) -> "list[Self]":
        """Return a trainer for every task, the first's own first; all share this one's workers and end with it."""
        found = [self, *(copy(self) for _ in self._specs[1:])]
        for task, other in enumerate(found[1:], 1):
            other._choose(task)  # noqa: SLF001 - a copy of itself
        return found

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers."""
        self._pool.close()

    def prepare(self, run: Run, together: int) -> None:
        """Let workers on a GPU compile and record what training asks for, while the first losses are chosen.

        Args:
            run: a network to train two steps of.
            together: how many networks will begin side by side, as far as the task's group goes.
        """
        if isinstance(self._pool, Pool) and self.device.startswith("cuda"):
            self._pool.begin(Pace(self._task, (run,) * min(together, self.facts.group), 0.0))

    def settle(self, run: Run) -> float:
        """Measure how many workers are of use here and end the others, where their number was left open.

        Cores that share their parts are not worth two. Results do not depend on the number of workers,
        and so may not be decided by a clock alone; what they do depend on, such as precision, is not measured.

        Args:
            run: a network to train for a moment.

        Returns:
            How many times as fast as one worker those that are kept train; 0 where nothing was measured.
        """
        if not (self._automatic and isinstance(self._pool, Pool) and self.workers > 1):
            return 0.0
        runs = (run,) * self.facts.group
        self._pool.map([Pace(self._task, runs, 0.0)] * self.workers)  # what is first used is first loaded
        counts = sorted({1, self.workers // 2, self.workers})
        rounds = [{count: self._speed(runs, count) for count in counts} for _ in range(ROUNDS)]
        if not all(speed for speeds in rounds for speed in speeds.values()):
            return 0.0
        self.workers = _useful(rounds)
        self._pool.keep(self.workers)
        return median(speeds[self.workers] / speeds[1] for speeds in rounds)

    def _speed(self, runs: tuple[Run, ...], count: int) -> float:
        """Return the steps a second of so many workers together; 0 where one of them gave none."""
        found = self._pool.map([Pace(self._task, runs, TRIED)] * count)
        return 0.0 if any(isinstance(one, Lost) for one in found) else sum(found)

    def begin(
        self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int
    ) -> Callable[[], list[Outcome]]:
        """Begin to train runs from fidelity `start` to `stop`, in sixteenths; see `train.advance`.

        Workers begin at once, or after what they were given before; without any, who waits does it.

        The groups that train together follow from the order of the runs alone, never from the
        number of workers, so that results do not depend on it.

        Returns:
            What waits for the outcomes, to be called once. Their states are for this trainer to go on with: where
            there is one worker, the networks stay.
        """
        size, keeps = self.facts.group, self.workers == 1  # of several, another may get the next job
        cuts = [slice(k, k + size) for k in range(0, len(runs), size)]
        jobs = [
            Advance(self._task, tuple(runs[cut]), tuple(states[cut]), start, stop, keeps, self._gatherer.dropped())
            for cut in cuts
        ]
        return self._gatherer.begin(jobs)

    def advance(
        self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int
    ) -> list[Outcome]:
        """Train runs from fidelity `start` to `stop`; see `begin`."""
        return self.begin(runs, states, start, stop)()

    def evaluate(self, states: Sequence[TrainingState], split: str) -> list[Outcome]:
        """Score trained networks on "validation" or "heldout", with what is right sample by sample."""
        size = self.facts.group
        found = self._gatherer.now(
            [Evaluate(self._task, tuple(states[k : k + size]), split) for k in range(0, len(states), size)]
        )
        return [replace(one, state=state) if one.score else one for one, state in zip(found, states, strict=True)]
