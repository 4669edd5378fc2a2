"""Progress of full trainings: parts of trainings count once, and what was there already takes no time."""

import pytest
from rich.console import Console

from lossml.benchmark.events import Training
from lossml.benchmark.recipe import names, read
from lossml.report.benchmark import PlainView, Progress, recipes_table
from lossml.search.events import Confirming


def test_a_training_counts_once():
    """In parts while it runs, whole when its block is done, and not again when its log's last line comes late."""
    progress = Progress("title")
    progress.take(Confirming(0, 4, "seeds"))
    progress.take(Training("a", 50, 100, 0.5, 10.0))
    progress.take(Training("b", 25, 100, None, 10.0))
    assert progress.done == pytest.approx(0.75)
    progress.take(Training("a", 100, 100, 0.4, 10.0))
    assert progress.done == pytest.approx(1.25)
    progress.take(Confirming(2, 4, "seeds"))
    progress.take(Training("b", 100, 100, 0.4, 10.0))
    assert progress.done == 2.0


def test_time_left_leaves_out_what_was_there(monkeypatch):
    """After a resumption the speed is that of what trains now."""
    clock = [0.0]
    monkeypatch.setattr("lossml.report.benchmark.monotonic", lambda: clock[0])
    progress = Progress("title")
    for done in (0, 2, 4):
        progress.take(Confirming(done, 8, "seeds"))
    clock[0] = 60.0
    progress.take(Training("a", 50, 100, 0.5, 10.0))
    assert "4.5 of 8 trainings, about 7 min 00 s left" in progress.text()


def test_lines_are_few_and_say_the_stage():
    """Ten lines a stage at most, whatever the number of events."""
    console = Console(record=True, width=100)
    view = PlainView(console, "what is trained")
    for done in range(101):
        view(Confirming(done, 100, "tune"))
    lines = console.export_text().splitlines()
    assert lines[0] == "what is trained"
    assert all("choosing learning rates" in line for line in lines[1:])
    assert len(lines) <= 12


def test_the_list_of_recipes_names_every_one_and_its_short_variant():
    """With data set, network, epochs and what it needs, extras in brackets among it."""
    console = Console(record=True, width=140)
    console.print(recipes_table([(read(name), read(name, short=True)) for name in names()]))
    text = console.export_text()
    assert all(name in text for name in names())
    assert text.count("--short") == len(names())
    assert "lossml[segmentation]" in text
