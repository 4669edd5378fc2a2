"""Gathering what workers give: when a job is lost, the other networks come to the end that they would have had."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

from lossml.proxy.jobs import Advance, Evaluate, Job
from lossml.proxy.kept import Dropped, Missing
from lossml.proxy.pool import Lost
from lossml.proxy.train import Outcome, Ticket, TrainingState


class Works(Protocol):
    """Works off jobs: `Pool`, or what does it in this process."""

    def map(self, jobs: Sequence[Job], /) -> list[Any]:
        """Work off jobs before those that wait; return results in order, `Lost` for what gave none."""
        ...

    def submit(self, jobs: Sequence[Job], /) -> Any:  # noqa: ANN401 - whatever `wait` takes
        """Take jobs to be done."""
        ...

    def wait(self, submitted: Any, /) -> list[Any]:  # noqa: ANN401 - whatever `submit` gave
        """Return the results of what was submitted."""
        ...


class Gatherer:
    """Hands jobs to what works them off and gathers the outcomes; a leaf.

    Args:
        pool: works them off.
    """

    def __init__(self, pool: Works) -> None:
        """Begin with nothing."""
        self._pool, self._dropped = pool, Dropped()

    def dropped(self) -> tuple[str, ...]:
        """Return numbers of the networks that nobody holds any more, each once."""
        return self._dropped.take()

    def begin(self, jobs: Sequence[Advance | Evaluate]) -> Callable[[], list[Outcome]]:
        """Begin jobs and return what waits for their outcomes, to be called once."""
        submitted = self._pool.submit(jobs)
        return lambda: self._gathered(jobs, self._pool.wait(submitted))

    def now(self, jobs: Sequence[Advance | Evaluate]) -> list[Outcome]:
        """Do jobs before all that were begun and wait, and return their outcomes."""
        return self._gathered(jobs, self._pool.map(jobs))

    def _gathered(self, jobs: Sequence[Advance | Evaluate], results: Sequence[Any]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for job, result in zip(jobs, results, strict=True):
            outcomes += self._singly(job) if isinstance(found := self._found(job, result), Lost) else found
        self._dropped.watch(outcomes)
        return outcomes

    def _found(self, job: Advance | Evaluate, result: Any) -> list[Outcome] | Lost:  # noqa: ANN401 - what a pool gives
        """Return a job's result; where a network that it needs was lost with its worker, train that again first."""
        if not isinstance(result, Missing):
            return result
        again = [self._again(job.task, state) if isinstance(state, Ticket) else state for state in job.states]
        for one in again:
            if isinstance(one, Lost):
                return one
        (result,) = self._pool.map([replace(job, states=tuple(again))])
        return Lost("the process that had its network died twice") if isinstance(result, Missing) else result

    def _again(self, task: int, ticket: Ticket) -> TrainingState | Lost:
        """Train a network again, rung by rung, so that each has the time that it had."""
        state: TrainingState | None = None
        for start, stop in pairwise((0, *ticket.stops)):
            (result,) = self._pool.map([Advance(task, (ticket.run,), (state,), start, stop, keeps=True)])
            if isinstance(result, Lost | Missing):
                return result if isinstance(result, Lost) else Lost("the process that had its network died again")
            if (state := result[0].state) is None:
                return Lost(result[0].failure or "gave no result when it was trained again")
            self._dropped.watch(result)
        return Lost("was never trained") if state is None else state

    def _singly(self, job: Advance | Evaluate) -> list[Outcome]:
        """Try each run of a lost job alone, so that one bad candidate does not take others with it."""
        alone = _alone(job)
        results = [self._found(*pair) for pair in zip(alone, self._pool.map(alone), strict=True)]
        return [Outcome(None, None, r.reason) if isinstance(r, Lost) else r[0] for r in results]


def _alone(job: Advance | Evaluate) -> list[Advance | Evaluate]:
    if isinstance(job, Evaluate):
        return [replace(job, states=(state,)) for state in job.states]
    return [replace(job, runs=(run,), states=(state,)) for run, state in zip(job.runs, job.states, strict=True)]
