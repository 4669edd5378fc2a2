"""The gradient of K networks' losses in their parameters: operation by operation, or replayed from CUDA graphs."""

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from lossml.proxy.batched import Batched, batched_of
from lossml.proxy.task import Task

WARM_UP = 3  # passes before a capture, in which libraries choose what they run

Loss = Callable[[Tensor], Tensor]
"""Losses (K,) of logits (K, B, C, *)."""

Logits = Callable[[Tensor, dict[str, Tensor], Tensor], Tensor]
"""Logits (K, B, C, *) of parameters (K, P), buffers and inputs (K, B, ...), in training."""


class Passes(Protocol):
    """Forward and backward passes of K networks.

    Attributes:
        parameters: of the networks, (K, P); what trains them changes these in place.
        buffers: of the networks, (K, ...) by name.
    """

    parameters: Tensor
    buffers: dict[str, Tensor]

    def gradient(self, inputs: Tensor, loss: Loss) -> Tensor:
        """Compute the gradient (K, P) of the losses of inputs (K, B, ...)."""
        ...


class Eager:
    """Passes operation by operation."""

    def __init__(self, batched: Batched, parameters: Tensor, buffers: dict[str, Tensor]) -> None:
        """Take the networks."""
        self._batched, self.parameters, self.buffers = batched, parameters.requires_grad_(), buffers

    def gradient(self, inputs: Tensor, loss: Loss) -> Tensor:
        """Compute the gradient (K, P) of the losses of inputs (K, B, ...)."""
        losses = loss(self._batched.logits(self.parameters, self.buffers, inputs, training=True))
        (found,) = torch.autograd.grad(losses.sum(), self.parameters)
        return found


class Graphed:
    """Passes as two CUDA graphs with the loss between them, so that they serve every loss.

    A small network's step is dozens of operations, each shorter than it takes to ask for it; a graph asks once.
    """

    def __init__(self, logits: Logits, parameters: Tensor, buffers: dict[str, Tensor], inputs: Tensor) -> None:
        """Capture the passes of what gives logits; what the other arguments hold is kept, and changed."""
        self._function, self._inputs = logits, inputs
        self.parameters, self.buffers = parameters.requires_grad_(), buffers
        self._warm_up()
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._forward):
            self._logits = self._pass()
        self._slope = torch.zeros_like(self._logits)
        with torch.cuda.graph(self._backward, pool=self._forward.pool()):
            (self._gradient,) = torch.autograd.grad(self._logits, self.parameters, self._slope)

    def _pass(self) -> Tensor:
        return self._function(self.parameters, self.buffers, self._inputs)

    def _warm_up(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                torch.autograd.grad(self._pass().sum(), self.parameters)
        torch.cuda.current_stream().wait_stream(stream)

    @torch.no_grad()
    def load(self, parameters: Tensor, buffers: dict[str, Tensor]) -> None:
        """Go on with other networks."""
        self.parameters.copy_(parameters)
        for name, buffer in buffers.items():
            self.buffers[name].copy_(buffer)

    def gradient(self, inputs: Tensor, loss: Loss) -> Tensor:
        """Compute the gradient (K, P) of the losses of inputs (K, B, ...)."""
        self._inputs.copy_(inputs)
        self._forward.replay()
        logits = self._logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(logits).sum(), logits)
        self._slope.copy_(slope)
        self._backward.replay()
        return self._gradient


def passes(task: Task, batched: Batched, parameters: Tensor, buffers: dict[str, Tensor]) -> Passes:
    """Make the passes of K networks that start with some parameters (K, P) and buffers."""
    captured = _captured(task, len(parameters)) if parameters.is_cuda else None
    if captured is None:
        return Eager(batched, parameters, buffers)
    captured.load(parameters, buffers)
    return captured


@lru_cache(maxsize=4)
def _captured(task: Task, count: int) -> Graphed | None:
    """Capture a task's network once for each number of networks; None where it cannot be, as with one that waits."""
    batched, device = batched_of(task), task.train.inputs.device
    parameters = torch.zeros(count, sum(shape.numel() for shape in batched.shapes.values()), device=device)
    buffers = {name: torch.stack([buffer] * count).to(device) for name, buffer in batched.network.named_buffers()}
    inputs = task.train.inputs[: task.batch_size].unsqueeze(0).repeat_interleave(count, 0)
    batched.network.train()
    try:
        return Graphed(batched.function, parameters, buffers, inputs)
    except RuntimeError:
        torch.cuda.synchronize()
        return None
