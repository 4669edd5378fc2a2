"""What training progress and class prior do to a loss that reads them."""

from dataclasses import dataclass

import torch

from lossml.backend import make_probe
from lossml.backend.probe import MOMENTS
from lossml.card.minimise import zoomed
from lossml.card.optimum import optimum
from lossml.card.scale import scale
from lossml.card.scene import answer, risk, risk_slopes
from lossml.card.subject import Subject, variant
from lossml.program import operations


@dataclass(frozen=True, slots=True)
class Moment:
    """A loss that reads t, at one moment of training.

    Attributes:
        progress: t, in [0, 1].
        start: gradient against cross-entropy's, all logits equal.
        wrong: likewise at a certain wrong answer.
        optimum: probability of the true class where the loss is least.
    """

    progress: float
    start: float
    wrong: float
    optimum: float


@dataclass(frozen=True, slots=True)
class Prior:
    """A loss that reads pi, at three classes of uneven shares.

    Attributes:
        shares: of the classes, the rarest first.
        pull: gradient at the start by each class's logit, where the label is that class, against cross-entropy's.
        answer: the best one to labels that are as often each class: pulled to the rare where the loss favours them.
    """

    shares: tuple[float, ...]
    pull: tuple[float, ...]
    answer: tuple[float, ...]


def moments(subject: Subject, classes: int) -> tuple[Moment, ...]:
    """Look at a program at several moments; none where it does not read t."""
    if subject.program is None or "t" not in operations(subject.program):
        return ()
    found = [variant(subject.program, subject, progress=t) for t in MOMENTS]
    rows = [(t, scale(one, classes), optimum(one, classes)) for t, one in zip(MOMENTS, found, strict=True)]
    return tuple(Moment(t, size.start.against, size.wrong.against, best.probability) for t, size, best in rows)


def prior(subject: Subject) -> Prior | None:
    """Look at a program where classes are uneven; None where it does not read pi."""
    if subject.program is None or "pi" not in operations(subject.program):
        return None
    shares = make_probe(3).prior
    uneven = variant(subject.program, subject, prior=shares)
    even = torch.full((1, 3), 1.0 / 3.0, dtype=torch.float64)
    best, _ = zoomed(lambda points: risk(uneven, points, even).detach(), torch.zeros_like(even), 2)
    slopes = risk_slopes(uneven, torch.zeros(3, 3, dtype=torch.float64), torch.eye(3, dtype=torch.float64))
    pull = (-slopes.diagonal() / (2.0 / 3.0)).tolist()  # cross-entropy's own pull at three even logits is 2/3
    return Prior(tuple(shares.tolist()), tuple(pull), tuple(answer(uneven, best)[0].tolist()))
