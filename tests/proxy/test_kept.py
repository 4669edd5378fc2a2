"""Networks that stay with their worker: the same numbers, whatever becomes of the worker."""

import gc
import os
import signal

import psutil
import pytest
import torch

from lossml.backend import ProgramLoss, stack
from lossml.proxy import Run, TaskSpec, Trainer
from lossml.proxy.kept import Dropped, Keeper, Missing
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


@pytest.mark.slow
def test_a_network_that_is_trained_again_has_the_time_that_it_had(monkeypatch):
    """Every rung that is made up for is a job of its own, and so has a limit of its own."""
    (run, *_) = runs()
    with Trainer(TaskSpec("digits"), stack, workers=1, device="cpu") as trainer:
        (first,) = trainer.advance([run], [None], 0, 1)
        (second,) = trainer.advance([run], [first.state], 1, 2)
        kill(trainer)
        asked, given = [], trainer._pool._numbered
        monkeypatch.setattr(trainer._pool, "_numbered", lambda jobs: asked.extend(jobs) or given(jobs))
        (third,) = trainer.advance([run], [second.state], 2, 3)
    assert third.failure is None
    assert third.state.stops == (1, 2, 3)
    assert [(job.start, job.stop) for job in asked] == [(2, 3), (0, 1), (1, 2), (2, 3)]


def deadly(losses):
    """Stack losses, and die of one that is none."""
    if any(type(loss) is torch.nn.Identity for loss in losses):
        os._exit(7)
    return stack(losses)


@pytest.mark.slow
def test_a_network_that_cannot_be_trained_again_has_failed_alone():
    """Where making up for a lost worker fails, that network's failure is told, and others go on as they were."""
    good, bad, wild = runs()[0], Run(torch.nn.Identity()), Run(ProgramLoss("-y*logp"), 1e30, 0)
    with Trainer(TaskSpec("digits"), deadly, workers=1, device="cpu") as trainer:
        (first,) = trainer.advance([good], [None], 0, 1)
        tickets = [first.state, Ticket("a", bad, (1,)), Ticket("b", wild, (1,))]
        found = trainer.advance([good, bad, wild], tickets, 1, 2)
        held = trainer.evaluate(tickets, "heldout")
    with Trainer(TaskSpec("digits"), stack, workers=0, device="cpu") as trainer:
        (begun,) = trainer.advance([good], [None], 0, 1)
        (expected,) = trainer.advance([good], [begun.state], 1, 2)
    assert found[0].score.nll == expected.score.nll
    for outcomes in (found, held):
        assert outcomes[0].failure is None
        assert "died" in outcomes[1].failure
        assert "diverged" in outcomes[2].failure
    assert held[0].state is first.state


def outcome(number):
    return Outcome(Weights(*[None] * 3, {}, number), None)


def test_what_nobody_holds_is_dropped():
    """A worker forgets a network once its ticket is gone on the other side, and not before; each is told once."""
    keeper, dropped = Keeper(), Dropped()
    begun = keeper.keep(runs(), [None] * 3, [outcome(k) for k in range(3)], 1)
    tickets = [one.state for one in keeper.keep(runs(), [one.state for one in begun], begun_again(begun), 4)]
    assert [ticket.stops for ticket in tickets] == [(1, 4)] * 3
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
    assert [one.step for one in keeper.find(tickets)] == [10]
    assert keeper.find([None]) == [None]
    assert keeper.find([*tickets, Ticket(numbers[2], runs()[2], (4,))]) == Missing()


def begun_again(begun):
    return [outcome(10 + k) for k in range(len(begun))]


def test_a_failed_run_has_no_ticket():
    """Where training failed there is nothing to keep."""
    (found,) = Keeper().keep(runs()[:1], [None], [Outcome(None, None, "diverged")], 1)
    assert found.state is None
    assert found.failure == "diverged"
