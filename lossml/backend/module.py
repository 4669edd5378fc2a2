"""`ProgramLoss`: a loss program as a torch module."""

from typing import Any, get_args

import torch
from torch import Tensor, nn

from lossml.backend import runtime
from lossml.backend.interpret import Inputs, Reduction, evaluate, reduce
from lossml.backend.weighting import IGNORED, Weights, weights_of
from lossml.errors import UsageError
from lossml.program import Axes, Node, operations, parse, show
from lossml.program.hard import exponentials, hard_form


class ProgramLoss(nn.Module):
    """A loss program for training, with the conventions of torch.nn.CrossEntropyLoss.

    A value per element is summed over the classes and averaged over samples and pixels. Class
    weights scale a sample by its target's class (for soft targets, by the mean under the target),
    or a class where the program aggregates per-class values; "mean" divides by the total weight.

    Args:
        program: a program or its text, such as "-sum_C(y*logp)".
        reduction: "mean", "sum" or "none" (one value per sample or pixel).
        weight: class weights (C,).
        ignore_index: class number of samples and pixels that do not count; None for none.
        prior: class shares (C,) for programs that read pi, all positive.
        scale: factor on the loss, a learning-rate matter.

    A program that reads t, the training progress, takes it from `set_progress`.

    Raises:
        UsageError: for text that is no program, an unknown reduction, "none" for a program that
            aggregates over the batch and so has no value per sample, or a prior that is missing or
            holds shares that are not positive.
    """

    weight: Tensor | None
    prior: Tensor | None
    scale: Tensor
    progress: Tensor

    def __init__(
        self,
        program: Node | str,
        *,
        reduction: Reduction = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = IGNORED,
        prior: Tensor | None = None,
        scale: float = 1.0,
    ) -> None:
        """Build the module; see the class for the arguments."""
        super().__init__()
        self.program = parse(program) if isinstance(program, str) else program
        self._prepare()
        _check_reduction(reduction, self.program)
        self.reduction: Reduction = reduction
        self.ignore_index = ignore_index
        self.register_buffer("weight", weight)
        self.register_buffer("prior", _known(prior, self.program))
        self.register_buffer("scale", torch.tensor(float(scale)))
        self.register_buffer("progress", torch.tensor(1.0))

    def _prepare(self) -> None:
        """Write the program as it is computed: for hard labels, where that is cheaper, and for soft ones."""
        self._hard = hard_form(self.program)
        self._soft = exponentials(self.program)

    @property
    def for_classes(self) -> Node:
        """The program as it is computed for class numbers."""
        return self._hard or self.program

    def set_progress(self, progress: float) -> None:
        """Tell programs that read t how far training is, in [0, 1]; without this t is 1, the end."""
        if not 0.0 <= progress <= 1.0:
            raise UsageError(f"progress is {progress}; it is the share of training done, from 0 to 1")
        self.progress.fill_(progress)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            logits: (B, C) or (B, C, *pixels), unnormalised; half precision is computed in float32.
            target: class numbers (B,) or (B, *pixels), or probabilities of the logits' shape.

        Returns:
            A scalar, or for reduction "none" one value per sample (B,) or pixel (B, *pixels).
        """
        check_shapes(logits, target, self.ignore_index)
        with torch.autocast(logits.device.type, enabled=False):
            scores = runtime.full_precision(logits)
            program, inputs = self._read(scores.reshape(*scores.shape[:2], -1), target)
            value = evaluate(program, inputs)
            loss = reduce(value, program.type.axes, inputs.weights, self.reduction) * self.scale.to(value.dtype)
        if self.reduction != "none":
            return loss
        pixels = logits.shape[2:] if Axes.PIXEL in self.program.type.axes else ()
        return loss.reshape(*logits.shape[:1], *pixels)

    def _read(self, scores: Tensor, target: Tensor) -> tuple[Node, Inputs]:
        """Choose the form of the program, with what it reads."""
        weight = None if self.weight is None else self.weight.to(scores.dtype)
        if self._hard is None or target.is_floating_point():
            y, mask = runtime.read_target(target, scores, self.ignore_index)
            return self._soft, Inputs(scores, y, weights_of(y, mask, weight), self.prior, self.progress)
        label, mask = runtime.read_label(target, scores, self.ignore_index)
        weights = Weights(mask, runtime.label_weight(label, mask, weight), weight)
        return self._hard, Inputs(scores, None, weights, self.prior, self.progress, label)

    def extra_repr(self) -> str:
        """Show the formula."""
        return f"{show(self.program)!r}, reduction={self.reduction!r}"

    def get_extra_state(self) -> dict[str, Any]:
        """Keep the formula in the state_dict."""
        return {"program": show(self.program)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the formula from a state_dict."""
        self.program = parse(state["program"])
        self._prepare()


def _check_reduction(reduction: str, program: Node) -> None:
    if reduction not in get_args(Reduction):
        raise UsageError(f"reduction is {reduction!r}; it must be one of {', '.join(get_args(Reduction))}")
    if reduction == "none" and Axes.BATCH not in program.type.axes:
        raise UsageError('this program aggregates over the batch and has no value per sample; use "mean" or "sum"')


def _known(prior: Tensor | None, program: Node) -> Tensor | None:
    if "pi" not in operations(program):
        return prior
    if prior is None:
        raise UsageError("this program reads the class prior pi; give prior=, the share of each class, shape (C,)")
    if prior.dim() != 1 or not bool((prior > 0).all()):
        raise UsageError(
            f"prior has shape {tuple(prior.shape)} and its least value is {float(prior.min()):g}; it must be (C,) and "
            "positive, also for a class that is rare"
        )
    return prior


def check_shapes(logits: Tensor, target: Tensor, ignore_index: int | None) -> None:
    """Refuse logits and targets that do not fit, with what was given and what is expected.

    Class numbers are only looked at on the CPU: elsewhere it would wait for the device.
    """
    if logits.dim() < 2 or logits.shape[1] < 2:
        raise UsageError(f"logits have shape {tuple(logits.shape)}; expected (B, C) or (B, C, ...) with C >= 2")
    soft = target.is_floating_point()
    expected = logits.shape if soft else logits.shape[:1] + logits.shape[2:]
    if target.shape != expected:
        kind = "probabilities" if soft else "class numbers"
        raise UsageError(f"target ({kind}) has shape {tuple(target.shape)}; expected {tuple(expected)}")
    if not soft and target.device.type == "cpu" and not torch.compiler.is_compiling():
        _check_classes(target, logits.shape[1], ignore_index)


def _check_classes(target: Tensor, classes: int, ignore_index: int | None) -> None:
    target = target.long()  # -100 is no uint8
    outside = (target < 0) | (target >= classes)
    if ignore_index is not None:
        outside &= target != ignore_index
    if bool(outside.any()):
        found = int(target[outside][0])
        raise UsageError(f"target holds class {found}; there are classes 0 to {classes - 1}, ignored is {ignore_index}")
