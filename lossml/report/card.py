"""The loss card on a terminal."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossml.card import Card
from lossml.report import card_rows as rows

STYLES = {"yes": "green", "no": "yellow", "unknown": "dim"}


def card_view(card: Card) -> RenderableType:
    """Show a card: what it is, what to expect, figures, verdicts with their methods, formula."""
    return Group(*_parts(card))


def _parts(card: Card) -> Iterator[RenderableType]:
    yield Text(card.name, style="bold")
    yield from (Text(line) for line in rows.what_it_is(card))
    yield from (
        Text(f"{'!' if warns else '-'} {text}", style="yellow" if warns else "")
        for warns, text in rows.advice_rows(card)
    )
    yield _table(rows.SIZES, rows.size_rows(card), numbers=True)
    yield Text(rows.size_caption(card), style="dim")
    yield _table(rows.CLAIMS, rows.claim_rows(card))
    yield _table(rows.SAFETY, rows.safety_rows(card))
    if card.moments:
        yield _table(rows.MOMENTS, rows.moment_rows(card), numbers=True)
    if card.prior:
        yield _table(rows.PRIOR, rows.prior_rows(card), numbers=True)
    yield _grid(rows.formula_rows(card))
    yield from (Text(f"Left out: {line}", style="dim") for line in card.left_out)


def _table(heads: list[str], cells: rows.Rows, *, numbers: bool = False) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in heads:
        made.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return made


def _grid(pairs: list[tuple[str, str]]) -> Table:
    made = Table.grid(padding=(0, 2))
    for name, value in pairs:
        made.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    return made
