"""What a loss wants of a sample with a hard label: the probability of the true class at its least value."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.card.claim import Method
from lossml.card.minimise import zoomed
from lossml.card.scene import answer, flat, hard
from lossml.card.subject import Subject
from lossml.errors import UsageError

FURTHEST = 40.0  # logits: beyond, a probability is 1 to double precision
CERTAIN = 1e-5  # a true class that misses 1 by less is certain


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where one sample's loss is least.

    Attributes:
        classes: C.
        probability: of the true class there, in [0, 1].
        smoothing: the epsilon of label smoothing that has the same optimum; 0 for a certain answer.
        rival: probability of the most probable other class.
        certain_costs_more: whether a certain right answer costs more than the even one.
        method: how it was found.
    """

    classes: int
    probability: float
    smoothing: float
    rival: float
    certain_costs_more: bool
    method: Method


def family(numbers: Tensor, classes: int, *, invariant: bool) -> Tensor:
    """Build logits (..., C) from two numbers (..., 2).

    The first is the true class's logit, the second one rival's or, where a shift of all logits counts, all others'.
    """
    true, other = numbers[..., :1], numbers[..., 1:]
    if invariant:
        return torch.cat([true, other, true.new_zeros(*true.shape[:-1], classes - 2)], -1)
    return torch.cat([true, other.expand(*true.shape[:-1], classes - 1)], -1)


def optimum(subject: Subject, classes: int) -> Optimum:
    """Find the optimum for a hard label among answers with one rival at most.

    Raises:
        UsageError: from a PyTorch loss that does not take so many classes, and for one that is the same everywhere.
    """

    def function(points: Tensor) -> Tensor:
        flat = family(points, classes, invariant=subject.invariant).view(-1, classes)
        return hard(subject, flat).double().view(points.shape[:-1])

    grid = _grid(subject, classes)
    values = function(grid.unsqueeze(0))[0].nan_to_num(nan=torch.inf)
    if flat(values):
        raise UsageError(f"{subject.name[:80]} has the same value for all answers, and so no optimum")
    best, least = zoomed(function, grid[values.argmin()].unsqueeze(0), 1 if classes == 2 and subject.invariant else 2)
    logits = family(best, classes, invariant=subject.invariant)[0]
    ends = torch.tensor([[FURTHEST, -FURTHEST * (not subject.invariant)], [0.0, 0.0]], dtype=torch.float64)
    sure, even = function(ends.unsqueeze(0))[0]
    found = answer(subject, logits)
    certain = float(found[0]) > 1.0 - CERTAIN or float(sure - least[0]) <= subject.noise**2 * float((even - sure).abs())
    probability = 1.0 if certain else float(found[0])
    return Optimum(
        classes=classes,
        probability=probability,
        smoothing=min(1.0, (1.0 - probability) * classes / (classes - 1)),
        rival=0.0 if certain else float(found[1:].max()),
        certain_costs_more=bool(sure > even),
        method=Method(
            "sampled", "and a search from the best, true class against the others and one rival", len(values)
        ),
    )


def _grid(subject: Subject, classes: int) -> Tensor:
    """Lay a grid whose first column runs over the true class's logit; the rival begins level with the others."""
    true = torch.linspace(-FURTHEST, FURTHEST, 81, dtype=torch.float64)
    if not subject.invariant:
        return torch.cartesian_prod(true, torch.linspace(-FURTHEST, FURTHEST, 21, dtype=torch.float64))
    rivals = [0.0] if classes == 2 else [0.0, 2.0, 6.0, 15.0, 35.0]
    return torch.cartesian_prod(true, torch.tensor(rivals, dtype=torch.float64))
