"""How good a network's answers are: accuracy, balanced accuracy, likelihood, calibration."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BINS = 15


@dataclass(frozen=True, slots=True)
class Score:
    """The quality of one network on one split.

    Attributes:
        accuracy: share of right answers.
        balanced_accuracy: mean over the classes present of the share of right answers.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error of the top class, 15 equal bins (Guo et al. 2017).
        correct: for each sample whether the answer is right; empty where it was not asked for.
    """

    accuracy: float
    balanced_accuracy: float
    nll: float
    ece: float
    correct: tuple[bool, ...] = ()


def expected_calibration_error(confidence: Tensor, right: Tensor) -> float:
    """Average the gap between confidence and accuracy over equal bins of confidence (N,), (N,)."""
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, place, confidence.double() - right.double())
    return float(gaps.abs().sum() / len(confidence))


def score(logits: Tensor, targets: Tensor, *, per_sample: bool = False) -> Score:
    """Score logits (N, C) against classes (N,)."""
    logits, targets = logits.float().cpu(), targets.cpu()
    confidence, answer = logits.softmax(1).max(1)
    right = answer == targets
    present = torch.bincount(targets, minlength=logits.shape[1])
    hits = torch.bincount(targets[right], minlength=logits.shape[1])
    return Score(
        accuracy=float(right.double().mean()),
        balanced_accuracy=float((hits[present > 0].double() / present[present > 0]).mean()),
        nll=float(functional.cross_entropy(logits.double(), targets)),
        ece=expected_calibration_error(confidence, right),
        correct=tuple(right.tolist()) if per_sample else (),
    )
