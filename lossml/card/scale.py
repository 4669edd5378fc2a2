"""How large a loss's gradient is against cross-entropy's: at the start, and at certain answers, wrong and right."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lossml.backend.probe import CROSS_ENTROPY
from lossml.card.scene import slopes
from lossml.card.subject import Subject, program_subject

SURE = 0.99  # probability of the class that a certain answer names


@dataclass(frozen=True, slots=True)
class State:
    """The gradient by the logits of one sample in one state.

    Attributes:
        size: its norm.
        against: as a share of cross-entropy's norm in the same state.
        upward: whether descending it raises the true class's logit.
    """

    size: float
    against: float
    upward: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """The gradient at one number of classes, exact at the three states.

    Attributes:
        classes: C.
        start: all logits equal.
        wrong: another class has probability SURE; the rest is shared evenly.
        right: the true class has probability SURE.
    """

    classes: int
    start: State
    wrong: State
    right: State


@lru_cache(maxsize=1)
def cross_entropy() -> Subject:
    """Return what every loss is compared with."""
    return program_subject(CROSS_ENTROPY, "ce")


def states(subject: Subject, classes: int) -> Tensor:
    """Return the logits (3, C) of the three states, the true class first."""
    found = torch.zeros(3, classes, dtype=torch.float64)
    if subject.link == "sigmoid":
        found[1:] = -math.log(SURE / (1.0 - SURE))
    found[1, 1] = found[2, 0] = math.log(SURE / (1.0 - SURE) * (1 if subject.link == "sigmoid" else classes - 1))
    return found


def scale(subject: Subject, classes: int) -> Scale:
    """Measure the gradient in the three states; a UsageError from a PyTorch loss that does not take so many classes."""
    logits = states(subject, classes)
    found = slopes(subject, logits).double()
    ours, theirs = found.norm(dim=1), slopes(cross_entropy(), states(cross_entropy(), classes)).norm(dim=1)
    rows = [State(float(a), float(a / b), bool(g[0] < 0)) for a, b, g in zip(ours, theirs, found, strict=True)]
    return Scale(classes, *rows)
