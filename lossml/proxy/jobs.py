"""What a worker is asked, and how it answers; the trainer hands jobs out."""

from dataclasses import dataclass, replace

import torch

from lossml.proxy.kept import Keeper, Missing
from lossml.proxy.pool import Handler
from lossml.proxy.task import Split, Task
from lossml.proxy.tasks import TaskSpec, load_task
from lossml.proxy.train import Outcome, Run, Stack, TrainingState, Weights, advance, evaluate, pace


@dataclass(frozen=True, slots=True)
class Facts:
    """What a search needs to know of a task.

    Attributes:
        name: of the task.
        classes: number of classes.
        prior: share of each class in the training split.
        steps: optimizer steps of full training.
        group: networks trained as one batch.
        sizes: samples in the training, validation and held-out split.
        parameters: weights of the network.
        pixels: of a mask; 1 where a sample has one class.
        bfloat16: whether networks train in mixed precision, which a processor's or card's own instructions decide.
    """

    name: str
    classes: int
    prior: tuple[float, ...]
    steps: int
    group: int
    sizes: tuple[int, int, int]
    parameters: int
    pixels: int = 1
    bfloat16: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What a worker is made for: tasks, what stacks losses, a device, and whether the process is the worker's alone."""

    specs: tuple[TaskSpec, ...]
    stack: Stack
    device: str
    own_process: bool


@dataclass(frozen=True, slots=True, eq=False)
class Advance:
    """Train runs of a task from where they stand, from one fidelity to another.

    Attributes:
        task: its place among the worker's.
        runs: which.
        states: where each stands.
        start: fidelity done, in sixteenths.
        stop: fidelity to reach.
        keeps: whether the networks stay with the worker.
        dropped: numbers of networks to forget first.
    """

    task: int
    runs: tuple[Run, ...]
    states: tuple[TrainingState | None, ...]
    start: int
    stop: int
    keeps: bool = False
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Evaluate:
    """Score networks of a task on a split."""

    task: int
    states: tuple[TrainingState, ...]
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class Pace:
    """Say how many steps a second runs of a task train, for so many seconds."""

    task: int
    runs: tuple[Run, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Say the facts of a task."""

    task: int


Job = Advance | Evaluate | Pace | Ask


def on_device(task: Task, device: str) -> Task:
    """Bring a task's data to a device, as one tensor each."""
    parts = {
        name: Split(split.inputs.to(device), split.targets.to(device))
        for name in ("train", "validation", "heldout")
        if (split := getattr(task, name))
    }
    return replace(task, **parts)


def _facts(task: Task) -> Facts:
    sizes = (len(task.train), len(task.validation), len(task.heldout))
    weights = sum(parameter.numel() for parameter in task.network().parameters())
    return Facts(
        task.name, task.classes, task.prior, task.steps, task.group, sizes, weights, task.pixels, task.bfloat16
    )


def handler(setup: Setup) -> Handler:
    """Load the tasks and return what answers jobs; runs in each worker."""
    if setup.own_process and setup.device == "cpu":
        torch.set_num_threads(1)
    if setup.device.startswith("cuda:"):
        torch.cuda.set_device(setup.device)  # what is recorded is recorded on the current device
    tasks = [on_device(load_task(spec, setup.device), setup.device) for spec in setup.specs]
    keeper = Keeper()

    def handle(job: Job) -> object:
        task = tasks[job.task]
        if isinstance(job, Advance):
            return _advanced(setup, keeper, task, job)
        if isinstance(job, Evaluate):
            return _evaluated(keeper, task, job)
        if isinstance(job, Pace):
            return pace(task, setup.stack, job.runs, job.seconds)
        return _facts(task)

    return handle


def _advanced(setup: Setup, keeper: Keeper, task: Task, job: Advance) -> list[Outcome] | Missing:
    keeper.drop(job.dropped)
    states = keeper.find(job.states)
    if isinstance(states, Missing):
        return states
    found = advance(task, setup.stack, job.runs, states, job.start, job.stop)
    if job.keeps:
        return keeper.keep(job.runs, job.states, found, job.stop)
    return [_on_cpu(one) for one in found] if setup.own_process else found


def _evaluated(keeper: Keeper, task: Task, job: Evaluate) -> list[Outcome] | Missing:
    """Score networks; who asks has their states."""
    states = keeper.find(job.states)
    if isinstance(states, Missing):
        return states
    found = evaluate(task, [state for state in states if state is not None], job.split)
    return [replace(one, state=None) for one in found]


def _on_cpu(outcome: Outcome) -> Outcome:
    state = outcome.state
    return replace(outcome, state=state.cpu()) if isinstance(state, Weights) else outcome
