"""K networks of one architecture as one function of their parameters."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lossml.proxy.task import Task


class Batched:
    """K networks of one architecture as one function; a leaf that holds no weights.

    Args:
        task: whose network it is.
    """

    def __init__(self, task: Task) -> None:
        """Take the architecture and its layout."""
        self.task = task
        try:
            self.network = _kept(task.network)
        except TypeError:  # what makes it cannot be looked up
            self.network = _built(task.network)
        self.shapes = {name: parameter.shape for name, parameter in self.network.named_parameters()}

    def unpack(self, flat: Tensor) -> dict[str, Tensor]:
        """Show parameters (K, P) as tensors (K, *shape) by name."""
        parts = flat.split([shape.numel() for shape in self.shapes.values()], dim=1)
        return {
            name: part.view(len(flat), *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }

    def logits(self, flat: Tensor, buffers: dict[str, Tensor], inputs: Tensor, *, training: bool) -> Tensor:
        """Compute logits (K, B, C, *) of parameters (K, P) on inputs (K, B, ...)."""
        self.network.train(training)
        parameters = self.unpack(flat)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.task.bfloat16, cache_enabled=False):
            if len(flat) == 1:  # also right for networks that change their buffers
                first = {name: tensor[0] for name, tensor in (*parameters.items(), *buffers.items())}
                result = functional_call(self.network, first, (inputs[0],)).unsqueeze(0)
            else:
                result = vmap(lambda p, b, x: functional_call(self.network, (p, b), (x,)))(parameters, buffers, inputs)
        return result.float()


def _built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return make()


@lru_cache(maxsize=8)
def _kept(make: Callable[[], nn.Module]) -> nn.Module:
    """Keep an architecture: to draw weights that nobody uses takes as long as dozens of steps."""
    return _built(make)
