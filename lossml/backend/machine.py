"""Value and logit gradient of many programs by the compiled machine: what classification on a CPU trains with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from lossml.backend.bytecode import CODES, LEAVES, NONE, Code, Instruction, assemble, fits
from lossml.backend.stages import Pass, staged, straight
from lossml.program import Node

REMEMBERED = 1024  # programs: the screens encode each several times while they fill a cohort
TILE = 4096  # numbers of a register that still lie in fast memory beside the others
NARROWEST, STEP = 32, 16  # samples of a tile at least, and what their number is a multiple of
NEVER = -(1 << 31)  # stands for no ignore_index


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """K programs, encoded for `kernel.run`."""

    code: NDArray[np.int32]
    constants: NDArray[np.float64]
    bounds: NDArray[np.int64]
    leaves: NDArray[np.bool_]
    passes: NDArray[np.int64]
    pass_bounds: NDArray[np.int64]
    orders: NDArray[np.int64]
    ignored: int

    def run(
        self, logits: Tensor, target: Tensor, prior: Tensor | None, progress: float, scale: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the mean loss (K,) of each program and its gradient, which has the logits' shape.

        Args:
            logits: on the CPU, float32 or float64, (K, B, C); of a machine for masks (K, B, C, *pixels), quickest where
                the classes of a pixel lie side by side.
            target: class numbers (K, B) or (K, B, *pixels), all of them classes but for those ignored.
            prior: class shares (C,).
            progress: of the training.
            scale: factor (K,) on each loss.
        """
        from lossml.backend import kernel

        last = logits.detach().movedim(2, -1).contiguous()  # of a network that has its channels last, no copy
        images = 1 if logits.dim() == 3 else logits.shape[1]
        array: NDArray[Any] = last.view(len(last), images, -1, last.shape[-1]).numpy()
        shares = np.ones(array.shape[3]) if prior is None else prior.numpy()
        losses, gradients = np.empty(len(array), array.dtype), np.empty_like(array)
        kernel.run(
            self.code,
            self.constants,
            self.bounds,
            self.leaves,
            self.passes,
            self.pass_bounds,
            self.orders,
            width_for(array.shape[3]),
            array,
            target.reshape(array.shape[:3]).long().contiguous().numpy(),
            self.ignored,
            shares.astype(array.dtype),
            float(progress),
            np.finfo(array.dtype).tiny,
            np.ones_like(losses) if scale is None else scale.numpy().astype(array.dtype),
            losses,
            gradients,
        )
        return torch.from_numpy(losses), torch.from_numpy(gradients).view(last.shape).movedim(-1, 2)


def width_for(classes: int) -> int:
    """Return the number of samples of a tile."""
    return max(NARROWEST, TILE // classes // STEP * STEP)


def make_machine(programs: Sequence[Node], *, masks: bool = False, ignore_index: int | None = None) -> Machine | None:
    """Encode K programs; None where one computes what the machine does not know.

    Args:
        programs: to encode.
        masks: for images with masks, and not for samples with a class each.
        ignore_index: the target of what does not count.
    """
    if not programs or not all(fits(program, masks=masks) for program in programs):
        return None
    parts = [_encoded(program, masks) for program in programs]
    bounds = np.cumsum([0, *(len(part.constants) for part in parts)])
    return Machine(
        np.concatenate([part.code for part in parts]),
        np.concatenate([part.constants for part in parts]),
        bounds.astype(np.int64),
        np.array([part.leaves for part in parts]),
        *_scheduled([part.passes for part in parts]),
        NEVER if ignore_index is None else ignore_index,
    )


def _scheduled(plans: Sequence[Sequence[Pass]]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Encode the passes of each program: rows of where their instructions stand in one list, and the list."""
    rows: list[tuple[int, ...]] = []
    order: list[int] = []
    for one in (one for plan in plans for one in plan):
        begin, middle = len(order), len(order) + len(one.forward)
        order += [*one.forward, *one.backward]
        rows.append((one.tiled, begin, middle, middle, len(order), one.ends))
    bounds = np.cumsum([0, *(len(plan) for plan in plans)])
    return np.array(rows, np.int64), bounds.astype(np.int64), np.array(order, np.int64)


class _Encoded(NamedTuple):
    """One program's rows of a machine."""

    code: NDArray[np.int32]
    constants: NDArray[np.float64]
    leaves: tuple[bool, ...]
    passes: tuple[Pass, ...]


@lru_cache(maxsize=REMEMBERED)
def _encoded(program: Node, masks: bool) -> _Encoded:  # noqa: FBT001 - part of what is remembered
    code = assemble(program, masks=masks)
    slopes = code.slopes[len(LEAVES) :]
    rows = [_row(CODES[one.op], one, code, slope=slope) for one, slope in zip(code.instructions, slopes, strict=True)]
    constants = np.array([one.value for one in code.instructions])
    leaves, passes = tuple(leaf in code.leaves for leaf in LEAVES), (straight(code), *staged(code))
    return _Encoded(np.array(rows, np.int32), constants, leaves, passes)


def _row(op: int, one: Instruction, code: Code, *, slope: bool) -> tuple[int, ...]:
    if one.a == NONE:
        return (op, NONE, NONE, one.shape, 0, 0, 0, 0)
    second = one.a if one.b == NONE else one.b
    differs = one.b != NONE and code.slopes[one.b]
    return (op, one.a, second, one.shape, slope, code.shapes[one.a], code.slopes[one.a], differs)


def serves(logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int | None = None) -> bool:
    """Say whether the machine can take logits (K, B, C, *) with targets (K, B, *): class numbers, on the CPU."""
    if logits.device.type != "cpu" or weight is not None or target.is_floating_point():
        return False
    low, high = (int(bound) for bound in target.aminmax())
    if low >= 0 and high < logits.shape[2]:
        return True
    return ignore_index is not None and _are_classes(target, logits.shape[2], ignore_index)


def _are_classes(target: Tensor, classes: int, ignore_index: int) -> bool:
    return bool(((target == ignore_index) | ((target >= 0) & (target < classes))).all())


class Runs(Protocol):
    """What computes losses and their gradients at once."""

    def run(
        self, logits: Tensor, target: Tensor, prior: Tensor | None, progress: float, scale: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute the mean loss (K,) of each program, times its scale, and its gradient, of the logits' shape."""
        ...


class MachineLoss(torch.autograd.Function):
    """The machine as a differentiable function: the gradient is computed along with the value."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        logits: Tensor,
        machine: Runs,
        target: Tensor,
        prior: Tensor | None,
        progress: float,
        scale: Tensor,
    ) -> Tensor:
        """Compute the losses (K,)."""
        losses, gradients = machine.run(logits, target, prior, progress, scale)
        ctx.save_for_backward(gradients)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride] - torch's own
        """Hand the gradients on."""
        (gradients,) = ctx.saved_tensors
        factor = upstream[0].view(-1, *[1] * (gradients.dim() - 1))
        alone = factor.device.type == "cpu" and bool((factor == 1).all())  # a GPU would have to be waited for
        return gradients if alone else factor * gradients, None, None, None, None, None
