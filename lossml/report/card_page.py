"""The loss card as one HTML page that needs nothing from anywhere."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from lossml.card import Card, Curve, Curves, Learning
from lossml.report import card_rows as rows
from lossml.report.chart import Line, chart, ternary
from lossml.report.markup import Child, page, table, tag


def card_page(card: Card) -> str:
    """Write a card as an HTML document, its plots inline."""
    return page(f"{card.name}: loss card", *_parts(card))


def _parts(card: Card) -> Iterator[Child]:
    yield tag("h1", card.name)
    yield from (tag("p", line) for line in rows.what_it_is(card))
    yield tag("h2", "What to expect")
    yield tag("ul", *(tag("li", *_advice(warns, text)) for warns, text in rows.advice_rows(card)))
    yield tag("h2", "Optimum and gradient")
    yield table(rows.SIZES, rows.size_rows(card), rows.size_caption(card), numbers=True)
    yield tag("h2", "Properties")
    yield table(rows.CLAIMS, rows.claim_rows(card))
    yield tag("h2", "Plots")
    yield tag("div", *charts(card), class_="charts")
    yield tag("h2", "Precision")
    yield table(rows.SAFETY, rows.safety_rows(card))
    yield from _changes(card)
    yield from _formula(card)
    yield from (tag("p", f"Left out: {line}", class_="soft") for line in card.left_out)


def _advice(warns: bool, text: str) -> tuple[Child, ...]:  # noqa: FBT001 - as the row has it
    return (tag("span", "Warning: ", class_="warning"), text) if warns else (text,)


def _changes(card: Card) -> Iterator[Element]:
    if card.moments:
        yield tag("h2", "Over training")
        yield table(rows.MOMENTS, rows.moment_rows(card), numbers=True)
    if card.prior:
        yield tag("h2", "Where classes are uneven")
        yield table(rows.PRIOR, rows.prior_rows(card), numbers=True)


def _formula(card: Card) -> Iterator[Element]:
    found = rows.formula_rows(card)
    if found:
        yield tag("h2", "Formula")
        yield tag("dl", *(part for name, text in found for part in (tag("dt", name), tag("dd", tag("code", text)))))


def charts(card: Card) -> Iterator[Element]:
    """Draw the card's plots, each with its caption."""
    if card.curves:
        yield from _curves(card, card.curves)
    if card.map:
        yield _figure(ternary(f"Map of {card.name}", card.map), rows.walk_caption(card))
    if card.learning:
        words = (
            f"Gradient descent on one sample's logits from the even answer, {card.classes} classes, learning rate 1. "
            "Matched: the gradient scaled to cross-entropy's at the start."
        )
        yield _figure(_learning(card, card.learning), words)


def _figure(drawing: Element, words: str) -> Element:
    return tag("figure", drawing, tag("figcaption", words))


def _curves(card: Card, found: Curves) -> Iterator[Element]:
    reference = found.reference
    values = _four((found.true, found.rival), (reference[0], reference[1]))
    slopes = _four((found.true_slope, found.rival_slope), (reference[2], reference[3]))
    words = (
        f"One class's probability runs from 0 to 1, the other {card.classes - 1} are equal. The loss is taken times "
        f"{found.factor:.3g}, which gives it cross-entropy's gradient at the start, less its value at the even answer."
    )
    yield _figure(chart(f"Value of {card.name}", "probability of the class", "value", values), words)
    words = "Gradient by the logit of the class whose probability runs; below zero its logit is pushed up."
    yield _figure(chart(f"Gradient of {card.name}", "probability of the class", "gradient", slopes), words)


def _four(ours: tuple[Curve, Curve], theirs: tuple[Curve, Curve]) -> list[Line]:
    names = ("the true class", "another class")
    rows = [Line(name, curve, tint) for name, curve, tint in zip(names, ours, "ab", strict=True)]
    dashed = [Line(f"{n}, cross-entropy", c, t, reference=True) for n, c, t in zip(names, theirs, "ab", strict=True)]
    return [*rows, *dashed]


def _learning(card: Card, found: Learning) -> Element:
    lines = [
        Line("at cross-entropy's rate", found.plain, "b"),
        Line("matched", found.matched, "a"),
        Line("cross-entropy", found.reference, "a", reference=True),
    ]
    return chart(f"Learning path of {card.name}", "step", "probability of the true class", lines, logarithmic=True)
