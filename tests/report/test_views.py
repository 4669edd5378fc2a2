"""What people see says what is in the records, at any width."""

import re
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from lossml.proxy import DataStatus, Facts
from lossml.report import tables
from lossml.report.live import LiveView, PlainView, Progress
from lossml.report.words import duration
from lossml.search.events import CohortFinished, Confirming, Gauging, Proposed, Proposing, RungStarted, Started
from lossml.search.recipe import Recipe
from lossml.search.records import Metrics, State, Trial
from lossml.search.results import Comparison, Contender, Design, Row, Verdict
from lossml.search.statistics import Correlation
from lossml.search.summary import Agreement, Control, Point, Summary
from lossml.zoo import ENTRIES

RECIPE = Recipe("digits", budget=4, label_noise=0.4, long_tail=10.0)
FACTS = Facts("digits", 10, (0.1,) * 10, 160, 8, (900, 360, 540), 2410)


def trial(number, *accuracies, state=State.PRUNED, program="-sum_C(y*logp)", reason=""):
    metrics = tuple(Metrics(a, a, 0.5, 0.05) for a in accuracies)
    return Trial(number, program, "random", (), 1.0, (), state, metrics, reason)


TRIALS = [
    trial(0, 0.5, 0.6, 0.7, state=State.COMPLETE),
    trial(1, 0.9),
    trial(2, state=State.FAILED, reason="diverged [red]markup[/red]"),
    trial(3, 0.5, 0.8, 0.9, state=State.COMPLETE, program="sum_C((p - y)^2)" * 20),
]


def printed(renderable, width=100):
    text = StringIO()
    Console(file=text, width=width, color_system=None).print(renderable)
    return text.getvalue()


def comparison(objective="accuracy"):
    metrics = (Metrics(0.9, 0.9, 0.3, 0.02), Metrics(0.91, 0.91, 0.31, 0.03))
    rows = (
        Row(Contender("ce", "-sum_C(y*logp)", 1.0, -1, "ce"), 1.0, metrics, 0.905, 0.007),
        Row(
            Contender("#3", "sum_C((p - y)^2)", 2.0, 3, "brier"),
            0.3,
            metrics,
            0.925,
            0.006,
            0.02,
            0.01,
            0.03,
            0.001,
            "better",
        ),
        Row(Contender("#4", "bad", 2.0, 4), 0.0, (), 0.0, 0.0, verdict="failed", reason="diverged"),
    )
    return Comparison(rows, Design(2, (0.3, 1.0), objective), 540, 0.01)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_leaderboard_orders_by_how_far_and_how_well(width):
    """Full training before pruned, then by score; failed trials are not in it; no line is too long."""
    lines = printed(tables.leaderboard(TRIALS, RECIPE), width).splitlines()
    numbers = [line.split()[0] for line in lines if line.split() and line.split()[0].isdigit()]
    assert numbers == ["3", "0", "1"]
    assert max(map(len, lines)) <= width
    assert "No trial" in printed(tables.leaderboard([], RECIPE))


def test_the_front_and_the_rungs_are_shown():
    """What each further node buys, how each rung agrees with full training, and the warning where there is one."""
    points = (Point(0, 4, 0.7, "-y*p"), Point(3, 9, 0.9, "sum_C((p - y)^2)"))
    agreements = (Agreement(1, 3, None), Agreement(4, 40, Correlation(0.512, 0.2, 0.8)))
    found = Summary(points, agreements, "The lowest rung is blind.")
    rows = [line.split() for line in printed(tables.front(found, "accuracy")).splitlines()]
    assert ["4", "70.00", "0", "-y*p"] in rows
    assert [row[0] for row in rows if row and row[0].isdigit()] == ["4", "9"]
    text = printed(tables.rungs(found), 200)
    assert "rung 4/16  rank correlation with full training 0.51 [0.20, 0.80], over the 40 trials" in text
    assert "rung 1/16  too few trials" in text
    assert "The lowest rung is blind." in text
    assert not printed(tables.front(Summary((), (), ""), "accuracy")).strip()


def test_a_control_is_shown_beside_the_search():
    """How much each trained and how far each came; one that trained nothing to the end has no score."""
    text = printed(tables.control(Control(31, (12.5, 13.0), (0.91, 0.885)), "accuracy"), 200)
    assert "31 trials, 13.0 full trainings against 12.5; best accuracy 88.50 against 91.00" in text
    assert "none against 0.4" in printed(tables.control(Control(3, (1.0, 1.0), (0.4, None)), "nll"), 200)


def test_a_sum_of_metrics_is_shown_with_its_sign():
    """A weighed objective can be negative and is shown so; a likelihood is shown as it is."""
    board = printed(tables.leaderboard(TRIALS, replace(RECIPE, objective="0.1*accuracy - nll")))
    assert "-0.4100" in board
    assert "0.5000" in printed(tables.leaderboard(TRIALS, replace(RECIPE, objective="nll")))
    assert "-0.5" not in printed(tables.leaderboard(TRIALS, replace(RECIPE, objective="nll")))


def test_trials_and_rejections_are_counted():
    """The counts are those of the records."""
    assert "2 complete, 1 pruned, 1 failed" in printed(tables.states(TRIALS))
    assert "7 without training: 4 sign, 3 not finite" in printed(tables.rejected({"SIGN": 4, "NOT_FINITE": 3}))
    assert "0 without training" in printed(tables.rejected({}))


def test_reasons_are_shown_as_they_are():
    """Markup in a reason is text; without failures nothing is shown."""
    assert "[red]markup[/red]" in printed(tables.failures(TRIALS))
    assert not printed(tables.failures(TRIALS[:1])).strip()


def test_a_comparison_shows_differences_with_intervals():
    """Reference, better and failed losses each have their row; the caption says how they were judged."""
    text = printed(tables.verdict_view(Verdict("Better: it is.", comparison().rows[1], comparison())), 140)
    assert text.startswith("Better: it is.")
    for words in ("#3 = brier", "+2.00", "[+1.00, +3.00]", "0.001", "better", "failed: diverged", "2 paired seeds"):
        assert words in text
    assert "0.9050" in printed(tables.comparison_table(comparison("nll")), 140)


def test_lists_of_losses_and_data():
    """Names, parameters, places and what to do are shown."""
    text = printed(tables.zoo_table(list(ENTRIES.values())), 140)
    assert "gamma=2" in text
    rows = [
        DataStatus("digits", present=True, place="here", how=""),
        DataStatus("x", present=False, place="p", how="get it"),
    ]
    assert "get it" in printed(tables.data_table(rows))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations_read_well(seconds, text):
    """Seconds, minutes and hours."""
    assert duration(seconds) == text


EVENTS = [
    Started(RECIPE, FACTS, "cpu", 1, "runs/x"),
    Proposed((0, 1), {"SIGN": 3}),
    RungStarted(4, 2),
    CohortFinished((TRIALS[2],), 1, replayed=True),
    CohortFinished(tuple(TRIALS[:2]), 3, replayed=False),
    Confirming(0, 40, "tune"),
    *(Confirming(k, 40, "seeds") for k in range(41)),
]


def test_the_plain_view_is_a_few_lines():
    """The task, each cohort and about ten lines a stage of confirmation."""
    text = StringIO()
    with PlainView(Console(file=text, width=80, color_system=None)) as view:
        for event in EVENTS:
            view(event)
    lines = text.getvalue().splitlines()
    assert "40% label noise, long tail 10" in lines[0]
    assert lines[1] == "1 of 4 trials, none alive"
    assert "3 of 4 trials, best 70.00 by -sum_C(y*logp), about" in lines[2]
    assert 10 <= len([line for line in lines if "paired seeds" in line]) <= 12


def test_the_first_line_says_with_what_is_trained():
    """Device, workers, what they are worth together, and the precision."""
    progress = Progress()
    progress.take(Started(RECIPE, replace(FACTS, bfloat16=True), "cpu", 2, "runs/x", 1.94))
    assert "; cpu, 2 workers (1.9 times one), bfloat16; runs/x" in progress.title()
    progress.take(Started(RECIPE, FACTS, "cpu", 1, "runs/x", 1.0))
    assert "; cpu, 1 worker; runs/x" in progress.title()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"also_on": ("camvid", "digits,long_tail=9"), "trial_seeds": 2}, "3 tasks x 2 seeds, .* from the 4th on"),
        ({"also_on": ("camvid",)}, "1 seed, .* too few for any trial .* which takes 5 .* trial_seeds = 3 would do"),
        ({"trial_seeds": 4}, "1 task x 4 seeds, .* trial_seeds = 5 would do"),
        ({"trial_seeds": 9, "pruner": "none"}, "no trial is stopped early"),
    ],
)
def test_a_search_with_several_trainings_says_so_in_one_line(setting, words):
    """What a trial is and from when on one can be stopped; a search with one training says nothing of it."""
    for recipe in (Recipe("digits", **{"pruner": "wilcoxon", "rungs": (16,), **setting}), Recipe("digits")):
        out = StringIO()
        with PlainView(Console(file=out, width=400)) as view:
            view(Started(recipe, Facts("digits", 10, (0.1,) * 10, 100, 8, (1, 2, 3), 99), "cpu", 0, "runs/a"))
        lines = out.getvalue().splitlines()
        assert len(lines) == 1 + (recipe.trainings > 1)
        assert recipe.trainings == 1 or re.search(words, lines[1])


def test_the_view_says_on_which_task_it_trains():
    """Tasks come one after the other, then again; before them cross-entropy is measured."""
    progress = Progress()
    recipe = Recipe("digits", also_on=("camvid",), trial_seeds=2, pruner="wilcoxon", rungs=(16,))
    progress.take(Started(recipe, Facts("digits", 10, (0.1,) * 10, 100, 8, (1, 2, 3), 99), "cpu", 0, "runs/a"))
    progress.take(Gauging("camvid"))
    assert "cross-entropy on camvid" in progress.stage()
    for stage, words in ((16, "on digits (1 of 4)"), (32, "on camvid (2 of 4)"), (48, "on digits (3 of 4)")):
        progress.take(RungStarted(stage, 7))
        assert f"training 7 {words}" in progress.stage()


def test_the_live_view_draws_every_state():
    """At each event the screen can be drawn, and says what is going on."""
    text = StringIO()
    console = Console(file=text, width=90, force_terminal=True, color_system=None)
    with LiveView(console) as view:
        assert "starting" in printed(view)
        for event in EVENTS:
            view(event)
            assert printed(view, 90)
        screen = printed(view)
    assert "confirming 40 of 40 trainings" in screen
    assert "3 without training" in screen
    assert "Ctrl-C" in screen


def test_rates_beyond_the_grid_are_timed_apart(monkeypatch):
    """A second part of tuning has a time left of its own, not one that counts the first part's time."""
    clock = [0.0]
    monkeypatch.setattr("lossml.report.live.monotonic", lambda: clock[0])
    progress = Progress()
    progress.take(Confirming(0, 70, "tune"))
    clock[0] = 700.0
    progress.take(Confirming(0, 4, "tune"))
    clock[0] = 720.0
    progress.take(Confirming(2, 4, "tune"))
    assert progress.left() == "about 20 s left"


def test_the_stage_says_that_losses_are_proposed_and_what_trains_meanwhile():
    """Not what was trained before: while the next cohort is looked for, at most a last rung is still at work."""
    progress = Progress()
    progress.take(EVENTS[0])
    progress.take(Proposing(0))
    assert "the first search on a machine also compiles" in progress.stage()
    progress.take(RungStarted(4, 5))
    progress.take(Proposing(2))
    assert progress.stage().endswith("proposing losses, 2 of the last still in training")
    progress.take(CohortFinished(tuple(TRIALS[:2]), 2, replayed=False))
    progress.take(Proposing(0))
    assert progress.stage().endswith("proposing losses")
