"""What a card plots: value and slope curves, the map over three classes, and two ways of learning."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lossml.card.consistency import EXAMPLE
from lossml.card.scale import cross_entropy
from lossml.card.scene import answer, hard, risk_slopes, slopes
from lossml.card.simplex import LEAST, triangle
from lossml.card.subject import Subject

STEPS = 300
RATE = 1.0  # learning rate on free logits; cross-entropy needs about ten steps
STRIDE = 0.25  # learning rate of the walk, which should not overshoot
FINENESS = 24  # of the map: steps along one side
SHARES = tuple(k / 100 for k in range(1, 100))


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot.

    Attributes:
        x: probabilities, or steps.
        y: of the same length.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Curves:
    """What a loss and cross-entropy make of one sample, the loss times `factor`.

    Attributes:
        factor: that gives the loss cross-entropy's gradient at the start; 1 where it has none there.
        true: value over the true class's probability, the others equal, less the value of the even answer.
        rival: value over one other class's probability, the rest equal.
        true_slope: gradient by the true class's logit over the true class's probability.
        rival_slope: gradient by the other class's logit over that class's probability.
        reference: the same four of cross-entropy.
    """

    factor: float
    true: Curve
    rival: Curve
    true_slope: Curve
    rival_slope: Curve
    reference: tuple[Curve, Curve, Curve, Curve]


@dataclass(frozen=True, slots=True)
class Map:
    """The value over all answers of three classes, the first being true.

    Attributes:
        answers: probabilities of each point of a triangular grid, row by row.
        values: there.
        fineness: number of steps along a side.
        labels: shares of the labels that the walk learns.
        walk: the answers on the way from the even one, gradients scaled as cross-entropy's.
    """

    answers: tuple[tuple[float, float, float], ...]
    values: tuple[float, ...]
    fineness: int
    labels: tuple[float, float, float]
    walk: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Learning:
    """The true class's probability over the steps of plain gradient descent on the logits of one sample.

    Attributes:
        plain: at the learning rate of cross-entropy.
        matched: at the rate that gives the loss cross-entropy's gradient at the start.
        reference: cross-entropy.
    """

    plain: Curve
    matched: Curve
    reference: Curve


def curves(subject: Subject, classes: int, factor: float) -> Curves:
    """Draw value and slope where one class's probability runs from 0 to 1 and the others are equal."""
    ours, theirs = _four(subject, classes, factor), _four(cross_entropy(), classes, 1.0)
    return Curves(factor, *ours, reference=theirs)


def _four(subject: Subject, classes: int, factor: float) -> tuple[Curve, Curve, Curve, Curve]:
    logits = torch.zeros(2, len(SHARES), classes, dtype=torch.float64)
    if subject.link == "sigmoid":
        logits -= math.log(classes - 1)
    odds = torch.tensor([math.log(p / (1 - p)) for p in SHARES], dtype=torch.float64)
    logits[0, :, 0] = logits[1, :, 1] = odds + (0.0 if subject.link == "sigmoid" else math.log(classes - 1))
    even = hard(subject, torch.zeros(1, classes, dtype=torch.float64)).detach()
    values = [factor * (hard(subject, z).detach() - even) for z in logits]
    rates = [factor * slopes(subject, z)[:, k] for k, z in enumerate(logits)]
    first, second, third, fourth = (Curve(SHARES, _plain(row)) for row in (*values, *rates))
    return first, second, third, fourth


def _plain(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def ternary(subject: Subject, factor: float) -> Map:
    """Map the value over three classes, and walk to what the loss makes of labels in shares 0.7, 0.2 and 0.1.

    Args:
        subject: the loss.
        factor: that gives it cross-entropy's gradient at the start, at three classes.
    """
    shown = triangle(FINENESS)
    inside = shown.clamp(min=0.25 / FINENESS)
    logits = inside.logit() if subject.link == "sigmoid" else inside.log()
    values = _plain(hard(subject, logits).detach())
    rows = tuple((a, b, c) for a, b, c in shown.tolist())
    return Map(rows, values, FINENESS, EXAMPLE, _walk(subject, factor))


def _walk(subject: Subject, factor: float) -> tuple[tuple[float, ...], ...]:
    shares = torch.tensor([EXAMPLE], dtype=torch.float64)
    logits, found = torch.zeros_like(shares), list[tuple[float, ...]]()
    for step in range(STEPS):
        if step in _marked() or step == 0:
            found.append(_plain(answer(subject, logits)[0].clamp(LEAST, 1.0)))
        logits = logits - STRIDE * factor * risk_slopes(subject, logits, shares)
    return tuple(found)


def _marked() -> list[int]:
    """Return the steps that are kept, evenly in their logarithm."""
    return sorted({round(STEPS ** (k / 40)) for k in range(41)})


def learning(subject: Subject, classes: int, factor: float) -> Learning:
    """Descend the logits of one sample from the even answer."""
    rates = torch.tensor([[RATE], [RATE * factor]], dtype=torch.float64)
    plain, matched = _descended(subject, classes, rates)
    return Learning(plain, matched, _reference(classes))


@lru_cache(maxsize=8)
def _reference(classes: int) -> Curve:
    (found,) = _descended(cross_entropy(), classes, torch.full((1, 1), RATE, dtype=torch.float64))
    return found


def _descended(subject: Subject, classes: int, rates: Tensor) -> list[Curve]:
    logits = torch.zeros(len(rates), classes, dtype=torch.float64)
    kept, marked = list[Tensor](), _marked()
    for step in range(1, STEPS + 1):
        logits = logits - rates * slopes(subject, logits)
        if step in marked:
            kept.append(answer(subject, logits)[:, 0])
    return [Curve(tuple(map(float, marked)), _plain(torch.stack(kept)[:, k])) for k in range(len(rates))]
