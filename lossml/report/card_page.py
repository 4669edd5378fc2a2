"""The loss card as one HTML page that needs nothing from anywhere."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from lossml.card import Card, Curve, Curves, Learning
from lossml.report import card_rows as rows
from lossml.report.chart import Line, chart, ternary
from lossml.report.markup import Child, page, table, tag


def card_page(card: Card) -> str:
    """Write a card as an HTML document, its plots inline."""
    return page(f"{card.name}: loss card", tag("main", tag("h1", card.name), *card_parts(card)))


def card_parts(card: Card, level: int = 2) -> Iterator[Element]:
    """Lay out a card without its name.

    Args:
        card: what is shown.
        level: of its headings; 2 where the name above has 1.
    """
    yield from (tag("p", line) for line in rows.what_it_is(card))
    for name, found in _sections(card):
        yield tag(f"h{level}", name)
        yield from found
    yield from (tag("p", f"Left out: {line}", class_="soft") for line in card.left_out)


def _sections(card: Card) -> Iterator[tuple[str, list[Element]]]:
    yield "What to expect", [advice_list(card)]
    yield "Optimum and gradient", [table(rows.SIZES, rows.size_rows(card), rows.size_caption(card), numbers=True)]
    yield "Properties", [table(rows.CLAIMS, rows.claim_rows(card))]
    yield "Plots", [tag("div", *charts(card), class_="charts")]
    yield "Precision", [table(rows.SAFETY, rows.safety_rows(card))]
    if card.moments:
        yield "Over training", [table(rows.MOMENTS, rows.moment_rows(card), numbers=True)]
    if card.prior:
        yield "Where classes are uneven", [table(rows.PRIOR, rows.prior_rows(card), numbers=True)]
    if found := rows.formula_rows(card):
        parts = (part for name, text in found for part in (tag("dt", name), tag("dd", tag("code", text))))
        yield "Formula", [tag("dl", *parts)]


def advice_list(card: Card) -> Element:
    """List what to expect of a loss, warnings first."""
    return tag("ul", *(tag("li", *_advice(warns, text)) for warns, text in rows.advice_rows(card)))


def _advice(warns: bool, text: str) -> tuple[Child, ...]:  # noqa: FBT001 - as the row has it
    return (tag("span", "Warning: ", class_="warning"), text) if warns else (text,)


def charts(card: Card) -> Iterator[Element]:
    """Draw the card's plots, each with its caption."""
    if card.curves:
        yield from map(_figure, curve_charts(card.name, card.curves), _curve_captions(card, card.curves))
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


def curve_charts(name: str, found: Curves) -> tuple[Element, Element]:
    """Draw the value and the gradient of a loss over one class's probability, with cross-entropy's dashed."""
    reference = found.reference
    values = _four((found.true, found.rival), (reference[0], reference[1]))
    slopes = _four((found.true_slope, found.rival_slope), (reference[2], reference[3]))
    return (
        chart(f"Value of {name}", "probability of the class", "value", values),
        chart(f"Gradient of {name}", "probability of the class", "gradient", slopes),
    )


def _curve_captions(card: Card, found: Curves) -> tuple[str, str]:
    values = (
        f"One class's probability runs from 0 to 1, the other {card.classes - 1} are equal. The loss is taken times "
        f"{found.factor:.3g}, which gives it cross-entropy's gradient at the start, less its value at the even answer."
    )
    return values, "Gradient by the logit of the class whose probability runs; below zero its logit is pushed up."


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
