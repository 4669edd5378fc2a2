"""docs/losses.md and docs/losses/ say of each loss what the zoo and its card say."""

import re

import loss_pages
import pytest

from lossml import inspect, zoo

NUMBER = re.compile(r"(?<![\w.])[-±]?\d[\d,]*\.?\d*(?:e[-+]\d+)?")


def section(entry):
    page = loss_pages.page(entry.kind).read_text()
    return page.split(f"\n## {entry.title} {{#")[1].split("\n## ")[0]


def test_the_lists_are_current():
    """docs/losses.md lists every loss of each kind with a link to its entry, and no other."""
    page = loss_pages.LIST.read_text()
    assert loss_pages.with_lists(page) == page, "python tools/loss_pages.py writes them anew"
    assert [page.count(f"[`{name}`]") for name in zoo.names()] == [1] * len(zoo.names())


def test_each_loss_has_a_word_on_when_to_use_it():
    """No loss is listed without advice, and no advice is for a loss that is not there."""
    assert set(loss_pages.USES) == set(zoo.names())


@pytest.mark.parametrize("entry", zoo.ENTRIES.values(), ids=lambda entry: entry.name)
def test_an_entry_says_what_the_zoo_says(entry):
    """Formula, source, parameters and program of each entry are the zoo's."""
    said = loss_pages.written(entry).removeprefix(f"## {entry.title} {{#")
    assert section(entry).startswith(said)


def compared(text):
    """Split a table into its words and its numbers; the last digits of these depend on the machine."""
    return NUMBER.sub("#", text), [float(n.replace(",", "").lstrip("±")) for n in NUMBER.findall(text)]


@pytest.mark.parametrize("name", zoo.names())
def test_an_entry_says_what_the_card_says(name):
    """Optimum, gradient and verdicts of each entry are those of fresh claims."""
    words, numbers = compared(loss_pages.card_table(name))
    said, written = compared(re.search(r"\| property .*", section(zoo.entry(name)), re.DOTALL)[0].strip())
    assert said == words
    assert written == pytest.approx(numbers, rel=0.02, abs=0.005)


def test_the_claims_are_those_of_the_card():
    """What an entry shows is what `lossml inspect` would print."""
    found, card = loss_pages.claims("gce"), inspect("gce", classes=loss_pages.CLASSES)
    assert found.claims == card.claims
    assert found.optimum in card.optima
    assert found.scale in card.scales
