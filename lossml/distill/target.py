"""The loss that is distilled: whatever gives a logit gradient at probe points."""

import copy
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossml.backend import Probe, logit_gradients
from lossml.backend.load import read_loss
from lossml.errors import LossMLError, UsageError
from lossml.program import Axes, Node, operations
from lossml.program.primitives import OPERATIONS
from lossml.resources import imported

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
EXPECTED = "give an nn.Module or a function of (logits (B, C), target (B,)) that returns the loss"


@dataclass(frozen=True, slots=True)
class Target:
    """A loss to be distilled.

    Attributes:
        name: as the user gave it.
        gradient: takes a probe, gives the logit gradient (B, C, 1) of the loss, up to scale.
        program: its program, where it has one.
    """

    name: str
    gradient: Callable[[Probe], Tensor]
    program: Node | None = None


def read_target(what: str) -> Target:
    """Read what is to be distilled.

    Args:
        what: a zoo name, an expression, a file that `lossml export` wrote, or "module:attribute" for a
            PyTorch loss of one's own.

    Raises:
        UsageError: where it is none of these, or a loss whose gradient at probe points does not tell what it is.
    """
    if NAME.fullmatch(what.strip()):
        return target_of(imported(what.strip()), what.strip())
    named = read_loss(what)
    return program_target(named.program, what, named.scale)


def program_target(program: Node, name: str, scale: float = 1.0) -> Target:
    """Make a target of a program times a scale; a UsageError refuses one that reads pixels or training progress."""
    words = operations(program)
    pixels = [word for word in words if word in OPERATIONS and OPERATIONS[word].removes is Axes.PIXEL]
    if "t" in words or pixels:
        what = "training progress t" if "t" in words else "several pixels"
        raise UsageError(f"{name[:80]} reads {what}, which a probe point does not have; distil a loss without it")
    return Target(name, lambda probe: scale * logit_gradients([program], probe.logits, probe)[0], program)


def target_of(loss: object, name: str) -> Target:
    """Make a target of a PyTorch loss.

    Args:
        loss: an nn.Module, a class of one that needs no arguments, or a function of (logits, target).
        name: for messages.
    """
    known = usable(loss, name)
    return Target(name, lambda probe: _gradient(known, probe, name))


def usable(loss: object, name: str) -> Callable[..., object]:
    """Return what can be called with logits and targets; see `target_of` for the arguments."""
    if inspect.isclass(loss):
        loss = _called(loss, name)
    if not callable(loss):
        raise UsageError(f"{name} is a {type(loss).__name__}; {EXPECTED}")
    return loss


def _called(loss: Callable[..., object], name: str) -> object:
    try:
        return loss()
    except Exception as error:
        raise UsageError(f"{name} cannot be made without arguments ({error}); name an instance instead") from error


def _gradient(loss: Callable[..., object], probe: Probe, name: str) -> Tensor:
    """Differentiate a user's loss, in float64 where it takes it, and refuse what would not be the same twice."""
    try:
        first, second = (
            _differentiated(in_precision(loss, torch.float64), probe, torch.float64, name) for _ in range(2)
        )
    except LossMLError:
        raise
    except Exception:  # noqa: BLE001 - a user's code can raise anything; float32 says whether float64 was the reason
        first, second = _in_single(loss, probe, name)
    if not torch.allclose(first, second, equal_nan=True):
        raise UsageError(f"{name} gives another gradient on the same input; remove what is random in it")
    return first


def _in_single(loss: Callable[..., object], probe: Probe, name: str) -> tuple[Tensor, Tensor]:
    try:
        first, second = (
            _differentiated(in_precision(loss, torch.float32), probe, torch.float32, name) for _ in range(2)
        )
    except LossMLError:
        raise
    except Exception as error:
        raise UsageError(f"{name} fails on logits and targets: {error}; {EXPECTED}") from error
    return first, second


def in_precision(loss: Callable[..., object], dtype: torch.dtype) -> Callable[..., object]:
    """Copy a module to a precision, ready to be judged; a function stays as it is."""
    return (
        copy.deepcopy(loss).to(dtype).eval().requires_grad_(requires_grad=False)
        if isinstance(loss, nn.Module)
        else loss
    )


def _differentiated(loss: Callable[..., object], probe: Probe, dtype: torch.dtype, name: str) -> Tensor:
    """Take the gradient of the loss summed over samples; a scalar is taken for the mean."""
    logits = probe.logits.squeeze(-1).to(dtype).clone().requires_grad_()
    with torch.enable_grad():
        value = loss(logits, probe.target.squeeze(-1))
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise UsageError(f"{name} returns {_described(value)}, which has no gradient; {EXPECTED}")
    (gradient,) = torch.autograd.grad(value.sum(), logits, allow_unused=True, materialize_grads=True)
    return gradient.double().unsqueeze(-1) * (len(logits) if value.dim() == 0 else 1)


def _described(value: object) -> str:
    return "a tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
