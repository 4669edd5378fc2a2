"""Where programs are compared with the target, and by what measure.

Disagreement is the sine of the angle between two logit gradients taken at all points together: the
share of the target's gradient that no positive factor on the program explains, from 0 (the same
loss up to scale) to 1. A sample counts relative to the size of the target's gradient there, or to
the median size where that is larger, so that neither the few points where 1/p explodes nor those
where nothing happens decide alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend import Probe, logit_gradients, make_probe
from lossml.backend.probe import SPREADS
from lossml.distill.target import Target
from lossml.errors import UsageError
from lossml.program import Node

SEARCH_NUMBERS = 320  # logits a program is searched on, about: 32 samples of 10 classes
CHECK_NUMBERS = 4096  # logits of the fresh points on which the result is judged
FEWEST = 8  # samples, however many classes there are: two of each spread


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Probe points and the target's gradient there.

    Attributes:
        probe: logits and labels.
        weight: of each sample, (B, 1, 1).
        unit: the target's weighted gradient, flat, of length 1.
        size: the length it had.
    """

    probe: Probe
    weight: Tensor
    unit: Tensor
    size: float


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Programs at points.

    Attributes:
        rows: weighted gradients (K, D), of length 1, or 0 where not finite or without gradient.
        sizes: the lengths they had (K,).
        cosines: with the target's (K,).
    """

    rows: Tensor
    sizes: Tensor
    cosines: Tensor


def search_points(target: Target, classes: int) -> Points:
    """Return the points of the search: the first of the probe at which losses are always compared."""
    probe = make_probe(classes)
    count = max(FEWEST, min(len(probe.target), SEARCH_NUMBERS // classes))
    return at(target, Probe(probe.logits[:count], probe.target[:count], probe.prior))


def check_points(target: Target, classes: int) -> Points:
    """Return points that the search has not seen."""
    count = max(FEWEST, min(256, CHECK_NUMBERS // classes))
    generator = torch.Generator().manual_seed(7_310_223)
    spread = torch.tensor(SPREADS, dtype=torch.float64).repeat(count // len(SPREADS) + 1)[:count]
    logits = torch.randn(count, classes, 1, generator=generator, dtype=torch.float64) * spread.view(-1, 1, 1)
    labels = torch.randint(0, classes, (count, 1), generator=generator)
    return at(target, Probe(logits, labels, make_probe(classes).prior))


def at(target: Target, probe: Probe) -> Points:
    """Take the target's gradient at probe points; a UsageError where it is not finite or there is none."""
    gradient = target.gradient(probe)
    if not bool(gradient.isfinite().all()):
        raise UsageError(f"{target.name[:80]} has a gradient that is not finite at ordinary logits; nothing equals it")
    lengths = gradient.square().sum(1, keepdim=True).sqrt()
    if not bool((lengths > 0).any()):
        raise UsageError(f"{target.name[:80]} has no gradient at the probe points; there is nothing to distil")
    weight = 1.0 / torch.maximum(lengths, lengths[lengths > 0].median())
    flat = (gradient * weight).flatten()
    size = float(flat.norm())
    return Points(probe, weight, flat / size, size)


def judge(programs: Sequence[Node], points: Points) -> Judged:
    """Take the gradients of K programs at points."""
    return judge_gradients(logit_gradients(programs, points.probe.logits, points.probe), points)


def judge_gradients(gradients: Tensor, points: Points) -> Judged:
    """Compare gradients (K, B, C, 1) with the target's."""
    flat = (gradients * points.weight).flatten(1)
    sizes = flat.norm(dim=1)
    usable = sizes.isfinite() & (sizes > 1e-200)
    rows = torch.where(usable.unsqueeze(1), flat / sizes.unsqueeze(1), 0.0)
    return Judged(rows, torch.where(usable, sizes, 0.0), rows @ points.unit)


def disagreement(rows: Tensor, points: Points) -> Tensor:
    """Return the sine (K,) of the angle to the target, 1 where it is obtuse; exact also where it is tiny."""
    cosines = rows @ points.unit
    apart = (rows - cosines.unsqueeze(1) * points.unit).norm(dim=1)
    return torch.where(cosines > 0, apart.clamp(0.0, 1.0), 1.0)
