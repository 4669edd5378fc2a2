"""Networks that stay with their worker: the same numbers, whatever becomes of the worker."""

import gc
import os
import signal

import psutil
import pytest

from lossml.backend import ProgramLoss, stack
from lossml.proxy import Run, TaskSpec, Trainer
from lossml.proxy.kept import Dropped, Keeper
from lossml.proxy.train import Outcome, Ticket, Weights

TEXTS = ("-y*logp", "-y*p", "(p - y)^2")


def runs():
    return [Run(ProgramLoss(text), 1.0, k) for k, text in enumerate(TEXTS)]


def trained(workers, between=lambda _: None):
    """Scores and held-out scores of three runs that train from rung to rung, one of them no further."""
    with Trainer(TaskSpec("digits"), stack, workers=workers, device="cpu") as trainer:
        first = trainer.advance(runs(), [None] * 3, 0, 1)
        between(trainer)
        second = trainer.advance(runs()[:2], [one.state for one in first[:2]], 1, 2)
        between(trainer)
        held = trainer.evaluate([one.state for one in second], "heldout")
        assert all(isinstance(one.state, Ticket if workers == 1 else Weights) for one in (*first, *second, *held))
        return [(one.score.accuracy, one.score.nll) for one in (*first, *second, *held)]


def kill(trainer):
    (worker,) = trainer._pool._workers
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.join()
    assert not psutil.pid_exists(worker.process.pid)


@pytest.mark.slow
def test_a_network_that_stays_trains_as_one_that_is_handed_over():
    """With one worker, which keeps its networks, every number is that of training in this process."""
    assert trained(1) == trained(0)


@pytest.mark.slow
def test_what_a_lost_worker_kept_is_trained_again():
    """A worker killed between two rungs and before the held-out split costs time, and no number."""
    assert trained(1, kill) == trained(0)


def outcome(number):
    return Outcome(Weights(*[None] * 3, {}, number), None)


def test_what_nobody_holds_is_dropped():
    """A worker forgets a network once its ticket is gone on the other side, and not before; each is told once."""
    keeper, dropped = Keeper(), Dropped()
    tickets = [one.state for one in keeper.keep(runs(), [outcome(k) for k in range(3)], 1)]
    dropped.watch([Outcome(ticket, None) for ticket in tickets])
    gc.collect()
    assert dropped.take() == ()
    numbers = [ticket.number for ticket in tickets]
    del tickets[1:]
    gc.collect()
    gone = dropped.take()
    assert sorted(gone) == sorted(numbers[1:])
    assert dropped.take() == ()
    keeper.drop(gone)
    asked = []
    assert keeper.find(tickets[0], lambda *given: asked.append(given)).step == 0
    assert not asked
    lost = Ticket(numbers[2], runs()[2], 4)
    keeper.find(lost, lambda *given: asked.append(given))
    assert asked == [(lost.run, 4)]


def test_a_failed_run_has_no_ticket():
    """Where training failed there is nothing to keep."""
    (found,) = Keeper().keep(runs()[:1], [Outcome(None, None, "diverged")], 1)
    assert found.state is None
    assert found.failure == "diverged"
