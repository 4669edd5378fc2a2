"""Whether a loss is a known one, up to scale."""

import pytest

from lossml import zoo
from lossml.program import parse
from lossml.search.known import known_as


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-sum_C(y*logp)", "ce"),
        ("-0.25*sum_C(y*logp) + 3", "ce"),
        ("-sum_C(logp*y*(1 - p)*(1 - p))", "focal"),
        ("-sum_C(y*logp*(1 - p)^3)", "focal(gamma=3)"),
        ("sum_C(y*(1 - p^0.5))", "gce(q=0.5)"),
        ("-sum_C(y*p)", "mae"),
        ("sum_C(p^2) - 2*sum_C(y*p)", "brier"),
        ("-sum_C(y*logp) + 0.31*sum_C(y*exp(-p))", ""),
    ],
)
def test_a_published_loss_is_recognised_in_other_words(text, name):
    """Scale, additive constants and the way it is written do not hide a known loss; a new one has no name."""
    assert known_as(parse(text), 10) == name


@pytest.mark.parametrize("name", [name for name, entry in zoo.ENTRIES.items() if entry.kind == "classification"])
def test_every_loss_of_the_zoo_is_known(name):
    """Under its own name, or that of an earlier loss that it equals."""
    found = known_as(zoo.program_of(name), 10)
    assert found
    assert found == name or zoo.names().index(found.split("(")[0]) < zoo.names().index(name)


def test_a_program_without_gradient_is_no_known_loss():
    """It has no identity at all."""
    assert known_as(parse("sum_C(y)"), 10) == ""
