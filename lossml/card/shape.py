"""The shape of a loss: symmetric in the labels, bounded, convex in the logits."""

import torch
from torch import Tensor

from lossml.card.claim import Claim, Method, number, numbers
from lossml.card.range import interval_of
from lossml.card.scene import UNITS, by_label, flat, hard, label_slopes, together
from lossml.card.subject import Subject

SPREADS = (0.3, 1.0, 3.0, 8.0)  # of logits, from an undecided answer to a certain one
SAMPLES, FEWEST = 64, 4
NUMBERS = 1_000_000  # logits of all samples with all labels
PAIRS = 4_000
FARTHEST = 1e4  # logits
GROWS = 2.0  # a loss that doubles from FARTHEST/10 to FARTHEST has no bound
GHOSH = "tolerates uniform label noise below (C - 1)/C (Ghosh et al. 2017)"


def drawn(count: int, classes: int, seed: int) -> Tensor:
    """Draw logits (count, classes) of all spreads, the same for ever."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.tensor(SPREADS, dtype=torch.float64).repeat(count // len(SPREADS) + 1)[:count]
    return torch.randn(count, classes, generator=generator, dtype=torch.float64) * spread.unsqueeze(1)


def symmetric(subject: Subject, classes: int) -> Claim:
    """Say whether the losses of all labels add up to a constant, and if not, how much of their gradients is left."""
    if subject.coupled:
        return Claim(
            "unknown", "a sample has no loss of its own, so the sum over its labels means nothing", _at(0, classes)
        )
    logits = drawn(max(FEWEST, min(SAMPLES, NUMBERS // classes**2)), classes, 11)
    slopes = label_slopes(subject, logits).double()
    left = float(slopes.sum(1).norm() / slopes.norm(dim=2).sum(1).norm().clamp(min=1e-300))
    total = by_label(subject, logits).detach().double().sum(1)
    method = _at(len(logits), classes)
    if left < 10 * subject.noise:
        return Claim("yes", f"the losses of all labels add up to {number(float(total.mean()))}: {GHOSH}", method, left)
    ends = f"{number(float(total.min()))} to {number(float(total.max()))}"
    return Claim(
        "no", f"the losses of all labels add up to {ends}; {left:.0%} of their gradients is left", method, left
    )


def _at(points: int, classes: int) -> Method:
    return Method("sampled", f"at {classes} classes", points)


def bounded(subject: Subject, classes: int) -> Claim:
    """Say whether the loss has a least and a greatest value."""
    values = _far(subject, classes, FARTHEST)
    ends = f"{number(float(values.min()))} to {number(float(values.max()))}"
    proven = None if subject.program is None else interval_of(subject.program, classes, UNITS)
    if proven is not None and abs(proven.low) + abs(proven.high) < float("inf"):
        where = f"at {classes} classes" + (f" and {UNITS} pixels" if subject.coupled else "")
        return Claim("yes", f"values seen lie from {ends}", Method("interval", f"{where}: it lies in {proven}"))
    method = Method("sampled", f"of logits to ±{FARTHEST:g} at {classes} classes", len(values))
    if not bool(values.isfinite().all()):
        return Claim("no", f"it is not finite at logits of ±{FARTHEST:g}", method)
    size, nearer = float(values.abs().max()), float(_far(subject, classes, FARTHEST / 10).abs().max())
    if size > GROWS * nearer:
        return Claim(
            "no", f"it grows from {number(nearer)} to {number(size)} between logits of ±1000 and ±10000", method
        )
    return Claim("yes", f"values seen lie from {ends}", method)


def _far(subject: Subject, classes: int, size: float) -> Tensor:
    """Evaluate ordinary answers and the most certain ones, right and wrong."""
    ordinary = drawn(SAMPLES, classes, 12)
    corners = torch.eye(classes, dtype=torch.float64)[:3]
    corners = size * torch.cat([corners, -corners, 2 * corners - 1, 1 - 2 * corners])
    return hard(subject, torch.cat([ordinary, corners, size / 8 * ordinary])).detach().double()


def convex(subject: Subject, is_bounded: Claim, classes: int) -> Claim:
    """Say whether the loss is convex in the logits; where not, show two answers that it lies above between."""
    one, other = _segments(subject, classes)
    labels = torch.zeros(one.shape[:2], dtype=torch.long) if not subject.coupled else _mixed(one)
    first, second, middle = (together(subject, z, labels).detach().double() for z in (one, other, (one + other) / 2))
    if flat(torch.cat([first, second, middle])):
        return Claim("yes", "its value is the same for all answers", Method("sampled", "of logits", 3 * len(one)))
    above = middle - (first + second) / 2
    size = (first - second).abs() + subject.noise * (first.abs() + second.abs() + middle.abs()) + 1e-300
    share, worst = (above / size).nan_to_num(nan=-1.0).max(0)
    method = Method("sampled", f"of segments at {classes} classes", len(one))
    if float(share) > 10 * subject.noise and float(above[worst]) > 10 * subject.noise * float(middle[worst].abs()):
        values = f"{float(middle[worst]):.6g} is above {float((first + second)[worst] / 2):.6g}"
        return Claim("no", f"{_between(subject, one[worst], other[worst])} {values}, the mean of the ends", method)
    if is_bounded.verdict == "yes":
        theorem = "a convex function that is bounded is constant, and this one is not"
        kind = "exact" if is_bounded.method.kind == "interval" else "sampled"
        return Claim("no", theorem, Method(kind, "from its bounds", is_bounded.method.points))
    return Claim("yes", "no segment was found between whose ends it lies above the chord", method)


def _segments(subject: Subject, classes: int) -> tuple[Tensor, Tensor]:
    """Draw the ends of segments, far apart and near: samples (K, 1, C), or images of three pixels that share a loss."""
    pixels = 3 if subject.coupled else 1
    ends = drawn(2 * PAIRS * pixels, classes, 13).view(-1, pixels, classes)
    one, other = ends[:PAIRS], ends[PAIRS:].clone()
    other[PAIRS // 2 :] = one[PAIRS // 2 :] + other[PAIRS // 2 :] / 8
    return (10 * one).round() / 10, (10 * other).round() / 10  # so that the counterexample is exact as it is shown


def _mixed(scenes: Tensor) -> Tensor:
    return (torch.arange(scenes.shape[1]) % scenes.shape[2]).expand(scenes.shape[:2])


def _between(subject: Subject, one: Tensor, other: Tensor) -> str:
    if subject.coupled:
        return "halfway between two images of three pixels,"
    return f"halfway between the logits {numbers(one[0].tolist())} and {numbers(other[0].tolist())}, true class first,"
