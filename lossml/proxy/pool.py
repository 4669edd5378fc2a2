"""Worker processes with a hard time limit: what crashes or hangs is killed, and its jobs are tried alone.

A worker is spawned, not forked, runs one thread on a CPU, and dies with its parent.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count as counted
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any

from lossml.errors import LossMLError

Handler = Callable[[Any], Any]
_SPAWN = multiprocessing.get_context("spawn")
UNHEARD = -1  # number of a result that nobody waits for
BEFORE = {
    "OMP_WAIT_POLICY": "passive",  # idle threads must not spin beside other workers
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # the most that glibc takes: memory that a step frees and the next asks for
    "MALLOC_TRIM_THRESHOLD_": str(2**28),  # stays with the worker, up to so many bytes
}
"""What a process reads when it starts."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A job that gave no result, and why."""

    reason: str


def _send(pipe: connection.Connection, value: object) -> None:
    """Send a copy: multiprocessing's own way holds an open file for every tensor, until there are none left."""
    pipe.send_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def _receive(pipe: connection.Connection) -> Any:  # noqa: ANN401 - what the other side sent
    return pickle.loads(pipe.recv_bytes())  # noqa: S301 - from a process that this one started


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _serve(pipe: connection.Connection, make: Callable[[Any], Handler], argument: object) -> None:
    """Work off jobs until the pipe closes; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        handle = make(argument)
    except LossMLError as error:
        _send(pipe, error)
        return
    except Exception as error:  # noqa: BLE001 - it is the parent that can say it to a person
        _send(pipe, LossMLError(f"a worker process could not start: {type(error).__name__}: {error}"))
        return
    _send(pipe, None)
    while True:
        try:
            job = _receive(pipe)
        except EOFError:
            return
        _send(pipe, answer(handle, job))


def answer(handle: Handler, job: object) -> object:
    """Do a job; `Lost` where it fails."""
    try:
        return handle(job)
    except MemoryError:
        return Lost("ran out of memory")
    except Exception as error:  # noqa: BLE001 - one bad candidate must not end the search
        message = str(error).strip() or type(error).__name__
        return Lost(f"{type(error).__name__}: {message.splitlines()[0][:200]}")


@dataclass(slots=True)
class _Worker:
    """A process, its pipe, the number of the job it works on, and until when it may."""

    process: BaseProcess
    pipe: connection.Connection
    job: int | None = None
    deadline: float = field(default=0.0)


class Pool:
    """Processes that work off jobs.

    Args:
        make: a function at module level, called once in each worker with `argument`; gives the
            function that answers a job.
        argument: picklable.
        count: how many processes, at least 1.
        time_limit: seconds a job may take; it is looked at while somebody waits, and what is done by then counts.
    """

    def __init__(self, make: Callable[[Any], Handler], argument: object, count: int, time_limit: float) -> None:
        """Start the workers; raises what `make` raises where that is a LossMLError."""
        self._make, self._argument, self.time_limit = make, argument, time_limit
        for name, value in BEFORE.items():
            os.environ.setdefault(name, value)
        self._numbers, self._waiting = counted(), deque[tuple[int, Any]]()
        self._results: dict[int, Any] = {}
        self._workers = [self._start() for _ in range(count)]
        try:
            for worker in self._workers:
                self._greet(worker)
        except BaseException:
            self.close()
            raise

    def _start(self) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs, self._make, self._argument), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _greet(self, worker: _Worker) -> None:
        try:
            problem = _receive(worker.pipe)
        except EOFError as error:
            raise LossMLError(
                "a worker process died while it started; is there enough memory? fewer --workers need less"
            ) from error
        if problem is not None:
            raise problem

    def map(self, jobs: Sequence[Any]) -> list[Any]:
        """Work off jobs, each by any worker and before those that wait; gives results in order, `Lost` for none."""
        numbered = self._numbered(jobs)
        self._waiting.extendleft(reversed(numbered))
        return self.wait([number for number, _ in numbered])

    def submit(self, jobs: Sequence[Any]) -> list[int]:
        """Give jobs to idle workers, and the rest after them when somebody waits; returns what to wait for."""
        numbered = self._numbered(jobs)
        self._waiting.extend(numbered)
        self._hand_out()
        return [number for number, _ in numbered]

    def _numbered(self, jobs: Sequence[Any]) -> list[tuple[int, Any]]:
        return [(next(self._numbers), job) for job in jobs]

    def wait(self, numbers: Sequence[int]) -> list[Any]:
        """Wait for jobs, each once; gives results in order, `Lost` for what gave none.

        What waits is not handed out once they are there: the caller may have something for `map` that goes before it.
        """
        while any(number not in self._results for number in numbers):
            self._hand_out()
            if not self._waiting and all(worker.job is None for worker in self._workers):
                raise ValueError(f"of jobs {numbers} some were never submitted, or were waited for before")
            self._collect()
        return [self._results.pop(number) for number in numbers]

    def begin(self, job: object) -> None:
        """Give every worker a job whose result nobody waits for, such as to load what later jobs need."""
        self._waiting.extend([(UNHEARD, job)] * len(self._workers))
        self._hand_out()

    def _hand_out(self) -> None:
        waiting = self._waiting
        for place, worker in enumerate(self._workers):
            if not waiting or worker.job is not None:
                continue
            try:
                _send(worker.pipe, waiting[0][1])
            except OSError:  # it died while it was idle; the new one gets the job in the next round
                self._renew(place)
                continue
            worker.job, _ = waiting.popleft()
            worker.deadline = monotonic() + self.time_limit

    def _collect(self) -> None:
        busy = [worker for worker in self._workers if worker.job is not None]
        if not busy:
            return
        patience = max(0.0, min(worker.deadline for worker in busy) - monotonic())
        connection.wait([worker.pipe for worker in busy], timeout=min(patience, 1.0))
        for place, worker in enumerate(self._workers):
            if worker.job is None:
                continue
            job = worker.job
            if worker.pipe.poll():  # asked anew, as to replace another worker takes seconds
                found = self._receive(place, worker)
            elif monotonic() > worker.deadline:
                found = Lost(f"took longer than the limit of {self.time_limit:g} s")
                self._renew(place)
            else:
                continue
            if job != UNHEARD:
                self._results[job] = found

    def _receive(self, place: int, worker: _Worker) -> object:
        try:
            result = _receive(worker.pipe)
        except (EOFError, OSError):
            self._renew(place)
            return Lost("its process died, most likely for lack of memory")
        worker.job = None
        return result

    def _renew(self, place: int) -> None:
        _end(self._workers[place])
        self._workers[place] = self._start()
        self._greet(self._workers[place])

    def keep(self, count: int) -> None:
        """End all workers but the first so many; none may be at work."""
        for worker in self._workers[count:]:
            _end(worker)
        del self._workers[count:]

    def close(self) -> None:
        """Kill all workers."""
        self.keep(0)


def _end(worker: _Worker) -> None:
    worker.process.terminate()
    worker.process.join(2.0)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.pipe.close()
