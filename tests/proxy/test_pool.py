"""Worker processes: same results for any number, and whatever dies or hangs takes only its own job with it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import torch

from lossml.backend import ProgramLoss, stack
from lossml.errors import DataError, LossMLError, UsageError
from lossml.proxy import Run, TaskSpec, Trainer
from lossml.proxy.pool import BEFORE, Lost, Pool
from lossml.proxy.trainer import _useful, chosen_device

pytestmark = pytest.mark.filterwarnings("ignore:.*leaked.*")


def refuse(argument):
    if argument == "refuse":
        raise DataError("there is no data")
    if argument == "break":
        raise ValueError("out of order")
    if argument == "die":
        os._exit(3)


def make(argument):
    refuse(argument)

    def handle(job):
        if job == "hang":
            time.sleep(60)
        if job == "die":
            os._exit(9)
        if job == "memory":
            raise MemoryError
        if isinstance(job, tuple):
            return [os.environ.get(name) for name in job]
        if isinstance(job, Path):
            return job.touch() or str(job)
        if isinstance(job, list) and isinstance(job[-1], Path):
            return job[-1].exists()
        if job == "fail":
            raise ValueError("a bad candidate\nwith details")
        return job * 2

    return handle


@pytest.fixture(scope="module")
def pool():
    made = Pool(make, "work", 2, time_limit=2.0)
    yield made
    made.close()


def test_jobs_come_back_in_order(pool):
    """More jobs than workers are worked off, each result in its place."""
    assert pool.map(list(range(7))) == [0, 2, 4, 6, 8, 10, 12]
    assert pool.map([]) == []


def test_jobs_that_were_submitted_are_done_before_anybody_waits(pool, tmp_path):
    """A worker works while the caller does something else; results are waited for in any order."""
    first, second = pool.submit([tmp_path / "done"]), pool.submit([1, 2, 3])
    until = time.monotonic() + 60
    while not (tmp_path / "done").exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert (tmp_path / "done").exists()
    assert pool.map([4]) == [8]
    assert pool.wait(second) == [2, 4, 6]
    assert pool.wait(first) == [str(tmp_path / "done")]


def test_what_is_waited_for_now_goes_before_what_was_submitted(tmp_path):
    """A held-out score is read before the next training begins, or nothing could be kept of it for so long."""
    with closing(Pool(make, "work", 1, time_limit=20.0)) as made:
        first, second = made.submit([tmp_path / "first"]), made.submit([tmp_path / "second"])
        assert made.wait(first) == [str(tmp_path / "first")]
        assert made.map([["was the second done?", tmp_path / "second"]]) == [False]
        assert made.wait(second) == [str(tmp_path / "second")]


def test_what_dies_takes_none_of_the_jobs_that_wait_with_it():
    """Submitted behind a job that kills its worker, they are done by the next one."""
    with closing(Pool(make, "work", 1, time_limit=20.0)) as made:
        dead, others = made.submit(["die"]), made.submit([1, 2])
        assert made.map([3]) == [6]
        assert made.wait(others) == [2, 4]
        assert isinstance(made.wait(dead)[0], Lost)


def test_waiting_twice_is_refused(pool):
    """Who waits for what was given already would wait for ever."""
    numbers = pool.submit([1])
    assert pool.wait(numbers) == [2]
    with pytest.raises(ValueError, match="waited for before"):
        pool.wait(numbers)


def test_workers_are_told_to_keep_memory_unless_the_user_says_otherwise(monkeypatch):
    """What a worker reads when it starts is set for it; what is set already stays."""
    for name in BEFORE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    made = Pool(make, "work", 1, time_limit=20.0)
    assert made.map([tuple(BEFORE)]) == [["passive", str(2**25), "7"]]
    made.close()


def test_tensors_sent_back_hold_no_open_files(pool):
    """Networks held between rungs are copies: a limit of 256 open files is enough for any search."""
    before = psutil.Process().num_fds()
    (found,) = pool.map([[torch.ones(3) for _ in range(400)]])
    assert len(found) == 800
    assert psutil.Process().num_fds() == before


def test_a_worker_that_died_while_idle_is_replaced():
    """Work goes on where the system killed a process between two jobs."""
    before = set(multiprocessing.active_children())
    pool = Pool(make, "work", 1, time_limit=2.0)
    assert pool.map([1]) == [2]
    (worker,) = set(multiprocessing.active_children()) - before
    worker.kill()
    worker.join()
    assert pool.map([2]) == [4]
    pool.close()


@pytest.mark.parametrize("job", [3, "fail", "die", "hang"])
def test_what_a_worker_begins_by_itself_spoils_no_result(pool, job):
    """A job that nobody waits for may end well, fail, kill its worker or hang: those that follow have their results."""
    pool.begin(job)
    assert pool.map([1, 2, 5]) == [2, 4, 10]


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("hang", "longer than the limit"),
        ("die", "process died"),
        ("memory", "out of memory"),
        ("fail", "a bad candidate"),
    ],
)
def test_a_bad_job_is_lost_alone(pool, job, reason):
    """A job that hangs, kills its process, exhausts memory or fails gives its reason; the others their results."""
    began = time.monotonic()
    results = pool.map([1, job, 2, 3])
    assert results[0] == 2
    assert results[2:] == [4, 6]
    assert isinstance(results[1], Lost)
    assert reason in results[1].reason
    assert time.monotonic() - began < 20
    assert pool.map([5]) == [10]


def test_a_worker_that_cannot_start_says_why():
    """What the worker's start raises reaches the caller; a dead one is explained."""
    with pytest.raises(DataError, match="there is no data"):
        Pool(make, "refuse", 1, time_limit=1.0)
    with pytest.raises(LossMLError, match="could not start: ValueError: out of order"):
        Pool(make, "break", 1, time_limit=1.0)
    with pytest.raises(LossMLError, match="died while it started"):
        Pool(make, "die", 1, time_limit=1.0)


def runs():
    texts = ("-y*logp", "-y*p", "(p - y)^2", "-y*(1-p)^2*logp") * 5
    return [Run(ProgramLoss(text), 1.0, k) for k, text in enumerate(texts)]


def numbers(score):
    return (
        score.accuracy,
        score.balanced_accuracy,
        score.nll,
        score.ece,
        {k: v.tolist() for k, v in score.parts.items()},
    )


def scores(workers):
    with Trainer(TaskSpec("digits"), stack, workers=workers, device="cpu") as trainer:
        outcomes = trainer.advance(runs(), [None] * 20, 0, 1)
        held = trainer.evaluate([outcome.state for outcome in outcomes], "heldout")
        assert trainer.facts.sizes == (897, 360, 540)
        return [numbers(o.score) for o in (*outcomes, *held)]


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers():
    """In this process or in two others: the same numbers to the last bit."""
    assert scores(0) == scores(2)


@pytest.mark.parametrize("workers", [0, 1])
def test_several_tasks_share_the_workers(workers):
    """Each trains, scores and describes itself as it would alone, and all end with the first."""
    specs = [TaskSpec("digits"), TaskSpec("digits", label_noise=0.4), TaskSpec("digits", train_size=100)]
    with Trainer(specs[0], stack, workers=workers, device="cpu", others=specs[1:]) as trainer:
        found = trainer.each()
        assert [one.facts.sizes[0] for one in found] == [897, 897, 100]
        shared = [one.advance(runs()[:2], [None] * 2, 0, 1) for one in found]
        held = [numbers(o.score) for o in found[2].evaluate([o.state for o in shared[2]], "heldout")]
    for spec, ours in zip(specs, shared, strict=True):
        with Trainer(spec, stack, workers=0, device="cpu") as alone:
            theirs = alone.advance(runs()[:2], [None] * 2, 0, 1)
            assert [numbers(o.score) for o in ours] == [numbers(o.score) for o in theirs]
            last = [numbers(o.score) for o in alone.evaluate([o.state for o in theirs], "heldout")]
    assert held == last
    assert numbers(shared[0][0].score) != numbers(shared[1][0].score)


class Killer:
    """A loss that kills the process that trains with it."""

    def __reduce__(self):
        return os._exit, (7,)


@pytest.mark.slow
def test_a_run_that_kills_its_worker_is_tried_alone_and_reported():
    """One deadly loss in a group costs itself only."""
    with Trainer(TaskSpec("digits"), stack, workers=1, device="cpu") as trainer:
        outcomes = trainer.advance([runs()[0], Run(Killer(), 1.0, 0), runs()[1]], [None] * 3, 0, 1)
    assert [o.failure is None for o in outcomes] == [True, False, True]
    assert "died" in outcomes[1].failure


@pytest.mark.parametrize("workers", [0, 1])
def test_a_network_that_cannot_be_built_is_refused(tmp_path, monkeypatch, workers):
    """A mistake in a user's own network gets a sentence before anything is written, whoever would train it."""
    source = (
        "import torch\nfrom lossml.proxy import Split, Task\n"
        "part = Split(torch.zeros(8, 2), torch.tensor([0, 1] * 4))\n"
        "def network():\n    raise KeyError('layers')\n"
        "TASK = Task('t', 2, part, part, part, network, steps=16, batch_size=4)\n"
    )
    (tmp_path / "badnetwork.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"network cannot be built .*KeyError"):
        Trainer(TaskSpec("badnetwork:TASK"), stack, workers=workers, device="cpu")


def test_a_device_that_is_not_there_is_refused():
    """A misspelt or absent device gets a sentence; auto always finds one."""
    assert chosen_device("auto") in {"cpu", "cuda"}
    for device in ("cuda:99", "quantum"):
        with pytest.raises(UsageError, match="cannot be used"):
            chosen_device(device)


ORPHAN = """
import sys, time
sys.path.insert(0, {root!r})
from tests.proxy.test_pool import make
from lossml.proxy.pool import Pool
if __name__ == "__main__":
    pool = Pool(make, "work", 1, 100.0)
    print(pool._workers[0].process.pid, flush=True)
    pool.map(["hang"])
"""


@pytest.mark.slow
def test_workers_die_with_their_parent(tmp_path):
    """Killed without warning, a search leaves no process behind."""
    script = tmp_path / "parent.py"
    script.write_text(ORPHAN.format(root=str(__import__("pathlib").Path(__file__).parents[2])))
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_free_number_of_workers_is_measured(monkeypatch):
    """Where one worker is as fast as several, the others are ended; where several are faster, they stay."""
    run, before = Run(ProgramLoss("-sum_C(y*logp)")), len(psutil.Process().children())
    for speeds, kept in (({1: 100.0, 2: 104.0}, 1), ({1: 100.0, 2: 190.0}, 2)):
        monkeypatch.setattr("lossml.proxy.trainer.cores", lambda: 2)
        monkeypatch.setattr(Trainer, "_speed", lambda _self, _runs, count, speeds=speeds: speeds[count])
        with Trainer(TaskSpec("digits"), stack, device="cpu") as trainer:
            assert trainer.settle(run) == speeds[kept] / 100.0
            assert (trainer.workers, len(psutil.Process().children())) == (kept, before + kept)
            assert trainer.advance([run], [None], 0, 1)[0].score is not None


def test_one_busy_moment_ends_no_worker():
    """Fewer workers are kept only where they were as fast in every round; where rounds disagree, all stay."""
    assert _useful([{1: 100.0, 2: 99.0, 4: 101.0}] * 3) == 1
    assert _useful([{1: 100.0, 2: 190.0, 4: 195.0}] * 3) == 2
    assert _useful([{1: 100.0, 2: 80.0, 4: 90.0}, {1: 100.0, 2: 190.0, 4: 300.0}]) == 4


def test_workers_are_really_timed():
    """Training for a moment gives the speed of the workers together; where a loss fails, all workers stay."""
    with Trainer(TaskSpec("digits"), stack, device="cpu", workers=2) as trainer:
        runs = (Run(ProgramLoss("-sum_C(y*logp)")),) * trainer.facts.group
        assert trainer._speed(runs, 1) > 1.0
        assert trainer._speed((Run(torch.nn.Identity()),), 2) == 0.0


def test_workers_get_ready_while_the_search_does(monkeypatch):
    """On a GPU a first training of as many networks as will begin together is under way; results are as without."""
    run = Run(ProgramLoss("-sum_C(y*logp)"))
    with Trainer(TaskSpec("digits"), stack, device="cpu", workers=1) as trainer:
        trainer.prepare(run, 3)
        assert trainer._pool._workers[0].job is None
        monkeypatch.setattr(trainer, "device", "cuda")
        trainer.prepare(run, 3)
        assert trainer._pool._workers[0].job is not None
        (ours,) = trainer.advance([run], [None], 0, 1)
    with Trainer(TaskSpec("digits"), stack, device="cpu", workers=0) as trainer:
        trainer.prepare(run, 3)
        (theirs,) = trainer.advance([run], [None], 0, 1)
    assert numbers(ours.score) == numbers(theirs.score)


def test_a_given_number_of_workers_stays():
    """What a person asked for is not measured."""
    with Trainer(TaskSpec("digits"), stack, device="cpu", workers=1) as trainer:
        assert trainer.settle(Run(ProgramLoss("-sum_C(y*logp)"))) == 0.0
        assert trainer.workers == 1
