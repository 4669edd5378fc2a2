"""One reusable process for what may take for ever: it is killed when its time is up.

sympy cannot be interrupted inside its own C code, so a limit that holds is another process's.
"""

import contextlib
import multiprocessing
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

MEMORY = 2 * 1024**3  # bytes the process may take
START = 60.0  # seconds the process may take to start, which is no job's fault

Job = Callable[[str], Iterator[str]]
_SPAWN = multiprocessing.get_context("spawn")


def _serve(pipe: connection.Connection) -> None:
    """Work off jobs until the pipe closes; runs in the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, hard))
    pipe.send(None)
    with contextlib.suppress(EOFError):
        while True:
            job, text, time_limit = pipe.recv()
            signal.setitimer(signal.ITIMER_REAL, time_limit + 1.0)  # ends it even where its parent is gone
            _answer(pipe, job, text)
            signal.setitimer(signal.ITIMER_REAL, 0.0)


def _answer(pipe: connection.Connection, job: Job, text: str) -> None:
    with contextlib.suppress(Exception):  # sympy may fail in any way; what was found until then stands
        for result in job(text):
            pipe.send(result)
    pipe.send(None)


@contextlib.contextmanager
def _hidden_script() -> Iterator[None]:
    """Hide the script that runs from the process that is started: it would be run there anew, a guard or not."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


class Worker:
    """A process that answers one job at a time; it starts with the first one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: connection.Connection | None = None

    def collect(self, job: Job, text: str, time_limit: float) -> list[str]:
        """Run a job and return what it yields until the limit.

        Args:
            job: a function at module level.
            text: its argument.
            time_limit: seconds, not counting the start of the process.
        """
        with self._lock:
            found: list[str] = []
            try:
                done = self._exchange(self._ready(), (job, text, time_limit), found, time_limit)
            except (EOFError, OSError):  # it died: out of memory, most likely
                done = False
            if not done:
                self.close()
            return found

    @staticmethod
    def _exchange(
        pipe: connection.Connection, request: tuple[Job, str, float], found: list[str], time_limit: float
    ) -> bool:
        deadline = monotonic() + time_limit
        pipe.send(request)
        while pipe.poll(max(0.0, deadline - monotonic())):
            result = pipe.recv()
            if result is None:
                return True
            found.append(result)
        return False

    def _ready(self) -> connection.Connection:
        if self._pipe is not None and self._process is not None and self._process.is_alive():
            return self._pipe
        self.close()
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        with _hidden_script():
            self._process.start()
        theirs.close()
        if not self._pipe.poll(START):
            raise EOFError
        self._pipe.recv()
        return self._pipe

    def close(self) -> None:
        """Kill the process, if there is one; the next job starts another."""
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None


WORKER = Worker()
