"""Where masks and class weights act: decided once, from the axes of what is aggregated.

A class weight scales a sample by its target's class when samples are aggregated, and a class when
per-class values are (Dice). A mask removes samples and pixels. Nothing is weighed twice: values
that still vary over the classes are only masked when batch and pixels are aggregated.
"""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from lossml.backend import runtime
from lossml.program.types import Axes

IGNORED = -100
"""Marks what does not count, in losses and metrics alike: a void pixel of a mask; torch's own default."""


class Weight(Enum):
    """Which weight an aggregate uses."""

    NONE = "none"
    CLASS = "class_weight"
    SAMPLE = "sample"
    MASK = "mask"
    MASK_IMAGE = "mask_image"
    MASK_PIXEL = "mask_pixel"


def choose(axes: Axes, removed: Axes) -> Weight:
    """Choose the weight for removing some axes of a value that varies over `axes`."""
    if removed == Axes.CLASS:
        return Weight.NONE if Axes.BATCH in axes else Weight.CLASS
    if axes == Axes.SAMPLE:
        return Weight.SAMPLE
    seen = axes & Axes.SAMPLE
    return {Axes.SAMPLE: Weight.MASK, Axes.BATCH: Weight.MASK_IMAGE, Axes.PIXEL: Weight.MASK_PIXEL}.get(
        seen, Weight.NONE
    )


@dataclass(frozen=True, slots=True)
class Weights:
    """The weights of one batch; each is None where everything counts alike."""

    mask: Tensor | None
    sample: Tensor | None
    class_weight: Tensor | None

    def __getitem__(self, which: Weight) -> Tensor | None:
        """Return the weight tensor of that kind, broadcastable against the value it weighs."""
        if which is Weight.CLASS:
            return None if self.class_weight is None else self.class_weight.view(-1, 1)
        if which is Weight.SAMPLE:
            return self.sample
        if which is Weight.MASK_IMAGE:
            return runtime.image_mask(self.mask)
        if which is Weight.MASK_PIXEL:
            return runtime.pixel_mask(self.mask)
        return self.mask if which is Weight.MASK else None


def weights_of(y: Tensor, mask: Tensor | None, class_weight: Tensor | None) -> Weights:
    """Build the weights of a batch from its targets (..., B, C, N), mask (..., B, 1, N) and class weights (C,)."""
    return Weights(mask, runtime.sample_weight(y, mask, class_weight), class_weight)
