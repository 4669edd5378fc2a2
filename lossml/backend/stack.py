"""`stack`: the losses of K networks that train side by side, as one batched call."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lossml.backend import gpu, runtime
from lossml.backend.batch import Schedule, moved, run, schedule
from lossml.backend.foreign import ForeignLoss, OneByOne
from lossml.backend.gpu import GpuMachine, make_gpu_machine
from lossml.backend.interpret import Inputs
from lossml.backend.machine import Machine, MachineLoss, Runs, make_machine, serves
from lossml.backend.module import ProgramLoss
from lossml.backend.weighting import weights_of
from lossml.errors import UsageError


class StackedLoss(nn.Module):
    """K losses in one batched evaluation; each equals its `ProgramLoss` alone.

    Args:
        losses: K >= 1 losses with reduction "mean" and the same class weights, prior and
            ignore_index; programs and scales may differ.
    """

    weight: Tensor | None
    prior: Tensor | None
    scale: Tensor

    def __init__(self, losses: Sequence[ProgramLoss]) -> None:
        """Lay the programs out; a UsageError where the losses do not go together."""
        super().__init__()
        _check_alike(losses)
        self.programs = tuple(loss.program for loss in losses)
        self._for_classes = tuple(loss.for_classes for loss in losses)
        self.ignore_index = losses[0].ignore_index
        self.register_buffer("weight", losses[0].weight)
        self.register_buffer("prior", losses[0].prior)
        self.register_buffer("scale", torch.stack([loss.scale for loss in losses]))
        self.progress = 1.0
        self._machines: dict[bool, Machine | None] = {}  # for masks, or not
        self._plans: dict[torch.device, Schedule] = {}
        self._gpus: dict[torch.device, GpuMachine] = {}

    def set_progress(self, progress: float) -> None:
        """Tell programs that read t how far training is, in [0, 1]."""
        self.progress = progress

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the mean loss of each network.

        Args:
            logits: (K, B, C) or (K, B, C, *pixels), unnormalised.
            target: class numbers (K, B) or (K, B, *pixels).

        Returns:
            The K losses, shape (K,); their sum's gradient is each loss's own gradient.
        """
        if self.scale.device != logits.device:
            self.to(logits.device)
        with torch.autocast(logits.device.type, enabled=False):
            scores = runtime.full_precision(logits)
            machine = self._machine_for(scores, target)
            if machine is not None:
                return MachineLoss.apply(scores, machine, target, self.prior, self.progress, self.scale.to(scores))
            return self.on_tensors(scores.reshape(*logits.shape[:3], -1), target) * self.scale.to(scores)

    def _machine_for(self, scores: Tensor, target: Tensor) -> Runs | None:
        """Return what can run the programs on these tensors in one call, if anything can."""
        masks = scores.dim() > 3
        if masks not in self._machines:
            self._machines[masks] = make_machine(self._for_classes, masks=masks, ignore_index=self.ignore_index)
        machine = self._machines[masks]
        if machine is None or serves(scores, target, self.weight, self.ignore_index):
            return machine
        if not gpu.serves(machine, scores, target, self.weight, self.prior):
            return None
        if scores.device not in self._gpus:
            self._gpus[scores.device] = make_gpu_machine(machine, scores.device)
        return self._gpus[scores.device]

    def on_tensors(self, scores: Tensor, target: Tensor) -> Tensor:
        """Compute the losses (K,), without their scales, of logits (K, B, C, N) by tensor operations."""
        y, mask = runtime.read_target(target, scores, self.ignore_index)
        inputs = Inputs(scores, y, weights_of(y, mask, self.weight), self.prior, self.progress)
        return run(self._plan(scores.device), inputs)

    def _plan(self, device: torch.device) -> Schedule:
        if device not in self._plans:
            self._plans[device] = moved(schedule(self.programs), device)
        return self._plans[device]


def _check_alike(losses: Sequence[ProgramLoss]) -> None:
    if not losses:
        raise UsageError("no losses were given; stack needs at least one")
    first = losses[0]
    for loss in losses:
        same = loss.ignore_index == first.ignore_index and _equal(loss.weight, first.weight)
        if not (same and _equal(loss.prior, first.prior) and loss.reduction == "mean"):
            raise UsageError(
                'stacked losses must share class weights, prior and ignore_index, and have reduction "mean"'
            )


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.equal(a, b))


def stack(losses: Sequence[ProgramLoss | ForeignLoss]) -> StackedLoss | OneByOne:
    """Build the batched evaluation of K losses; see `StackedLoss`. Losses that are no programs go one by one."""
    programs = [loss for loss in losses if isinstance(loss, ProgramLoss)]
    return StackedLoss(programs) if len(programs) == len(losses) else OneByOne(losses)
