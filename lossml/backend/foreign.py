"""Losses that are no programs as modules like `ProgramLoss`, so that they train beside programs."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

from lossml.backend.contenders import BiTempered, BoundaryCrossEntropy, HardestCrossEntropy
from lossml.backend.probe import CROSS_ENTROPY, logit_gradients, make_probe, root_mean_square
from lossml.backend.weighting import IGNORED
from lossml.errors import UsageError
from lossml.zoo import Foreign


class ForeignLoss(nn.Module):
    """A loss from another library, with the conventions of torch.nn.CrossEntropyLoss.

    Args:
        what: which loss; its library must be installed.
        scale: factor on the loss, a learning-rate matter.
    """

    scale: Tensor

    def __init__(self, what: Foreign, scale: float = 1.0) -> None:
        """Import the library and build the loss."""
        super().__init__()
        self.name = what.name
        self.loss = MODULES[what.name]()
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the mean loss, in float32, of logits (B, C, *pixels) and class numbers (B, *pixels) or -100."""
        with torch.autocast(logits.device.type, enabled=False):
            found: Tensor = self.loss(logits.float(), target)
        return found * self.scale.to(found.dtype)


class _Lovasz(nn.Module):
    """Lovász-Softmax of segmentation_models_pytorch, on every pixel that counts, of the whole batch together."""

    def __init__(self) -> None:
        super().__init__()
        from segmentation_models_pytorch.losses import LovaszLoss  # noqa: PLC0415 - an optional extra

        self.loss = LovaszLoss("multiclass", ignore_index=IGNORED)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        pictures = logits.reshape(*logits.shape[:2], -1, 1)
        found: Tensor = self.loss(pictures, target.reshape(len(target), -1, 1))
        return found.sum()  # without a pixel that counts it is empty, not 0


MODULES: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {"lovasz": _Lovasz, "ohem": HardestCrossEntropy, "bi-tempered": BiTempered, "boundary": BoundaryCrossEntropy}
)


def foreign_scale(what: Foreign, classes: int, pixels: int = 1) -> float:
    """Return the factor that gives a foreign loss cross-entropy's gradient size; see `gradient_scale`.

    Raises:
        UsageError: where only masks can have the loss, and samples have one class each.
    """
    if what.masks and pixels == 1:
        raise UsageError(f"{what.name} looks at neighbouring pixels; it needs a task with masks")
    probe = make_probe(classes, pixels, (0.1,))
    target = probe.target if probe.mask is None else torch.where(probe.mask.squeeze(1) > 0, probe.target, IGNORED)
    leaf = probe.logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(ForeignLoss(what)(leaf, target), leaf)
    reference = logit_gradients([CROSS_ENTROPY], probe.logits, probe)
    return float(root_mean_square(reference) / root_mean_square((gradient * target.numel()).unsqueeze(0)))


class OneByOne(nn.Module):
    """K losses of which some are no programs: called one after the other, as `StackedLoss` is."""

    def __init__(self, losses: Sequence[nn.Module]) -> None:
        """Keep the losses."""
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def set_progress(self, progress: float) -> None:
        """Tell programs that read t how far training is, in [0, 1]."""
        for loss in self.losses:
            if not isinstance(loss, ForeignLoss):
                loss.set_progress(progress)  # pyright: ignore[reportCallIssue] - a ProgramLoss

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the K losses (K,) of logits (K, B, C, *pixels) and class numbers (K, B, *pixels)."""
        rows = zip(self.losses, logits, target, strict=True)
        return torch.stack([loss(x, y) for loss, x, y in rows])
