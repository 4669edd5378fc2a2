"""Training K networks with K losses side by side: one batched network, one batched loss, one optimizer step.

All parameters of all networks lie in one tensor (K, P), so that AdamW is a handful of operations
whatever the network. Training is a pure function of (task, run, step): a network's data order and
augmentation come from its seed and the step number, so that any prefix can be continued anywhere.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from lossml.backend import adamw
from lossml.proxy.augment import Drawn, FlipAndShift
from lossml.proxy.batched import Batched
from lossml.proxy.metrics import Score, score
from lossml.proxy.passes import Passes, compiled_for_one_shape, passes
from lossml.proxy.task import Split, Task

SIXTEENTHS = 16  # fidelity is counted in these
EVALUATED = 1_000  # samples in one evaluation call
PIXELS = 200_000  # pixels of masks in one
BLOCK = 32  # steps whose augmentation is drawn in one go
GROUP = 16  # networks that answer together so many; more of them take fewer samples at once

Stack = Callable[[Sequence[Any]], nn.Module]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One network to train.

    Attributes:
        loss: takes part in `stack`.
        lr: multiple of the task's learning rate.
        seed: of initial weights, data order and augmentation; equal seeds are paired.
    """

    loss: nn.Module
    lr: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A network in training: parameters, AdamW's two moments (P,), buffers, steps done."""

    parameters: Tensor
    momentum: Tensor
    variance: Tensor
    buffers: dict[str, Tensor]
    step: int

    def cpu(self) -> "Weights":
        """Return it on the CPU."""
        buffers = {name: buffer.cpu() for name, buffer in self.buffers.items()}
        return Weights(self.parameters.cpu(), self.momentum.cpu(), self.variance.cpu(), buffers, self.step)


@dataclass(frozen=True, eq=False)
class Ticket:
    """A network that stays with the worker that trained it; see `kept`.

    Attributes:
        number: of the network, unlike any other.
        run: what was trained.
        stops: how far, in sixteenths: every rung on the way, the last one included.
    """

    number: str
    run: Run
    stops: tuple[int, ...]


TrainingState = Weights | Ticket
"""Where a network stands: itself, or what stands for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of a run: a state and a score, or the reason why not.

    Attributes:
        state: where the network stands.
        score: on the validation split, or the one asked for.
        failure: why there is none.
    """

    state: TrainingState | None
    score: Score | None
    failure: str | None = None


def _mixed(*numbers: int) -> torch.Generator:
    """Make a generator from several numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 12_345) % (2**62)
    return torch.Generator().manual_seed(seed)


def initial(task: Task, seed: int) -> Weights:
    """Build a network's first state, where the task's data is; the same for every loss of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = task.network().to(task.train.targets.device)
    flat = torch.cat([p.detach().reshape(-1).float() for p in network.parameters()])
    buffers = {name: buffer.detach().clone() for name, buffer in network.named_buffers()}
    return Weights(flat, torch.zeros_like(flat), torch.zeros_like(flat), buffers, 0)


@lru_cache(maxsize=8)
def _orders(samples: int, seeds: tuple[int, ...], epoch: int, device: torch.device) -> Tensor:
    """Draw a random order of the samples for each seed, (K, N)."""
    return torch.stack([torch.randperm(samples, generator=_mixed(seed, epoch)) for seed in seeds]).to(device)


def _indices(task: Task, seeds: tuple[int, ...], step: int) -> Tensor:
    """Choose each run's samples of a step, (K, B): a fresh order each epoch, the incomplete last batch left out."""
    samples, size = len(task.train), task.batch_size
    epoch, place = divmod(step, samples // size)
    return _orders(samples, seeds, epoch, task.train.targets.device)[:, place * size : (place + 1) * size]


def _taken(rows: Tensor, index: Tensor) -> Tensor:
    """Collect rows (K, B, ...) of a tensor (N, ...), images that lie channels last in that order."""
    if rows.dim() == 4 and not rows.is_contiguous() and rows.is_contiguous(memory_format=torch.channels_last):
        return _taken(rows.permute(0, 2, 3, 1), index).permute(0, 1, 4, 2, 3)
    return rows.index_select(0, index.flatten()).unflatten(0, index.shape)


def _split(task: Task) -> tuple[Tensor, Tensor]:
    return task.train.inputs, task.train.targets


def _moved(inputs: Tensor, targets: Tensor, index: Tensor, augment: Drawn, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Collect samples and change them as drawn."""
    return augment.apply(_taken(inputs, index), _taken(targets, index), drawn)


class Batches:
    """The batches of K runs, step by step; keeps what was drawn for the block of steps that the last one was in.

    Drawn in one go, as a generator for each network and step is more work than the step where many networks are small.

    Args:
        task: whose samples they are of.
        seeds: of the runs.
        compiled: whether to collect and change samples by compiled operations.
    """

    def __init__(self, task: Task, seeds: tuple[int, ...], *, compiled: bool = False) -> None:
        """Begin with nothing drawn."""
        self._task, self._seeds = task, seeds
        self._block, self._drawn = -1, torch.empty(0)
        ours = isinstance(task.augment, FlipAndShift)  # nobody knows whether another can be compiled
        self._moved = compiled_for_one_shape(_moved) if compiled and ours else _moved

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Collect each run's inputs (K, B, ...) and targets (K, B) or masks (K, B, H, W) of a step."""
        task, index = self._task, _indices(self._task, self._seeds, step)
        if isinstance(task.augment, Drawn):
            return self._moved(*_split(task), index, task.augment, self.drawn(task.augment, step))
        inputs, targets = (_taken(part, index) for part in _split(task))
        if task.augment is None:
            return inputs, targets
        generators = [_mixed(seed, step, 1) for seed in self._seeds]
        changed = [task.augment(x, y, own) for x, y, own in zip(inputs, targets, generators, strict=True)]
        return torch.stack([x for x, _ in changed]), torch.stack([y for _, y in changed])

    def drawn(self, augment: Drawn, step: int) -> Tensor:
        """Draw how each run changes its batch of a step, (K, B, ...)."""
        block, place = divmod(step, BLOCK)
        if block != self._block:
            generators = [_mixed(seed, block, 1) for seed in self._seeds]
            found = torch.stack([augment.draw(BLOCK, self._task.batch_size, own) for own in generators])
            self._block, self._drawn = block, found.to(self._task.train.targets.device)
        return self._drawn[:, place]


class AdamW:
    """AdamW on the parameters (K, P) of K networks, a learning rate for each."""

    def __init__(
        self,
        parameters: Tensor,
        states: Sequence[Weights],
        rates: Tensor,
        weight_decay: float,
        *,
        compiled: bool = False,
    ) -> None:
        """Take the parameters to change and collect the moments; all states have done the same number of steps."""
        self.parameters = parameters
        self.momentum = torch.stack([state.momentum for state in states]).to(rates.device)
        self.variance = torch.stack([state.variance for state in states]).to(rates.device)
        self.count = states[0].step
        self.rates = rates.view(-1, 1)
        self.weight_decay = weight_decay
        self._compiled = compiled

    def step(self, gradient: Tensor, share: float) -> None:
        """Go one step down gradients (K, P), at a share of the peak learning rates."""
        self.count += 1
        update, count = adamw.step_, self.count
        if self._compiled:
            update, count = compiled_for_one_shape(update), torch.full((), float(count), device=gradient.device)
        moments = self.momentum, self.variance
        update(self.parameters.detach(), moments, gradient, count, self.rates * share, self.weight_decay)

    def state(self, k: int, buffers: dict[str, Tensor]) -> Weights:
        """Return where network k stands, on the device it trains on."""
        kept = (self.parameters.detach(), self.momentum, self.variance)
        flat, momentum, variance = (tensor[k].clone() for tensor in kept)
        own = {name: tensor[k].clone() for name, tensor in buffers.items()}
        return Weights(flat, momentum, variance, own, self.count)


def _stacked(states: Sequence[Weights], device: torch.device) -> Tensor:
    return torch.stack([state.parameters for state in states]).to(device)


def _together(states: Sequence[Weights], device: torch.device) -> dict[str, Tensor]:
    return {name: torch.stack([s.buffers[name] for s in states]).to(device) for name in states[0].buffers}


def advance(
    task: Task, stack: Stack, runs: Sequence[Run], states: Sequence[Weights | None], start: int, stop: int
) -> list[Outcome]:
    """Train K networks from one fidelity to another and score them on the validation split.

    Args:
        task: the task, its data on the device to train on.
        stack: makes one batched loss (K, B, C, *), (K, B, *) -> (K,) of K losses.
        runs: K >= 1 runs.
        states: where each stands; None for fresh ones, which start at 0.
        start: fidelity done, in sixteenths of the task's steps.
        stop: fidelity to reach, in sixteenths.

    Returns:
        One outcome each; a network whose weights are not finite has failed, and only that one.
    """
    here = [initial(task, run.seed) if state is None else state for run, state in zip(runs, states, strict=True)]
    first = task.steps * start // SIXTEENTHS
    batched, parts = _begun(task, stack, runs, here, first)
    optimizer = parts[-1]
    for step in range(first, task.steps * stop // SIXTEENTHS):
        _train_step(task, parts, step)
        if len(runs) == 1 and step % 32 == 0 and not bool(optimizer.parameters.isfinite().all()):
            break
    return _outcomes(task, batched, optimizer, parts[0].buffers)


def pace(task: Task, stack: Stack, runs: Sequence[Run], seconds: float) -> float:
    """Measure how many steps a second K fresh networks train, for so many seconds; the first step is left out.

    The time is the clock's, so that what else the machine does counts.
    """
    _, parts = _begun(task, stack, runs, [initial(task, run.seed) for run in runs], 0)
    _train_step(task, parts, 0)
    began, steps = monotonic(), 0
    while not steps or monotonic() - began < seconds:
        steps += 1
        _train_step(task, parts, steps % task.steps)
    return steps / (monotonic() - began)


Parts = tuple[Passes, nn.Module, Batches, "AdamW"]


def _begun(task: Task, stack: Stack, runs: Sequence[Run], here: Sequence[Weights], first: int) -> tuple[Batched, Parts]:
    """Set K networks up to train on from where they stand."""
    device, seeds = task.train.targets.device, tuple(run.seed for run in runs)
    batched, loss = Batched(task), stack([run.loss for run in runs]).to(device)
    start = _stacked(here, device), _together(here, device)
    both = passes(task, batched, *start, lambda: Batches(task, seeds).at(first)[0])
    rates = torch.tensor([run.lr * task.learning_rate for run in runs], device=device)
    optimizer = AdamW(both.parameters, here, rates, task.weight_decay, compiled=both.compiled)
    return batched, (both, loss, Batches(task, seeds, compiled=both.compiled), optimizer)


def _train_step(task: Task, parts: Parts, step: int) -> None:
    both, loss, batches, optimizer = parts
    progress = step / task.steps
    set_progress: Callable[[float], None] | None = getattr(loss, "set_progress", None)
    if set_progress is not None:
        set_progress(progress)
    inputs, targets = batches.at(step)
    optimizer.step(both.gradient(inputs, lambda logits: loss(logits, targets)), adamw.rate(progress))


def _outcomes(task: Task, batched: Batched, optimizer: AdamW, buffers: dict[str, Tensor]) -> list[Outcome]:
    scores = _scores(batched, optimizer.parameters.detach(), buffers, task.validation, per_sample=False)
    finite = optimizer.parameters.isfinite().all(1).tolist()
    result: list[Outcome] = []
    for k, fine in enumerate(finite):
        if not (fine and math.isfinite(scores[k].nll)):
            result.append(Outcome(None, None, f"diverged: weights are not finite after {optimizer.count} steps"))
            continue
        result.append(Outcome(optimizer.state(k, buffers), scores[k]))
    return result


@torch.inference_mode()
def _scores(
    batched: Batched, flat: Tensor, buffers: dict[str, Tensor], split: Split, *, per_sample: bool
) -> list[Score]:
    size = max(1, min(EVALUATED, PIXELS // split.targets[0].numel()) * GROUP // max(GROUP, len(flat)))
    parts = [
        batched.logits(flat, buffers, x.expand(len(flat), *x.shape), training=False).cpu()
        for x in split.inputs.split(size)
    ]
    return [score(logits, split.targets, per_sample=per_sample) for logits in torch.cat(parts, dim=1)]


def evaluate(task: Task, states: Sequence[Weights], split: str) -> list[Outcome]:
    """Score trained networks on a split, "validation" or "heldout", with what is right sample by sample."""
    device = task.train.targets.device
    scores = _scores(
        Batched(task), _stacked(states, device), _together(states, device), getattr(task, split), per_sample=True
    )
    return [Outcome(state, found) for state, found in zip(states, scores, strict=True)]
