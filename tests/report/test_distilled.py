"""The view of a distillation says what was found, what was not, and what to do next."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from lossml.distill import Distilled, Found
from lossml.report.distilled import distilled_view, share

NEAR = Found("y*p", 3, 0.4, 2.0)
GOOD = Found("-y*logp", 4, 0.004, 1.5)
RESULT = Distilled(
    target="x", formula="", size=None, classes=10, tolerance=0.01, engine="gp", seed=7, front=(NEAR, GOOD),
    shortest=GOOD, elsewhere={2: 0.03, 100: 1e-9}, screens="", evaluated=1234, seconds=2.5,
)  # fmt: skip


def text(result, known=""):
    console = Console(width=120, file=StringIO())
    console.print(distilled_view(result, known))
    return console.file.getvalue()


def test_the_answer_its_reach_and_the_next_command_are_shown():
    """Formula, disagreement here and at other numbers of classes, scale, effort, command."""
    shown = text(RESULT, "ce")
    for words in ("4 nodes, disagreement 0.4%", "Known as ce", "3% at 2, none at 100", "Times 1.5", "1234 programs"):
        assert words in shown
    assert "lossml export '-y*logp' -o my_loss.py" in shown


def test_a_shorter_program_is_told_from_the_loss_itself():
    """Fewer nodes are a find; as many are none."""
    assert "4 nodes instead of 9" in text(replace(RESULT, size=9))
    assert "Nothing shorter was found" in text(replace(RESULT, size=4))


def test_nothing_within_tolerance_is_said_and_a_rejected_loss_too():
    """No command is suggested for an answer that there is not."""
    nothing = text(replace(RESULT, shortest=None))
    assert "Nothing within 1%" in nothing
    assert "lossml export" not in nothing
    assert "A search would reject it: has no gradient" in text(replace(RESULT, screens="has no gradient"))


@pytest.mark.parametrize(("value", "words"), [(0.0, "none"), (1e-9, "none"), (0.0123, "1.2%"), (0.999, "100%")])
def test_a_disagreement_is_written_in_percent(value, words):
    """Rounding is no disagreement, and a whole one is 100%."""
    assert share(value) == words
