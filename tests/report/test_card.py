"""The loss card for people: every figure and method is shown, and the page needs nothing from anywhere."""

import dataclasses
import io
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

import lossml
from lossml.card import Curve
from lossml.report import card_rows
from lossml.report.card import card_view
from lossml.report.card_page import card_page, charts
from lossml.report.chart import Line, chart


@pytest.fixture(scope="module")
def card():
    return lossml.inspect("logit-adjustment")


def shown(renderable):
    console = Console(file=io.StringIO(), width=160)
    console.print(renderable)
    return console.file.getvalue()


class Page(HTMLParser):
    """Collects tags and text, and fails on tags that are not closed."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())


def test_the_terminal_shows_every_part(card):
    """Figures, verdicts, methods, precision, the prior, the formula."""
    text = " ".join(shown(card_view(card)).split())
    for words in ("Equals logit-adjustment", "Menon et al.", "calibrated", "861 points", "float16", "0.545", "LaTeX"):
        assert words in text


def test_the_page_says_what_the_terminal_says(card):
    """Every row of every table is on the page."""
    text = Page(card_page(card)).text
    rows = (
        *card_rows.size_rows(card),
        *card_rows.claim_rows(card),
        *card_rows.safety_rows(card),
        *card_rows.prior_rows(card),
        *card_rows.formula_rows(card),
    )
    for cell in (cell for row in rows for cell in row):
        assert cell in text
    for _, advice in card_rows.advice_rows(card):
        assert advice in text


def test_the_page_loads_nothing(card):
    """No script, no link, no image, no import: and a policy that would forbid them."""
    text = card_page(card)
    page = Page(text)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _ in page.tags)
    assert not [name for _, attributes in page.tags for name in attributes if name in {"src", "href", "onclick"}]
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert len(text) < 300_000


def test_the_page_can_be_read_by_anyone(card):
    """A language, a title, a width for phones, light and dark, and words for each plot."""
    text = card_page(card)
    page = Page(text)
    tags = dict(page.tags)
    assert tags["html"]["lang"] == "en"
    assert "prefers-color-scheme: dark" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(drawings) == 4
    assert all(one["role"] == "img" for one in drawings)
    assert sum(tag == "title" for tag, _ in page.tags) == 1 + 4
    assert sum(tag == "desc" for tag, _ in page.tags) == 4
    assert sum(tag == "h1" for tag, _ in page.tags) == 1


def test_what_a_user_names_is_text_and_nothing_else(card):
    """A name that looks like a tag is shown as it is."""
    hostile = dataclasses.replace(card, name="<script>alert(1)</script>", left_out=("<b>&",))
    text = card_page(hostile)
    assert "<script" not in text
    assert "<script>alert(1)</script>" in Page(text).text
    assert "<b>&" in Page(text).text


def points(element):
    lines = [line for line in element.iter() if line.tag == "polyline"]
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in lines]


def test_lines_stay_in_their_frame_and_keep_their_order():
    """A rising line rises; what leaves the frame is cut at its edge; what is not finite is left out."""
    x = (0.1, 0.5, 0.9)
    rising, wild = Curve(x, (0.0, 1.0, 2.0)), Curve(x, (float("nan"), 1e9, float("inf")))
    drawn = chart("t", "x", "y", [Line("one", rising, "a", reference=True), Line("two", wild, "b")])
    (one, two) = points(drawn)
    assert [y for _, y in one] == sorted((y for _, y in one), reverse=True)
    assert len(two) == 1
    assert all(52 <= px <= 470 and 12 <= py <= 236 for line in (one, two) for px, py in line)


def test_the_map_covers_its_triangle_once(card):
    """The cells of the map of three classes add up to the triangle."""
    drawings = [figure for figure in charts(card) if list(figure.iter("polygon"))]
    (drawing,) = drawings
    cells = [
        [tuple(map(float, pair.split(","))) for pair in cell.get("points").split()] for cell in drawing.iter("polygon")
    ]
    assert len(cells) == card.map.fineness**2
    area = sum(abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) / 2 for a, b, c in cells)
    assert area == pytest.approx(320**2 * 3**0.5 / 4, rel=0.01)


def test_a_light_cell_is_a_high_value(card):
    """The cell at the true class, where the loss is least, is the darkest."""
    (drawing,) = [figure for figure in charts(card) if list(figure.iter("polygon"))]
    colours = {cell.get("points"): cell.get("fill") for cell in drawing.iter("polygon")}
    top = min(colours, key=lambda text: min(float(pair.split(",")[1]) for pair in text.split()))
    light = {fill: sum(int(fill[k : k + 2], 16) for k in (1, 3, 5)) for fill in colours.values()}
    assert light[colours[top]] == min(light.values())


@pytest.mark.parametrize(("share", "text"), [(0.123, "12.3%"), (0.98, "98%"), (0.9999123, "99.9912%"), (1.0, "100%")])
def test_a_share_keeps_the_digits_that_tell_it_from_all(share, text):
    """99.99% is not 100%."""
    assert card_rows.percent(share) == text


def test_the_card_of_a_loss_over_training_has_a_table_of_moments():
    """What training progress changes is shown on the terminal and on the page."""
    card = lossml.inspect("sum_C(y*(t*(1 - p) - (1 - t)*logp))")
    assert "progress t" in shown(card_view(card))
    assert "Over training" in re.sub(r"<[^>]+>", " ", card_page(card))
