"""Value and logit gradient of many programs on a GPU: `triton_kernel` in one launch, for classification."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lossml.backend.bytecode import CODES, LEAVES
from lossml.backend.machine import Machine

LARGEST = 1 << 14  # numbers of one network's padded logits: what one group of threads holds
WARPS = ((2048, 4), (4096, 8), (LARGEST, 16))  # groups of 32 threads, up to so many numbers


@dataclass(frozen=True, slots=True, eq=False)
class GpuMachine:
    """K programs, encoded as `Machine` has them, on the device that runs them.

    No call waits for the device, so that a graph of its work can be recorded; t is then as recorded.
    """

    code: Tensor
    constants: Tensor
    bounds: Tensor
    leaves: Tensor
    registers: int
    ignored: int

    def run(
        self, logits: Tensor, target: Tensor, prior: Tensor | None, progress: float, scale: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the mean loss (K,) of each program and its gradient.

        Samples whose target is ignored do not count. One whose target is no class has no number for
        its y, as to refuse it would be to wait.

        Args:
            logits: (K, B, C), float32.
            target: class numbers (K, B).
            prior: class shares (C,), unless no program reads them.
            progress: of the training.
            scale: factor (K,) on each loss.
        """
        scores, labels = logits.detach().contiguous(), target.long().contiguous()
        losses, gradients = scores.new_empty(len(scores)), torch.empty_like(scores)
        shares = losses if prior is None else prior.to(scores).contiguous()
        self._launch(scores, labels, shares, float(progress), losses, gradients)
        return (losses, gradients) if scale is None else (losses * scale, gradients * scale.view(-1, 1, 1))

    def _launch(
        self, logits: Tensor, target: Tensor, prior: Tensor, progress: float, losses: Tensor, gradients: Tensor
    ) -> None:
        from lossml.backend import triton_kernel

        count, samples, classes = logits.shape
        height, width = _padded(samples), _padded(classes)
        # The room is torch's to lend again after the call, in the order of the stream.
        values, slopes = logits.new_empty(2, self.registers * height * width)
        encoded, sizes = (self.code, self.constants, self.bounds, self.leaves), (samples, classes, self.ignored)
        with torch.cuda.device_of(logits):
            triton_kernel.run[count,](
                *(*encoded, logits, target, prior, progress, *sizes, values, slopes, losses, gradients),
                **_options(height, width),
            )


def make_gpu_machine(machine: Machine, device: torch.device) -> GpuMachine:
    """Move encoded programs to a device."""
    return GpuMachine(
        code=torch.from_numpy(machine.code).to(device),
        constants=torch.from_numpy(machine.constants).to(device, torch.float32),
        bounds=torch.from_numpy(machine.bounds).to(device),
        leaves=torch.from_numpy(machine.leaves).to(device, torch.int32),
        registers=len(machine.code) + len(LEAVES) * len(machine.leaves),
        ignored=machine.ignored,
    )


def serves(machine: Machine, logits: Tensor, target: Tensor, weight: Tensor | None, prior: Tensor | None) -> bool:
    """Say whether the GPU's machine can take logits (K, B, C) with class numbers (K, B); it reads no number of them."""
    return (
        logits.device.type == "cuda"
        and logits.dim() == 3
        and logits.dtype == torch.float32
        and weight is None
        and not target.is_floating_point()
        and 0 < _padded(logits.shape[1]) * _padded(logits.shape[2]) <= LARGEST
        and (prior is not None or not bool((machine.code[:, 0] == CODES["pi"]).any()))
        and triton_is_there()
    )


@lru_cache(maxsize=1)
def triton_is_there() -> bool:
    """Say whether Triton is installed; it comes with torch for Nvidia's devices."""
    return find_spec("triton") is not None


def _padded(length: int) -> int:
    """Return the next power of two, 0 for nothing."""
    return 1 << (length - 1).bit_length() if length else 0


def _options(height: int, width: int) -> dict[str, Any]:
    """Return what the kernel is compiled for: a tile's size, and one load after another, none before a store."""
    warps = next(warps for most, warps in WARPS if height * width <= most)
    return {"BP": height, "CP": width, "num_warps": warps, "num_stages": 1, "enable_fp_fusion": False}
