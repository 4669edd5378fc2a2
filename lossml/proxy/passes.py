"""The gradient of K networks' losses in their parameters: operation by operation, or replayed from CUDA graphs."""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from lossml.proxy.batched import Batched
from lossml.proxy.task import Task

WARM_UP = 3  # passes before a capture, in which libraries choose what they run
PARTS = 16  # pieces that are put side by side in one go: the nine of a convolution as a matrix product
KEPT = 16  # sets of graphs at a time: to record one again takes seconds

Loss = Callable[[Tensor], Tensor]
"""Losses (K,) of logits (K, B, C, *)."""


class Passes(Protocol):
    """Forward and backward passes of K networks.

    Attributes:
        parameters: of the networks, (K, P); what trains them changes these in place.
        buffers: of the networks, (K, ...) by name.
        compiled: whether they are compiled, and what is around them is worth compiling too.
    """

    parameters: Tensor
    buffers: dict[str, Tensor]
    compiled: bool

    def gradient(self, inputs: Tensor, loss: Loss) -> Tensor:
        """Compute the gradient (K, P) of the losses of inputs (K, B, ...)."""
        ...


class Eager:
    """Passes operation by operation."""

    def __init__(self, batched: Batched, parameters: Tensor, buffers: dict[str, Tensor]) -> None:
        """Take the networks."""
        self._batched, self.parameters, self.buffers = batched, parameters.requires_grad_(), buffers
        self.compiled = False

    def gradient(self, inputs: Tensor, loss: Loss) -> Tensor:
        """Compute the gradient (K, P) of the losses of inputs (K, B, ...)."""
        losses = loss(self._batched.logits(self.parameters, self.buffers, inputs, training=True))
        (found,) = torch.autograd.grad(losses.sum(), self.parameters)
        return found


class Graphed(Eager):
    """Passes as two CUDA graphs with the loss between them, so that they serve every loss.

    A small network's step is dozens of operations, each shorter than it takes to ask for it; a graph asks once.
    Compiled there are fewer of them, as what is done element by element becomes one with its neighbours.
    """

    def __init__(
        self, batched: Batched, parameters: Tensor, buffers: dict[str, Tensor], inputs: Tensor, *, compiled: bool
    ) -> None:
        """Capture the passes; what the arguments hold is kept, and changed."""
        super().__init__(batched, parameters, buffers)
        self._inputs = inputs
        self.compiled = compiled
        self._compute = compiled_for_one_shape(batched.logits) if compiled else batched.logits
        self._warm_up()
        self._forward, self._backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._forward):
            self._logits = self._pass()
        self._slope = torch.zeros_like(self._logits)
        with torch.cuda.graph(self._backward, pool=self._forward.pool()):
            (self._gradient,) = torch.autograd.grad(self._logits, self.parameters, self._slope)

    def _pass(self) -> Tensor:
        return self._compute(self.parameters, self.buffers, self._inputs, training=True)

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
    """The graphs of the tasks and numbers of networks that trained last; a leaf that a worker keeps."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[tuple[Task, int], Graphed | None] = OrderedDict()

    def get(self, task: Task, count: int, inputs: Callable[[], Tensor]) -> Graphed | None:
        """Return a task's graphs, captured once; None where there can be none, as of a network that waits."""
        key = task, count
        if key not in self._graphs:
            while len(self._graphs) >= KEPT:
                self._graphs.popitem(last=False)
            self._graphs[key] = self._new(task, count, inputs())
        self._graphs.move_to_end(key)
        return self._graphs[key]

    def _new(self, task: Task, count: int, inputs: Tensor) -> Graphed | None:
        compiled = 0 < task.compiled <= count
        if compiled:
            torch.compiler.reset()  # there is a limit to the shapes that it remembers; graphs hold what is compiled
        try:
            return _captured(task, count, inputs, compiled=compiled)
        except torch.cuda.OutOfMemoryError:
            self._graphs.clear()  # graphs hold their activations
            return _captured(task, count, inputs, compiled=compiled)


_CAPTURED = _Captured()


@lru_cache(maxsize=4)
def compiled_for_one_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function; for another shape of its arguments it is compiled anew."""
    return torch.compile(function, fullgraph=True, dynamic=False, options={"max_pointwise_cat_inputs": PARTS})


def _captured(task: Task, count: int, inputs: Tensor, *, compiled: bool) -> Graphed | None:
    """Capture K networks' passes: compiled where that is worth it, as they are where they cannot be compiled."""
    if compiled and (found := _recorded(task, count, inputs, compiled=True)):
        return found
    return _recorded(task, count, inputs, compiled=False)


def _recorded(task: Task, count: int, inputs: Tensor, *, compiled: bool) -> Graphed | None:
    batched = Batched(task)
    size = sum(shape.numel() for shape in batched.shapes.values())
    parameters = torch.zeros(count, size, device=inputs.device)
    buffers = {name: torch.stack([part] * count).to(inputs.device) for name, part in batched.network.named_buffers()}
    try:
        return Graphed(batched, parameters, buffers, inputs.clone(), compiled=compiled)
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:
        torch.cuda.synchronize()
        return None
