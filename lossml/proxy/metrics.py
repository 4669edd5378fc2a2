"""How good a network's answers are: accuracy, overlap, likelihood, calibration, of samples or of their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lossml.backend.weighting import IGNORED

BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The quality of one network on one split. Each metric is the mean of the samples' parts in it.

    Of masks all metrics are taken over the pixels that count, of all images together.

    Attributes:
        accuracy: share of right answers.
        balanced_accuracy: mean over the classes present of the share of right answers.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error of the top class, 15 equal bins (Guo et al. 2017).
        miou: mean over the classes that are present or answered of intersection over union, from the confusion matrix.
        parts: each sample's part in each metric (N,), by name; empty where it was not asked for.
        top5: share of samples whose class is among the five likeliest; 0 where it was not measured.
    """

    accuracy: float
    balanced_accuracy: float
    nll: float
    ece: float
    miou: float
    parts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    top5: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was answered, sample by sample or pixel by pixel: right classes, answers, confidence, likelihood, (M,)."""

    targets: Tensor
    answer: Tensor
    confidence: Tensor
    nll: Tensor
    classes: int

    @property
    def right(self) -> Tensor:
        """Say which answers are right, (M,)."""
        return self.answer == self.targets

    @property
    def gap(self) -> Tensor:
        """Return each one's part in the calibration error, (M,)."""
        return _calibration(self.confidence, self.right)

    @property
    def place(self) -> Tensor:
        """Return each one's bin of confidence, (M,)."""
        return _bin(self.confidence)


def expected_calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Average the gap between confidence and accuracy over equal bins of confidence (N,), (N,)."""
    return float(_calibration(confidence, right).mean())


def _calibration(confidence: Tensor, right: Tensor) -> Tensor:
    """Give each sample its gap, with the sign that makes its bin's gap positive: their mean is the error."""
    place = _bin(confidence)
    each = confidence.double() - right.double()
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, place, each)
    return each * gaps.sign()[place]


def _bin(confidence: Tensor) -> Tensor:
    return (confidence * BINS).ceil().long().clamp(1, BINS) - 1


def _balanced(right: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Weigh each right answer by one over its class's share, so that classes count alike."""
    count = torch.bincount(targets, minlength=classes).double()
    return right.double() * (len(targets) / (count > 0).sum() / count)[targets]


def score(logits: Tensor, targets: Tensor, *, per_sample: bool = False) -> Score:
    """Score logits (N, C) against classes (N,), or logits (N, C, H, W) against masks (N, H, W)."""
    logits, targets = logits.float().cpu(), targets.cpu()
    parts = parts_of(tables(logits, targets)) if targets.dim() > 1 else parts_of_samples(answers(logits, targets))
    kept = {name: part.float().numpy() for name, part in parts.items()} if per_sample else {}
    return Score(**{name: float(part.mean()) for name, part in parts.items()}, parts=kept)


def answers(logits: Tensor, targets: Tensor) -> Answers:
    """Read logits (M, C) and classes (M,) of what counts."""
    confidence, answer = logits.softmax(1).max(1)
    nll = functional.cross_entropy(logits.double(), targets, reduction="none")
    return Answers(targets, answer, confidence, nll, logits.shape[1])


def parts_of_samples(found: Answers) -> dict[str, Tensor]:
    """Give each sample its part in each metric."""
    image = torch.arange(len(found.targets))
    return {
        "accuracy": found.right.double(),
        "balanced_accuracy": _balanced(found.right, found.targets, found.classes),
        "nll": found.nll,
        "ece": found.gap,
        "miou": _ratio(*_overlaps(found, image, len(image))),
    }


Tables = dict[str, tuple[Tensor, Tensor]]
"""For each metric that is a mean over R ratios of sums, each image's part above and below the line, (N, R) each."""


def tables(logits: Tensor, targets: Tensor) -> Tables:
    """Sum up images with logits (N, C, H, W) and masks (N, H, W), each by itself: tables of batches concatenate."""
    counts = targets != IGNORED
    found = answers(logits.movedim(1, -1)[counts], targets[counts])
    images = len(targets)
    image = torch.arange(images).view(-1, *[1] * (targets.dim() - 1)).expand_as(targets)[counts]
    pixels = _summed(torch.ones(len(image)), image, images).view(-1, 1)
    means = {"accuracy": found.right, "nll": found.nll}
    by_class = image * found.classes + found.targets
    there = _summed(torch.ones(len(image)), by_class, images * found.classes)
    right = _summed(found.right, by_class, images * found.classes)
    bins = _summed(found.confidence.double() - found.right.double(), image * BINS + found.place, images * BINS)
    return {
        **{name: (_summed(each, image, images).view(-1, 1), pixels) for name, each in means.items()},
        "ece": (bins.view(images, -1), pixels),
        "balanced_accuracy": (right.view(images, -1), there.view(images, -1)),
        "miou": _overlaps(found, image, images),
    }


def parts_of(found: Tables) -> dict[str, Tensor]:
    """Give each image its part in each metric of a whole split."""
    gaps, pixels = found["ece"]
    signed = (gaps * gaps.sum(0).sign()).sum(1, keepdim=True)  # as in `_calibration`
    return {name: _ratio(*table) for name, table in (found | {"ece": (signed, pixels)}).items()}


def _overlaps(found: Answers, image: Tensor, images: int) -> tuple[Tensor, Tensor]:
    """Count each image's pixels in the intersection and in the union of each class."""
    size = images * found.classes
    true, said = image * found.classes + found.targets, image * found.classes + found.answer
    both = _summed(found.right, true, size)
    either = _summed(torch.ones(len(true)), true, size) + _summed(torch.ones(len(said)), said, size) - both
    return both.view(images, -1), either.view(images, -1)


def _summed(values: Tensor, place: Tensor, size: int) -> Tensor:
    """Sum values (M,) by place to (size,)."""
    return torch.zeros(size, dtype=torch.float64).index_add(0, place, values.double())


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """Give each sample (N,) its part in the mean over R of sum(above)/sum(below), (N, R) each.

    The metric is a ratio of sums, not a mean over samples. A part is the metric and the sample's influence on it
    (the delta method): the parts' mean is the metric exactly, their spread gives its standard error.
    """
    total = below.sum(0)
    above, below, total = above[:, total > 0], below[:, total > 0], total[total > 0]
    value = above.sum(0) / total
    return (value + len(above) * (above - value * below) / total).mean(1)
