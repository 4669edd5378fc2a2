"""The card of a loss: everything that can be said of it before it is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lossml.card.advice import Advice, advice
from lossml.card.claim import Claim, Method
from lossml.card.consistency import calibrated, confidence, proper
from lossml.card.curves import Curves, Learning, Map, curves, learning, ternary
from lossml.card.effects import Moment, Prior, moments, prior
from lossml.card.formula import Formula, formula
from lossml.card.nearest import PIXELS, Kin, nearest
from lossml.card.optimum import Optimum, optimum
from lossml.card.safety import Safety, safety
from lossml.card.scale import Scale, scale
from lossml.card.shape import bounded, convex, symmetric
from lossml.card.simplex import CLASSES as SIMPLEX
from lossml.card.simplex import best_answers
from lossml.card.subject import Subject, read_subject
from lossml.errors import UsageError
from lossml.program import Axes

CLASSES = (2, 10, 100, 1000)
SHARED_CLASSES = (2, 10, 100)  # where pixels share one loss: an image holds every class
MOST, MOST_SHARED = 1_000, 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Card:
    """What a loss will do.

    Attributes:
        name: as the user gave it.
        classes: number of classes at which it is compared, drawn and tried, where nothing else is said.
        shared: what shares one loss: "" (each sample has its own), "pixels" or "samples".
        formula: how it is written, None for a PyTorch loss.
        kin: equal and nearest published losses.
        optima: where a sample with a hard label has its least loss, by number of classes.
        proper: whether the best answer to uncertain labels is their shares.
        calibrated: whether the best answer puts the most frequent label first.
        confidence: whether the best answer is as certain as the labels.
        symmetric: whether the losses of all labels add up to a constant.
        bounded: whether it has a least and a greatest value.
        convex: whether it is convex in the logits.
        scales: the gradient against cross-entropy's, by number of classes.
        safety: whether it stays finite, by precision.
        advice: what to expect in training, warnings first.
        moments: what training progress changes, for one that reads t.
        prior: what uneven classes change, for one that reads pi.
        curves: value and slope over one probability.
        map: value over three classes.
        learning: descent from the even answer.
        left_out: what could not be said, and why.
    """

    name: str
    classes: int
    shared: str
    formula: Formula | None
    kin: Kin | None
    optima: tuple[Optimum, ...]
    proper: Claim
    calibrated: Claim
    confidence: Claim
    symmetric: Claim
    bounded: Claim
    convex: Claim
    scales: tuple[Scale, ...]
    safety: tuple[Safety, ...]
    advice: tuple[Advice, ...]
    moments: tuple[Moment, ...]
    prior: Prior | None
    curves: Curves | None
    map: Map | None
    learning: Learning | None
    left_out: tuple[str, ...]

    @property
    def claims(self) -> dict[str, Claim]:
        """The verdicts, by the name of the property."""
        return {
            "proper": self.proper,
            "calibrated": self.calibrated,
            "as certain as labels": self.confidence,
            "symmetric": self.symmetric,
            "bounded": self.bounded,
            "convex": self.convex,
        }


def inspect(loss: object, *, classes: int = 10) -> Card:
    """Say what a loss will do, before it is trained.

    Args:
        loss: a zoo name, an expression, a file that `lossml export` wrote, "module:attribute", a `ProgramLoss`, a
            program, or any PyTorch loss: a module, a class of one, or a function of logits (B, C) and targets (B,).
        classes: number of classes for all that is not looked at over several, 2 to 1,000; to 100
            where pixels or samples share one loss.

    Returns:
        An immutable card. Losses that read t are described at the end of training, losses that read pi with even
        classes; `moments` and `prior` say what changes.

    Raises:
        UsageError: for what is no loss, or a number of classes outside the range.

    Sources:
        Each claim names its method; the definitions are cited in `lossml.card.consistency` and `lossml.card.shape`.
    """
    if not 2 <= classes <= MOST:
        raise UsageError(f"classes is {classes}; a card is drawn for 2 to {MOST} classes")
    subject = read_subject(loss, classes)
    if subject.coupled and classes > MOST_SHARED:
        raise UsageError(
            f"classes is {classes}; {subject.name[:80]} is one loss of many samples, drawn for at most {MOST_SHARED}"
        )
    return _Maker(subject, classes).card()


def value_curves(loss: object, *, classes: int = 10) -> Curves | None:
    """Return the curves of a loss's card alone, which take a hundredth of a card's time; None where it has none.

    Args:
        loss: as `inspect` takes it.
        classes: number of classes.
    """
    maker = _Maker(read_subject(loss, classes), classes)
    return maker.tried("curves", lambda: curves(maker.subject, classes, maker.factor(classes)))


class _Maker:
    """Makes the parts in turn, keeping what a user's loss refuses."""

    def __init__(self, subject: Subject, classes: int) -> None:
        self.subject, self.classes = subject, classes
        self.left_out: list[str] = []

    def tried(self, what: str, part: Callable[[], T]) -> T | None:
        """Make a part; a PyTorch loss may not take every number of classes, another has no gradient anywhere."""
        try:
            return part()
        except UsageError as error:
            self.left_out.append(f"{what}: {error}")
            return None

    def claim(self, what: str, part: Callable[[], Claim]) -> Claim:
        return self.tried(what, part) or Claim("unknown", self.left_out[-1], Method("sampled", "of logits"))

    def card(self) -> Card:
        subject, classes = self.subject, self.classes
        numbers = SHARED_CLASSES if subject.coupled else CLASSES
        optima = self.several(numbers, lambda c: optimum(subject, c))
        scales = self.several(numbers, lambda c: scale(subject, c))
        safeties = safety(subject, classes)
        factor = self.factor(classes)
        bounds = self.claim("bounded", lambda: bounded(subject, classes))
        bests = self.tried(f"{SIMPLEX} classes", lambda: best_answers(subject))
        unknown = Claim("unknown", "" if bests else self.left_out[-1], Method("sampled", "of the simplex"))
        return Card(
            name=subject.name,
            classes=classes,
            shared={Axes.PIXEL: "pixels", Axes.BATCH: "samples"}.get(subject.coupled, ""),
            formula=self.formula(),
            kin=self.tried("nearest loss", lambda: nearest(subject, classes)),
            optima=optima,
            proper=unknown if bests is None else proper(subject, bests),
            calibrated=unknown if bests is None else calibrated(subject, bests),
            confidence=unknown if bests is None else confidence(subject, bests),
            symmetric=self.claim("symmetric", lambda: symmetric(subject, classes)),
            bounded=bounds,
            convex=self.claim("convex", lambda: convex(subject, bounds, classes if bests is None else SIMPLEX)),
            scales=scales,
            safety=safeties,
            advice=advice(scales, optima, safeties),
            moments=self.tried("training", lambda: moments(subject, classes)) or (),
            prior=self.tried("prior", lambda: prior(subject)),
            curves=self.tried("curves", lambda: curves(subject, classes, factor)),
            map=self.tried("map", lambda: ternary(subject, self.factor(SIMPLEX))),
            learning=self.tried("learning", lambda: learning(subject, classes, factor)),
            left_out=tuple(dict.fromkeys(self.left_out)),
        )

    def several(self, numbers: tuple[int, ...], part: Callable[[int], T]) -> tuple[T, ...]:
        """Make a part for every number of classes that the loss takes."""
        found = (self.tried(f"{c:,} classes", lambda c=c: part(c)) for c in numbers)
        return tuple(one for one in found if one is not None)

    def factor(self, classes: int) -> float:
        """Return what gives the loss cross-entropy's gradient at the start, 1 where it has none or no finite one."""
        found = self.tried(f"{classes:,} classes", lambda: scale(self.subject, classes))
        return 1.0 / found.start.against if found and 0 < found.start.against < float("inf") else 1.0

    def formula(self) -> Formula | None:
        if self.subject.program is None:
            return None
        return formula(self.subject.program, self.classes, pixels=PIXELS if self.subject.coupled is Axes.PIXEL else 1)
