"""Descending a program for a moment: linear classifiers on made-up clusters that overlap, many at once.

What fails here fails in a network too, and for the same reasons: the loss points elsewhere, gains
more from the answers that are right already than from the wrong ones and gives classes up, or
overflows as the network grows confident. The clusters overlap because on separable ones even a
loss that gives classes up looks well for a hundred steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from lossml.backend import adamw, runtime
from lossml.backend.batch import Schedule, run, schedule
from lossml.backend.interpret import Inputs
from lossml.backend.machine import Machine, make_machine
from lossml.backend.probe import CHUNK, CROSS_ENTROPY, gradient_scale
from lossml.backend.weighting import weights_of
from lossml.program import Node

FEATURES = 8  # at ten classes; more classes need more room
SPREAD = 1.2  # of a cluster, where the centres have spread 1
PIXELS = 8  # of a sample at most: more make the same classifier slower to descend
BATCHES = 8  # each met about a dozen times
STEPS = 100
LEARNING_RATE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Made-up data of C overlapping classes.

    Attributes:
        inputs: (batches, B, N, features + 1), the last feature 1.
        target: class numbers (batches, B, N).
        classes: C.
    """

    inputs: Tensor
    target: Tensor
    classes: int


@lru_cache(maxsize=16)
def make_clusters(classes: int, pixels: int) -> Clusters:
    """Make the clusters for a number of classes and pixels; the same everywhere, for ever."""
    generator = torch.Generator().manual_seed(20240419)
    features = max(FEATURES, round(FEATURES * torch.tensor(float(classes)).log10().item()))
    batch = max(8, min(32, 4096 // classes))
    target = torch.randint(0, classes, (BATCHES, batch, pixels), generator=generator)
    centres = torch.randn(classes, features, generator=generator)
    inputs = centres[target] + SPREAD * torch.randn(*target.shape, features, generator=generator)
    return Clusters(torch.cat([inputs, torch.ones(*target.shape, 1)], dim=3), target, classes)


def _logits(weights: Tensor, inputs: Tensor) -> Tensor:
    """Give logits (K, B, C, N) of weights (K, F, C) on inputs (B, N, F)."""
    return torch.einsum("bnf,kfc->kbcn", inputs, weights)


Slope = Callable[[Tensor, Tensor, float], Tensor]
"""Gives programs' gradients on logits (K, B, C, N) and classes (B, N) at a moment of training."""


def _slope_of(programs: Sequence[Node], pixels: int) -> Slope:
    """Prepare programs to be differentiated many times: on the machine where it serves, else on tensors."""
    machine = make_machine(programs) if pixels == 1 else None
    return partial(_on_tensors, schedule(programs)) if machine is None else partial(_on_machine, machine)


def _on_machine(machine: Machine, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    target = target.squeeze(1).expand(len(logits), -1)
    return machine.run(logits.squeeze(3), target, _even(logits), progress)[1].unsqueeze(3)


def _on_tensors(plan: Schedule, logits: Tensor, target: Tensor, progress: float) -> Tensor:
    leaf = logits.requires_grad_()
    y, _ = runtime.one_hot(target.expand(len(leaf), *target.shape), leaf, None)
    losses = run(plan, Inputs(leaf, y, weights_of(y, None, None), _even(leaf), progress))
    if not losses.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True, materialize_grads=True)
    return found


def _even(logits: Tensor) -> Tensor:
    """Return the class shares of the clusters, whose labels are drawn evenly."""
    return torch.full((logits.shape[2],), 1.0 / logits.shape[2])


def _gradient(slope: Slope, weights: Tensor, batch: tuple[Tensor, Tensor], progress: float) -> Tensor:
    """Take the gradient (K, F, C) of each program's mean loss on inputs (B, N, F) and targets (B, N)."""
    inputs, target = batch
    return torch.einsum("bnf,kbcn->kfc", inputs, slope(_logits(weights, inputs), target, progress))


def _descend(programs: Sequence[Node], data: Clusters) -> Tensor:
    """Train a linear classifier with each program, gradients scaled as in a search; return the weights (K, F, C)."""
    scale = gradient_scale(programs, data.classes, data.target.shape[2]).float().view(-1, 1, 1)
    weights = torch.zeros(len(programs), data.inputs.shape[3], data.classes)
    moments = torch.zeros_like(weights), torch.zeros_like(weights)
    slope = _slope_of(programs, data.target.shape[2])
    for step in range(STEPS):
        batch = data.inputs[step % BATCHES], data.target[step % BATCHES]
        gradient = scale * _gradient(slope, weights, batch, step / STEPS)
        adamw.step_(weights, moments, gradient, step + 1, LEARNING_RATE * adamw.rate(step / STEPS))
    return weights


def _accuracy(weights: Tensor, data: Clusters) -> Tensor:
    right = [_logits(weights, x).argmax(2) == t.unsqueeze(0) for x, t in zip(data.inputs, data.target, strict=True)]
    share = torch.stack(right).double().mean((0, 2, 3))
    return torch.where(weights.isfinite().flatten(1).all(1), share, 0.0)


@lru_cache(maxsize=16)
def _reference(classes: int, pixels: int) -> float:
    data = make_clusters(classes, pixels)
    return float(_accuracy(_descend([CROSS_ENTROPY], data), data))


def learned(programs: Sequence[Node], classes: int, pixels: int = 1) -> Tensor:
    """Descend each program and say how far it gets, as a share of the way from chance to cross-entropy.

    Args:
        programs: K programs.
        classes: of the task.
        pixels: a sample has; up to PIXELS are descended on.

    Returns:
        Shares (K,): 0 at chance, 1 as accurate as cross-entropy; below 0 where the weights do not
        stay finite in float32.
    """
    data = make_clusters(classes, min(pixels, PIXELS))
    size = max(1, CHUNK // (data.target[0].numel() * classes))
    parts = [_accuracy(_descend(programs[k : k + size], data), data) for k in range(0, len(programs), size)]
    chance = 1.0 / classes
    return (torch.cat([torch.zeros(0, dtype=torch.double), *parts]) - chance) / (
        _reference(classes, min(pixels, PIXELS)) - chance
    )
