"""Objectives: what may be written, which way it goes, and how it is shown."""

import pytest

from lossml.errors import RecipeError
from lossml.search.objective import METRICS, as_read, gap, is_objective, read_objective, written
from lossml.search.records import Metrics

SCORES = Metrics(accuracy=0.9, balanced_accuracy=0.8, nll=0.4, ece=0.05, miou=0.3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("accuracy", 0.9),
        ("miou", 0.3),
        ("miou - 2*ece", 0.2),
        ("nll", -0.4),
        ("-nll", -0.4),
        ("-3*nll", -0.4),
        ("2*accuracy", 0.9),
        ("balanced_accuracy - 0.5*ece", 0.775),
        ("balanced_accuracy-.5*ece", 0.775),
        ("0.5*accuracy + 0.5*balanced_accuracy - nll", 0.45),
        (" - 0.1 * nll + accuracy ", 0.86),
    ],
)
def test_more_is_better_for_whatever_is_written(text, value):
    """The value of an objective is the sum as written, negated where less of a single metric is better."""
    assert SCORES.of(text) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f1",
        "accuracy + ece",
        "ece + nll",
        "-accuracy",
        "2*nll",
        "accuracy - nll - nll",
        "accuracy accuracy",
        "accuracy ece",
        "0*accuracy - ece",
        "accuracy - 1e3*ece",
        "accuracy*2",
        "accuracy - ",
        "accuracy - (ece)",
        "accuracy" + " - 1*ece" * 100,
        "__import__('os')",
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_rule(text):
    """A cost that is added, a gain that is subtracted, a metric twice, and what is no sum."""
    with pytest.raises(RecipeError, match="less is better, subtracted"):
        read_objective(text)
    assert not is_objective(text)


def test_people_read_a_metric_as_it_is_and_a_difference_for_the_better_as_positive():
    """Shares in percent, the likelihood in nats, a sum of both as a plain number; a single cost is never negated."""
    shown = {text: written(as_read(SCORES.of(text), text), text) for text in METRICS}
    shares = {"accuracy": "90.00", "balanced_accuracy": "80.00", "miou": "30.00", "ece": "5.00"}
    assert shown == {**shares, "nll": "0.4000"}
    assert written(as_read(SCORES.of("balanced_accuracy - 0.5*ece"), "balanced_accuracy - 0.5*ece"), "ece") == "77.50"
    low = "0.1*accuracy - nll"
    assert written(as_read(SCORES.of(low), low), low) == "-0.3100"
    assert gap(0.02, "accuracy", (-0.01, 0.05)) == "+2.00 points [-1.00, +5.00]"
    assert gap(0.02, low, (-0.01, 0.05)) == "+0.0200 [-0.0100, +0.0500]"
    assert [gap(0.02, text) for text in ("ece", "nll", low)] == ["+2.00 points", "+0.0200 nats", "+0.0200"]
    assert str(as_read(0.0, "nll")) == "0.0"
    for text in (*METRICS, low):
        assert as_read(as_read(SCORES.of(text), text), text) == SCORES.of(text)
