"""What to expect of a loss in training: learning rates, optimizers, and where it will stall."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lossml.card.claim import listed, number
from lossml.card.optimum import Optimum
from lossml.card.safety import Safety
from lossml.card.scale import Scale

SMALL = 0.1  # of cross-entropy's gradient: below it plain SGD at cross-entropy's learning rate stalls
TINY = 1e-4  # below it the epsilon of Adam counts too
LARGE = 10.0
SMOOTH = 0.02  # implied label smoothing worth a word


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to know before training.

    Attributes:
        level: "warning" where training will fail or stall as it stands, else "note".
        text: what happens, and what to do.
    """

    level: Literal["warning", "note"]
    text: str


def advice(scales: Sequence[Scale], optima: Sequence[Optimum], safeties: Sequence[Safety]) -> tuple[Advice, ...]:
    """Say what to expect, warnings first."""
    found = [*_start(scales), *_wrong(scales), *_optimum(optima), *_safety(safeties)]
    return tuple(sorted(found, key=lambda one: one.level != "warning"))


def _listed(rows: Sequence[Scale], values: Sequence[float]) -> str:
    """Write a value for each number of classes; values that read alike once."""
    words = [number(value) for value in values]
    where = listed([f"{row.classes:,}" for row in rows]) + " classes"
    return f"{words[0]} at {where}" if len(set(words)) == 1 else f"{listed(words)} at {where}"


def _start(scales: Sequence[Scale]) -> Iterator[Advice]:
    still = [row for row in scales if not row.start.size > 0]
    if still:
        yield Advice("warning", f"It has no gradient where all logits are equal ({_classes(still)}): nothing starts.")
    down = [row for row in scales if row.start.size > 0 and not row.start.upward]
    if down:
        yield Advice("warning", f"At the start it pushes the true class down ({_classes(down)}).")
    small = [row for row in scales if 0 < row.start.against < SMALL]
    if small:
        yield Advice("warning", _stalls(small))
    tiny = [row for row in scales if 0 < row.start.against < TINY]
    if tiny:
        text = f"At {_classes(tiny)} the gradient comes near Adam's epsilon of 1e-8, so that Adam slows down too"
        yield Advice("warning", f"{text}: scale the loss, as LossML's own training does.")
    large = [row for row in scales if row.start.against > LARGE]
    if large:
        values = _listed(large, [row.start.against for row in large])
        yield Advice("warning", f"SGD at cross-entropy's learning rate diverges: the gradient is {values} times its.")
    if scales and not (still or small or large):
        values = _listed(scales, [row.start.against for row in scales])
        yield Advice(
            "note",
            f"SGD and Adam work at about cross-entropy's learning rates: the gradient at the start is {values} of its.",
        )


def _stalls(small: Sequence[Scale]) -> str:
    shares = _listed(small, [row.start.against for row in small])
    factors = _listed(small, [1.0 / row.start.against for row in small])
    return (
        f"SGD at cross-entropy's learning rate stalls: at the start the gradient is {shares} of cross-entropy's. "
        f"Multiply the learning rate by {factors}, or use Adam or AdamW, which divide by the gradient's size."
    )


def _wrong(scales: Sequence[Scale]) -> Iterator[Advice]:
    rows = [row for row in scales if row.start.against > 0]
    shares = [row.wrong.against / row.start.against for row in rows]
    weak = [(row, share) for row, share in zip(rows, shares, strict=True) if share < SMALL]
    steep = [(row, share) for row, share in zip(rows, shares, strict=True) if share > LARGE]
    if weak:
        values = _listed(*zip(*weak, strict=True))
        yield Advice(
            "warning",
            f"It gives up what is certainly wrong: at matched learning rates a sample with a wrong class at p = 0.99 "
            f"gets {values} of cross-entropy's push. That helps against wrong labels, and stalls on hard ones.",
        )
    if steep:
        values = _listed(*zip(*steep, strict=True))
        yield Advice(
            "warning", f"Certain wrong answers explode, to {values} times cross-entropy's push: clip gradients."
        )


def _optimum(optima: Sequence[Optimum]) -> Iterator[Advice]:
    short = [row for row in optima if row.smoothing > SMOOTH]
    if short:
        where = listed([f"{row.classes:,}" for row in short])
        ends = f"{listed([f'{row.probability:.3f}' for row in short])} at {where} classes"
        yield Advice(
            "note",
            f"Expect under-confident probabilities: a sample that is learned ends at p = {ends}. Judge "
            "by accuracy, and calibrate before probabilities are read.",
        )
    dearer = [row for row in optima if row.certain_costs_more]
    if dearer:
        where = listed([f"{row.classes:,}" for row in dearer])
        yield Advice("note", f"A certain right answer costs more than the even one at {where} classes.")


def _safety(safeties: Sequence[Safety]) -> Iterator[Advice]:
    for row in safeties:
        if row.fails_from is not None:
            text = f"In {row.precision} it fails from logits of {row.fails_from:g}, at {row.where}: {row.why}."
            yield Advice("warning", text)


def _classes(rows: Sequence[Scale]) -> str:
    return f"{listed([f'{row.classes:,}' for row in rows])} classes"
