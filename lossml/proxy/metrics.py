"""How good a network's answers are: accuracy, balanced accuracy, likelihood, calibration."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The quality of one network on one split. Each metric is the mean of the samples' parts in it.

    Attributes:
        accuracy: share of right answers.
        balanced_accuracy: mean over the classes present of the share of right answers.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error of the top class, 15 equal bins (Guo et al. 2017).
        parts: each sample's part in each metric (N,), by name; empty where it was not asked for.
    """

    accuracy: float
    balanced_accuracy: float
    nll: float
    ece: float
    parts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


def expected_calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Average the gap between confidence and accuracy over equal bins of confidence (N,), (N,)."""
    return float(_calibration(confidence, right).mean())


def _calibration(confidence: Tensor, right: Tensor) -> Tensor:
    """Give each sample its gap, with the sign that makes its bin's gap positive: their mean is the error."""
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    each = confidence.double() - right.double()
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, place, each)
    return each * gaps.sign()[place]


def _balanced(right: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Weigh each right answer by one over its class's share, so that classes count alike."""
    count = torch.bincount(targets, minlength=classes).double()
    return right.double() * (len(targets) / (count > 0).sum() / count)[targets]


def score(logits: Tensor, targets: Tensor, *, per_sample: bool = False) -> Score:
    """Score logits (N, C) against classes (N,)."""
    logits, targets = logits.float().cpu(), targets.cpu()
    confidence, answer = logits.softmax(1).max(1)
    right = answer == targets
    parts = {
        "accuracy": right.double(),
        "balanced_accuracy": _balanced(right, targets, logits.shape[1]),
        "nll": functional.cross_entropy(logits.double(), targets, reduction="none"),
        "ece": _calibration(confidence, right),
    }
    kept = {name: part.float().numpy() for name, part in parts.items()} if per_sample else {}
    return Score(**{name: float(part.mean()) for name, part in parts.items()}, parts=kept)
