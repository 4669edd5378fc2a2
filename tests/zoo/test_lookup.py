"""Names, parameters and what is said of each loss."""

import math
import re

import pytest

from lossml import zoo
from lossml.errors import UsageError
from lossml.program import Axes, fold_constants, parse, show


@pytest.mark.parametrize("name", zoo.names())
def test_an_entry_is_complete(name):
    """Each loss has a title, a dated source, a meaning and a program whose type is a loss."""
    entry = zoo.entry(name)
    assert entry.name == name
    assert entry.title
    assert entry.meaning
    assert re.search(r"\b(19|20)\d\d\b", entry.source)
    assert Axes.CLASS not in entry.program().type.axes
    assert zoo.program_of(name) == entry.program() == fold_constants(parse(entry.text()))


@pytest.mark.parametrize("name", [name for name in zoo.names() if zoo.entry(name).parameters])
def test_every_value_in_range_gives_a_program_and_no_other_does(name):
    """The ends of each range are programs of the language; beyond them is an error that names the range."""
    for key, parameter in zoo.entry(name).parameters.items():
        for end in (parameter.low, min(parameter.high, 1e3)):
            assert zoo.program_of(f"{name}({key}={end})") == zoo.entry(name).program(**{key: end})
        with pytest.raises(UsageError, match=f"{key} is .*must lie in"):
            zoo.program_of(f"{name}({key}={parameter.low - 1})")
        for wrong in (math.nan, math.inf):
            with pytest.raises(UsageError, match="must lie in"):
                zoo.entry(name).text(**{key: wrong})


@pytest.mark.parametrize(
    "call", ["focal(gamma=1.5)", " focal ( gamma = 1.5 ) ", "focal(gamma=15e-1,)", "focal(gamma=+1.5)"]
)
def test_a_parameter_is_read_as_people_write_it(call):
    """Blanks, exponents and a trailing comma change nothing."""
    assert show(zoo.program_of(call)) == "-sum_C(y*(1 - p)^1.5*logp)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("focol", "focal"),
        ("xqj", "there are ce, "),
        ("focal(gama=1)", "no parameter 'gama'; it has gamma"),
        ("ce(x=1)", "it has none"),
        ("focal(gamma)", "parameter=number"),
        ("focal(gamma=two)", "parameter=number"),
        ("focal(gamma=1;2)", "parameter=number"),
        ("focal(gamma=1, gamma=2)", "twice"),
        ("focal(gamma=1e999)", "must lie in"),
        ("taylor-ce(order=1.5)", "whole number"),
        ("focal(gamma=__import__('os'))", "not a loss"),
        ("focal(1", "not a loss"),
        ("", "not a loss"),
    ],
)
def test_what_is_no_loss_is_refused_with_what_would_be(call, message):
    """Each mistake gets a sentence: near names, the parameters there are, the form to write."""
    with pytest.raises(UsageError, match=re.escape(message)):
        zoo.program_of(call)


def test_a_huge_call_is_answered_in_short():
    """A megabyte of nonsense is refused at once, without being repeated."""
    with pytest.raises(UsageError) as caught:
        zoo.program_of("focal(" + "x" * 1_000_000 + ")")
    assert len(str(caught.value)) < 1000


def test_the_table_of_losses_cannot_be_changed():
    """What one caller sees, every other sees."""
    with pytest.raises(TypeError):
        zoo.ENTRIES["ce"] = zoo.entry("focal")
