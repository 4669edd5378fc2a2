"""The worker: what it found stands, what hangs is killed, and the next job is served."""

import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe

import pytest

from lossml.algebra import worker
from lossml.algebra.shorten import candidates
from lossml.algebra.worker import Worker

TEXT = "p + p"
PARTS = list(candidates(TEXT))


def failing(text):
    yield text
    raise ValueError(text)


@pytest.fixture
def fresh():
    made = Worker()
    yield made
    made.close()


def test_a_process_serves_many_jobs(fresh):
    """The second job runs in the process of the first."""
    assert fresh.collect(candidates, TEXT, 60.0) == PARTS
    first = fresh._process.pid
    assert fresh.collect(candidates, TEXT, 60.0) == PARTS
    assert fresh._process.pid == first


def test_a_job_that_fails_keeps_what_it_found():
    """An error inside a job ends its results and nothing else."""
    ours, theirs = Pipe()
    worker._answer(theirs, failing, "x")
    assert [ours.recv(), ours.recv()] == ["x", None]


def test_nonsense_is_no_result(fresh):
    """A job that fails at once gives nothing, and the process lives on."""
    assert fresh.collect(candidates, "no program", 60.0) == []
    assert fresh._process.is_alive()


def test_a_process_killed_while_idle_is_replaced(fresh):
    """Whoever kills the process loses nobody's result."""
    fresh.collect(candidates, TEXT, 60.0)
    fresh._process.kill()
    fresh._process.join()
    assert fresh.collect(candidates, TEXT, 60.0) == PARTS


def test_a_process_killed_at_work_gives_what_it_had(fresh):
    """Death in the middle of a job is an early end, not an error."""
    fresh.collect(candidates, TEXT, 60.0)
    killer = threading.Timer(0.5, os.kill, (fresh._process.pid, signal.SIGKILL))
    killer.start()
    assert fresh.collect(candidates, "p*9^9^9^9", 60.0) in ([], ["p*9^9^9^9"])
    assert fresh.collect(candidates, TEXT, 60.0) == PARTS


def test_a_job_past_its_limit_is_killed(fresh):
    """The process is gone when its time is up."""
    fresh.collect(candidates, TEXT, 60.0)
    process, start = fresh._process, time.monotonic()
    fresh.collect(candidates, "p*9^9^9^9", 0.5)
    assert time.monotonic() - start < 1.5
    assert not process.is_alive()


def test_a_process_that_does_not_start_gives_nothing(fresh, monkeypatch):
    """A machine too busy to start a process shortens nothing, and says no more about it."""
    monkeypatch.setattr(worker, "START", 0.0)
    assert fresh.collect(candidates, TEXT, 1.0) == []
    assert fresh._process is None


def test_the_process_ends_with_its_parent(fresh):
    """When nobody can ask any more, because the other end of the pipe is gone, the process goes too."""
    fresh.collect(candidates, TEXT, 60.0)
    fresh._pipe.close()
    fresh._process.join(30.0)
    assert fresh._process.exitcode == 0


def test_a_script_without_a_guard_is_not_run_again(tmp_path):
    """Two lines in a file, without `if __name__ == "__main__":`, are enough to use what the worker does."""
    script = tmp_path / "two_lines.py"
    script.write_text('from lossml import algebra, parse\nprint(algebra.derivative(parse("p^3"), "p", 30.0))\n')
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("p_{c}") == 1
