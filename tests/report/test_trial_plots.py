"""Curves that stand alone."""

from xml.etree.ElementTree import fromstring

from lossml.report.trial_plots import trial_plots
from lossml.search.records import State, Trial

SVG = "{http://www.w3.org/2000/svg}"


def test_a_drawing_is_a_document_of_its_own():
    """Value and gradient, each with its lines, its name, and the colours that a page would give it."""
    drawn = trial_plots(Trial(3, "-sum_C(y*(1 - p)^2*logp)", "seed:focal", (), 1.0, (), State.COMPLETE), 10)
    assert list(drawn) == ["value", "gradient"]
    for name, text in drawn.items():
        whole = fromstring(text)  # noqa: S314 - just drawn
        assert whole.tag == f"{SVG}svg"
        assert whole.get("viewBox")
        assert len(list(whole.iter(f"{SVG}polyline"))) == 4
        assert name in whole.find(f"{SVG}title").text.lower()
        assert "prefers-color-scheme: dark" in whole.find(f"{SVG}style").text


def test_what_has_no_curve_has_no_drawing():
    """A loss of samples that share one value has no curve over one probability, or has one: never an error."""
    assert set(trial_plots(Trial(0, "1 - p/p", "random", (), 1.0, (), State.FAILED), 10)) <= {"value", "gradient"}
