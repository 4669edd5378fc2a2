"""The gradient of K networks' losses in their parameters: operation by operation, or replayed from CUDA graphs."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from lossml.proxy.batched import Batched
from lossml.proxy.task import Task

WARM_UP = 3  # passes before a capture, in which libraries choose what they run

Loss = Callable[[Tensor], Tensor]
"""Losses (K,) of logits (K, B, C, *)."""


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


class Graphed(Eager):
    """Passes as two CUDA graphs with the loss between them, so that they serve every loss.

    A small network's step is dozens of operations, each shorter than it takes to ask for it; a graph asks once.
    """

    def __init__(self, batched: Batched, parameters: Tensor, buffers: dict[str, Tensor], inputs: Tensor) -> None:
        """Capture the passes; what the arguments hold is kept, and changed."""
        super().__init__(batched, parameters, buffers)
        self._inputs = inputs
        self._warm_up()
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._forward):
            self._logits = self._pass()
        self._slope = torch.zeros_like(self._logits)
        with torch.cuda.graph(self._backward, pool=self._forward.pool()):
            (self._gradient,) = torch.autograd.grad(self._logits, self.parameters, self._slope)

    def _pass(self) -> Tensor:
        return self._batched.logits(self.parameters, self.buffers, self._inputs, training=True)

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
        if (inputs.shape, inputs.dtype) != (self._inputs.shape, self._inputs.dtype):
            return super().gradient(inputs, loss)
        self._inputs.copy_(inputs)
        self._forward.replay()
        logits = self._logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(loss(logits).sum(), logits)
        self._slope.copy_(slope)
        self._backward.replay()
        return self._gradient


def passes(
    task: Task, batched: Batched, parameters: Tensor, buffers: dict[str, Tensor], inputs: Callable[[], Tensor]
) -> Passes:
    """Make the passes of K networks that start with some parameters (K, P) and buffers.

    Args:
        task: whose networks they are.
        batched: the networks.
        parameters: where they start.
        buffers: likewise.
        inputs: gives a batch (K, B, ...) as training will have them.
    """
    captured = _CAPTURED.get(task, len(parameters), inputs) if parameters.is_cuda else None
    if captured is None:
        return Eager(batched, parameters, buffers)
    captured.load(parameters, buffers)
    return captured


class _Captured:
    """The graphs of the present task for one number of networks; a leaf that a worker keeps between candidates."""

    def __init__(self) -> None:
        self._key: tuple[Task, int] | None = None
        self._graphs: Graphed | None = None

    def get(self, task: Task, count: int, inputs: Callable[[], Tensor]) -> Graphed | None:
        """Return a task's graphs, captured once; None where there can be none, as of a network that waits."""
        if self._key is None or self._key[0] is not task or self._key[1] != count:
            self._graphs = None  # they hold their activations
            self._graphs, self._key = _captured(task, count, inputs()), (task, count)
        return self._graphs


_CAPTURED = _Captured()


def _captured(task: Task, count: int, inputs: Tensor) -> Graphed | None:
    batched = Batched(task)
    size = sum(shape.numel() for shape in batched.shapes.values())
    parameters = torch.zeros(count, size, device=inputs.device)
    buffers = {name: torch.stack([part] * count).to(inputs.device) for name, part in batched.network.named_buffers()}
    try:
        return Graphed(batched, parameters, buffers, inputs.clone())
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:
        torch.cuda.synchronize()
        return None
