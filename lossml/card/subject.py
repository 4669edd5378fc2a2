"""The loss that a card describes: its value at any logits and labels, whatever it was written in."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from lossml.backend import ProgramLoss, logit_gradients, runtime
from lossml.backend.interpret import Inputs, evaluate, reduce
from lossml.backend.load import Named, read_loss
from lossml.backend.weighting import weights_of
from lossml.distill.target import NAME, Target, in_precision, target_of, usable
from lossml.errors import UsageError
from lossml.program import Axes, Node, operations, show
from lossml.resources import imported

Value = Callable[[Tensor, Tensor], Tensor]
Link = Literal["softmax", "sigmoid"]
SIGMOIDS = frozenset({"s", "logs", "log1ms"})
SOFTMAXES = frozenset({"p", "logp", "log1mp", "z"})
TRIED = 10  # classes at which a program is tried; it takes any number
CHUNK = 2_000_000  # logits evaluated at once: bounds memory, not results


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A loss to be described.

    Attributes:
        name: as the user gave it.
        program: its program, None for a PyTorch loss.
        value: takes logits (K, B, C, N) and class numbers (K, B, N), gives K mean losses (K,), differentiable.
        target: its logit gradient at a probe, up to scale.
        coupled: the axis along which samples share one loss, SCALAR where each has its own.
        invariant: whether the same number added to all logits of a sample changes nothing.
        link: what turns logits into its answer.
        single: whether it computes in float32 at most.
    """

    name: str
    program: Node | None
    value: Value
    target: Target
    coupled: Axes
    invariant: bool
    link: Link
    single: bool = False

    @property
    def noise(self) -> float:
        """Relative size below which a difference is rounding."""
        return 1e-4 if self.single else 1e-7


def read_subject(what: object, classes: int = 10) -> Subject:
    """Read what is to be described.

    Args:
        what: a zoo name, an expression, a file that `lossml export` wrote, "module:attribute", a program, alone or
            with its scale, a `ProgramLoss`, or any PyTorch loss: a module, a class of one, or a function of
            (logits, target).
        classes: a number of classes that it takes.

    Raises:
        UsageError: where it is none of these, or does not take so many classes.
    """
    if isinstance(what, str):
        if NAME.fullmatch(what.strip()):
            return torch_subject(imported(what.strip()), what.strip(), classes)
        named = read_loss(what)
        return program_subject(named.program, what, scale=named.scale)
    if isinstance(what, ProgramLoss):
        return program_subject(what.program, show(what.program), scale=float(what.scale))
    if isinstance(what, Named):
        return program_subject(what.program, show(what.program), scale=what.scale)
    if isinstance(what, Node):
        return program_subject(what, show(what))
    return torch_subject(what, getattr(what, "__name__", type(what).__name__), classes)


def program_subject(program: Node, name: str, *, scale: float = 1.0) -> Subject:
    """Describe a program times a factor, at the end of training and with even classes."""
    words = operations(program)
    value = _program_value(program, scale)
    target = Target(name, lambda probe: scale * logit_gradients([program], probe.logits, probe)[0], program)
    link: Link = "sigmoid" if words & SIGMOIDS and not words & SOFTMAXES else "softmax"
    return Subject(name, program, value, target, _coupling(value, TRIED, pixels=True), not words & SIGMOIDS, link)


def variant(program: Node, like: Subject, *, progress: float = 1.0, prior: Tensor | None = None) -> Subject:
    """Describe a program at another moment of training, or with classes (C,) that are not even."""
    return replace(like, value=_program_value(program, 1.0, progress, prior))


def _program_value(program: Node, scale: float, progress: float = 1.0, prior: Tensor | None = None) -> Value:
    def value(logits: Tensor, target: Tensor) -> Tensor:
        scores = runtime.full_precision(logits)
        y, _ = runtime.one_hot(target, scores, None)
        shares = scores.new_full(scores.shape[-2:-1], 1.0 / scores.shape[-2]) if prior is None else prior
        inputs = Inputs(scores, y, weights_of(y, None, None), shares, progress)
        return scale * reduce(evaluate(program, inputs), program.type.axes, inputs.weights, "mean").expand(len(logits))

    def chunked(logits: Tensor, target: Tensor) -> Tensor:
        step = max(1, CHUNK // logits[0].numel())
        return torch.cat([value(logits[k : k + step], target[k : k + step]) for k in range(0, len(logits), step)])

    return chunked


def torch_subject(loss: object, name: str, classes: int) -> Subject:
    """Describe a PyTorch loss that takes that many classes; what else it refuses is a UsageError on evaluation."""
    known = usable(loss, name)
    judged = cache(lambda dtype: in_precision(known, dtype))
    single = not _takes_double(judged(torch.float64), classes)

    def value(logits: Tensor, target: Tensor) -> Tensor:
        scores = logits.float() if single and logits.dtype == torch.float64 else logits
        return _batched(judged(scores.dtype), scores.squeeze(-1), target.squeeze(-1), name)

    _check_repeats(value, classes, name)
    coupled, invariant = _coupling(value, classes, pixels=False), _invariant(value, classes)
    return Subject(name, None, value, target_of(loss, name), coupled, invariant, "softmax", single)


def _batched(loss: Callable[..., object], logits: Tensor, target: Tensor, name: str) -> Tensor:
    """Evaluate scenes (K, B, C) one by one, all in one call where the loss can be vectorised."""

    def one(scores: Tensor, labels: Tensor) -> Tensor:
        return _mean(loss, scores, labels, name)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an operation is slow when vectorised
            return torch.vmap(one)(logits, target)
    except (UsageError, RuntimeError):  # it looks at its values, or it refuses them, which the loop will say
        return torch.stack([one(*scene) for scene in zip(logits, target, strict=True)])


def _mean(loss: Callable[..., object], logits: Tensor, target: Tensor, name: str) -> Tensor:
    try:
        found = loss(logits, target)
    except Exception as error:  # a user's code can raise anything
        shape = f"logits {tuple(logits.shape)} of {str(logits.dtype).removeprefix('torch.')}"
        raise UsageError(f"{name} does not take {shape}: {str(error)[:160]}") from error
    if not isinstance(found, Tensor):
        raise UsageError(f"{name} returns a {type(found).__name__}; a loss returns a tensor that has a gradient")
    return found.mean()


def _trial(classes: int) -> tuple[Tensor, Tensor]:
    """Draw four samples."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(4, classes, generator=generator, dtype=torch.float64)
    return logits, torch.tensor([0, 1, 1, 0])


def _check_repeats(value: Value, classes: int, name: str) -> None:
    """Refuse a loss that is not the same twice: nothing that is said of it would hold."""
    logits, labels = _trial(classes)
    scenes = logits.view(4, 1, -1, 1), labels.view(4, 1, 1)
    if not torch.allclose(value(*scenes), value(*scenes), equal_nan=True):
        raise UsageError(f"{name} gives another value on the same input; remove what is random in it")


def _takes_double(loss: Callable[..., object], classes: int) -> bool:
    try:
        _mean(loss, *_trial(classes), "")
    except UsageError:
        return False
    return True


def _coupling(value: Value, classes: int, *, pixels: bool) -> Axes:
    """Find whether samples of a batch, or pixels of an image, have one loss together."""
    logits, labels = _trial(classes)
    alone = value(logits.view(4, 1, -1, 1), labels.view(4, 1, 1))
    if pixels and not _sums_up(value(logits.T.reshape(1, 1, -1, 4), labels.view(1, 1, 4)), alone):
        return Axes.PIXEL
    return Axes.SCALAR if _sums_up(value(logits.view(1, 4, -1, 1), labels.view(1, 4, 1)), alone) else Axes.BATCH


def _sums_up(together: Tensor, alone: Tensor) -> bool:
    return any(
        torch.allclose(together, each.unsqueeze(0), rtol=1e-5, equal_nan=True) for each in (alone.mean(), alone.sum())
    )


def _invariant(value: Value, classes: int) -> bool:
    logits, labels = _trial(classes)
    scores = logits.view(4, 1, -1, 1)
    return torch.allclose(value(scores, labels.view(4, 1, 1)), value(scores + 1.0, labels.view(4, 1, 1)), rtol=1e-4)
