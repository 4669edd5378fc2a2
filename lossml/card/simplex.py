"""What a loss wants where labels are not certain: the answer with the least expected loss, over the simplex.

Three classes, labels in given shares, one answer to them all.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lossml.card.minimise import zoomed
from lossml.card.scene import answer, flat, logits_of, risk, risk_slopes
from lossml.card.subject import Subject
from lossml.errors import UsageError

CLASSES = 3
TENTHS = 10
FINENESS = 40  # of the grid of answers: steps along one side of the triangle
LEAST = 1e-9  # a probability taken for 0


@dataclass(frozen=True, slots=True)
class Best:
    """The best answer to one label distribution.

    Attributes:
        shares: of the labels.
        answer: at the least expected loss.
        wrong: the best answer whose most probable class is another.
        gap: how much more that one costs, relative to the spread of the expected loss.
        excess: how much more the shares themselves cost, likewise.
        slope: of the expected loss at the shares, relative to the slopes of the single labels; nan at an edge.
    """

    shares: tuple[float, ...]
    answer: tuple[float, ...]
    wrong: tuple[float, ...]
    gap: float
    excess: float
    slope: float


@lru_cache(maxsize=4)
def triangle(fineness: int) -> Tensor:
    """Return all (P, 3) of that many parts shared by three classes."""
    rows = [(a, b, fineness - a - b) for a in range(fineness + 1) for b in range(fineness + 1 - a)]
    return torch.tensor(rows, dtype=torch.float64) / fineness


def label_shares(*, ordered: bool) -> Tensor:
    """Return the shares (M, 3) of labels, in tenths, with one most frequent class."""
    rows = triangle(TENTHS)
    top = rows.sort(1, descending=True).values
    rows = rows[(top[:, 0] - top[:, 1]) > 0.5 / TENTHS]
    return rows[(rows.diff(dim=1) <= 0).all(1)] if ordered else rows


def answers(subject: Subject) -> Tensor:
    """Return logits (P, 3) of answers all over the simplex, or over the cube where a shift of all counts."""
    if subject.invariant:
        inside = triangle(FINENESS).clamp(min=LEAST)
        found = (inside / inside.sum(1, keepdim=True)).log()
        return found - found[:, 2:]
    line = torch.tensor([-20.0, -8.0, -4.0, -3.0, -2.0, -1.4, -0.9, -0.4, 0.0], dtype=torch.float64)
    line = torch.cat([line, -line[:-1].flip(0)])
    return torch.cartesian_prod(line, line, line)


def best_answers(subject: Subject) -> tuple[Best, ...]:
    """Find the best answer, right or wrong, to each of the label shares.

    Raises:
        UsageError: from a PyTorch loss that does not take three classes, and for one that is the same everywhere.
    """
    shares = label_shares(ordered=subject.program is not None)  # a program treats all classes alike
    grid = answers(subject)
    values = risk(subject, grid.unsqueeze(0), shares).detach().double().nan_to_num(nan=torch.inf)
    if flat(values):
        raise UsageError(f"{subject.name[:80]} has the same expected value for all answers, and so no best one")
    spread = _spread(values)
    best, least = _refined(subject, shares, grid[values.argmin(1)])
    top = shares.argmax(1)
    others = grid.unsqueeze(0).masked_fill(torch.nn.functional.one_hot(top, CLASSES).bool().unsqueeze(1), -torch.inf)
    is_wrong = others.amax(2) >= grid[:, top].T
    start = grid[values.masked_fill(~is_wrong, torch.inf).argmin(1)]
    wrong, costs = _refined(subject, shares, start, top)
    gap = (torch.minimum(costs, values.masked_fill(~is_wrong, torch.inf).amin(1)) - least) / spread
    excess, slope = _at_the_shares(subject, shares, least, spread)
    rows = zip(shares, answer(subject, best), answer(subject, wrong), gap, excess, slope, strict=True)
    return tuple(Best(_plain(s), _plain(b), _plain(w), float(g), float(e), float(d)) for s, b, w, g, e, d in rows)


def _plain(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _spread(values: Tensor) -> Tensor:
    """Return how much the expected loss varies over the better half of all answers, for each of the label shares."""
    return (values.quantile(0.5, 1) - values.amin(1)).clamp(min=1e-300)


def _refined(subject: Subject, shares: Tensor, start: Tensor, top: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Search from the start for the best answers; with `top`, for those that put another class first."""

    def allowed(points: Tensor) -> Tensor:
        if top is None:
            return points
        first = torch.nn.functional.one_hot(top, CLASSES).bool().unsqueeze(1)
        rival = points.masked_fill(first, -torch.inf).amax(2, keepdim=True)
        return torch.where(first, torch.minimum(points, rival), points)

    def expected(points: Tensor) -> Tensor:
        return risk(subject, points, shares).detach().double()

    return zoomed(expected, start, CLASSES - subject.invariant, allowed)


def _at_the_shares(subject: Subject, shares: Tensor, least: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
    """Compare the expected loss of answering the shares themselves with the least one."""
    inside = (shares > 0).all(1)
    excess = torch.full_like(least, torch.nan)
    slope = torch.full_like(least, torch.nan)
    own, logits = shares[inside], logits_of(subject, shares[inside])
    excess[inside] = (risk(subject, logits.unsqueeze(1), own).detach().double().squeeze(1) - least[inside]) / spread[
        inside
    ]
    slope[inside] = risk_slopes(subject, logits, own).double().norm(dim=1) / _single_slopes(subject, logits, own)
    return excess, slope


def _single_slopes(subject: Subject, logits: Tensor, shares: Tensor) -> Tensor:
    """Return the mean size (M,) of the slopes that single labels give, which balance at the best answer."""
    sure = torch.eye(CLASSES, dtype=torch.float64)
    sizes = [risk_slopes(subject, logits, label.expand(len(logits), -1)).double().norm(dim=1) for label in sure]
    return (torch.stack(sizes, 1) * shares).sum(1).clamp(min=1e-300)
