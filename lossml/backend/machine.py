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
from lossml.program import Node

LARGEST = 1 << 16  # numbers of one network's logits: beyond, tensor operations are as fast and use all threads
REMEMBERED = 1024  # programs: the screens encode each several times while they fill a cohort


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """K programs, encoded for `kernel.run`."""

    code: NDArray[np.int32]
    constants: NDArray[np.float64]
    bounds: NDArray[np.int64]
    leaves: NDArray[np.bool_]

    def run(self, logits: Tensor, target: Tensor, prior: Tensor | None, progress: float) -> tuple[Tensor, Tensor]:
        """Compute the mean loss (K,) of each program and its gradient.

        Args:
            logits: (K, B, C) on the CPU, float32 or float64.
            target: class numbers (K, B), all of them classes.
            prior: class shares (C,).
            progress: of the training.
        """
        from lossml.backend import kernel

        array: NDArray[Any] = logits.detach().contiguous().numpy()
        shares = np.ones(array.shape[2]) if prior is None else prior.numpy()
        losses, gradients = np.empty(len(array), array.dtype), np.empty_like(array)
        tiny = np.finfo(array.dtype).tiny
        kernel.run(
            self.code,
            self.constants,
            self.bounds,
            self.leaves,
            array,
            target.contiguous().numpy(),
            shares.astype(array.dtype),
            float(progress),
            tiny,
            losses,
            gradients,
        )
        return torch.from_numpy(losses), torch.from_numpy(gradients)


def make_machine(programs: Sequence[Node]) -> Machine | None:
    """Encode K programs; None where one reads what the machine does not know."""
    if not programs or not all(fits(program) for program in programs):
        return None
    parts = [_encoded(program) for program in programs]
    bounds = np.cumsum([0, *(len(part.constants) for part in parts)])
    return Machine(
        np.concatenate([part.code for part in parts]),
        np.concatenate([part.constants for part in parts]),
        bounds.astype(np.int64),
        np.array([part.leaves for part in parts]),
    )


class _Encoded(NamedTuple):
    """One program's rows of a machine."""

    code: NDArray[np.int32]
    constants: NDArray[np.float64]
    leaves: tuple[bool, ...]


@lru_cache(maxsize=REMEMBERED)
def _encoded(program: Node) -> _Encoded:
    code = assemble(program)
    slopes = code.slopes[len(LEAVES) :]
    rows = [_row(CODES[one.op], one, code, slope=slope) for one, slope in zip(code.instructions, slopes, strict=True)]
    constants = np.array([one.value for one in code.instructions])
    return _Encoded(np.array(rows, np.int32), constants, tuple(leaf in code.leaves for leaf in LEAVES))


def _row(op: int, one: Instruction, code: Code, *, slope: bool) -> tuple[int, ...]:
    if one.a == NONE:
        return (op, NONE, NONE, one.shape, 0, 0, 0, 0)
    second = one.a if one.b == NONE else one.b
    differs = one.b != NONE and code.slopes[one.b]
    return (op, one.a, second, one.shape, slope, code.shapes[one.a], code.slopes[one.a], differs)


def serves(logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int | None = None) -> bool:
    """Say whether the machine can take logits (K, B, C, *) with targets (K, B, *): every one is a class that counts."""
    return (
        logits.dim() == 3
        and logits.device.type == "cpu"
        and weight is None
        and not target.is_floating_point()
        and logits[0].numel() <= LARGEST
        and int(target.min()) >= 0
        and int(target.max()) < logits.shape[2]
        and (ignore_index is None or ignore_index < 0 or not bool((target == ignore_index).any()))
    )


class Runs(Protocol):
    """What computes losses and their gradients at once."""

    def run(self, logits: Tensor, target: Tensor, prior: Tensor | None, progress: float) -> tuple[Tensor, Tensor]:
        """Compute the mean loss (K,) of each program and its gradient (K, B, C)."""
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
    ) -> Tensor:
        """Compute the losses (K,)."""
        losses, gradients = machine.run(logits, target, prior, progress)
        ctx.save_for_backward(gradients)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride] - torch's own
        """Hand the gradients on."""
        (gradients,) = ctx.saved_tensors
        return upstream[0].view(-1, 1, 1) * gradients, None, None, None, None
