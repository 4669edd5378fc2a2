"""The report of a run: everything in the records is on the page, whatever the run holds, and anyone can read it."""

import itertools
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import axe_core_python.base as axe
import pytest

import lossml
from lossml.report.card_page import card_page
from lossml.report.run_page import Described, run_page
from lossml.report.run_plots import Estimate, intervals
from lossml.report.write import classes_of
from lossml.search.reading import RunRecord
from lossml.search.recipe import Recipe
from lossml.search.records import Cohort, Gained, Metrics, State, Trial
from lossml.search.results import Comparison, Contender, Design, Match, Row, Transfer, Verdict
from lossml.search.summary import summary
from lossml.search.yardstick import Yardstick, tasks_seen

RECIPE = Recipe("cifar10", rungs=(1, 4, 16), label_noise=0.4)
PROGRAMS = ("-sum_C(y*logp)", "sum_C((p - y)^2)", "-sum_C(y*(1 - p)^2*logp)", "sum_C(y*(1 - p))")
TASK = {"name": "cifar10", "classes": 10, "sizes": [4000, 1000, 2000], "steps": 640, "parameters": 9000, "pixels": 1}
PROVENANCE = {"started": "2026-11-25T10:00:00+00:00", "versions": {"lossml": "0.1.0"}, "device": "cpu", "task": TASK}
STAGES = ((State.PRUNED, 1), (State.PRUNED, 2), (State.COMPLETE, 3), (State.FAILED, 1))


def seen(score):
    return Metrics(score, score - 0.01, 1.2 - score, 0.05, score / 2)


def trial(number):
    state, reached = STAGES[number % 4] if number else (State.COMPLETE, 3)
    scores = tuple(seen(0.3 + 0.1 * rung + 0.001 * (number * 7 % 100)) for rung in range(reached))
    parents = (number // 2, max(0, number - 5)) if number > 4 else ()
    made = ("crossover" if len(set(parents)) > 1 else "subtree") if parents else "seed:ce"
    reason = "diverged: weights are not finite" if state is State.FAILED else ""
    return Trial(number, PROGRAMS[number % 4], made, parents, 1.0, (), state, scores, reason)


def comparison(objective="accuracy"):
    many = (seen(0.8), seen(0.82))
    rows = (
        Row(Contender("ce", PROGRAMS[0], 1.0, -1, "ce"), 1.0, many, 0.81, 0.01),
        Row(Contender("#2", PROGRAMS[2], 2.0, 2), 0.3, many, 0.83, 0.006, 0.02, 0.01, 0.03, 0.001, "better"),
        Row(Contender("random #7", PROGRAMS[3], 2.0, 7, control=True), 0.3, many, 0.8, 0.006, -0.01, -0.03, 0.01, 0.3),
        Row(Contender("mae", PROGRAMS[3], 2.0), 0.0, (), 0.0, 0.0, verdict="failed", reason="diverged"),
    )
    match = Match("#2", "random #7", 0.03, 0.01, 0.05, 0.002, "better")
    return Comparison(rows, Design(2, (0.3, 1.0), objective), 2000, 0.01, match)


def record(count=24, recipe=RECIPE, *, control=False, verdict=True):
    trials = tuple(map(trial, range(count)))
    cohorts = tuple(Cohort(k, min(8, count - k), {"SIGN": 30, "DUPLICATE": 7}, (1.0, 60.0)) for k in range(0, count, 8))
    beside = summary(trials, recipe, trials[:8] if control else ())
    compared = comparison(recipe.objective)
    found = Verdict("Better: trial 2 has +2.00 points [+1.00, +3.00].", compared.rows[1], compared) if verdict else None
    return RunRecord(Path("runs/small"), recipe, trials, cohorts, found, beside, PROVENANCE)


class Page(HTMLParser):
    """The outline of a page: its tags with attributes in order, and the words within each kind of tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.words.setdefault(tag, []).append(data)

    def text(self, tag="body"):
        return " ".join(" ".join(self.words.get(tag, [])).split())

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def cards():
    return [Described(trial(2), lossml.inspect("focal"))]


def test_the_page_says_what_the_run_holds(cards):
    """The claim, every contender, every trial, every rejection, the rungs, the cost, the recipe and the versions."""
    page = Page(run_page(record(), cards))
    text = page.text()
    for words in (
        "Better: trial 2 has +2.00 points [+1.00, +3.00].",
        "cifar10, 40% label noise: 10 classes; 4000 samples to train on",
        "+2.00 points [+1.00, +3.00] 0.001",
        "failed: diverged",
        "random #7",
        "diverged: weights are not finite",
        "111 programs were rejected without training; 24 were trained",
        "pushes the true class's logit down",
        "1/16",
        "training 3 min 00 s 24 trials",
        "lossml search --recipe recipe.toml",
        "label_noise = 0.4",
        "0.1.0",
    ):
        assert words in text, words
    for one in record().trials:
        assert one.program in text
    assert "The whole loss card of trial 2" in page.text("summary")
    assert "no difference found" not in text
    first = text.index("Better: trial 2")
    assert all(first < text.index(name) for name in ("4000 samples", "whole loss card"))


def test_other_tasks_have_their_tables():
    """Each task of --confirm-on has its own table with the winner's corrected row; without any there is no section."""
    whole = record()
    there = replace(comparison(), samples=321, control=None)
    transfers = tuple(
        Transfer(task, whole.verdict.winner, there) for task in ("digits,label_noise=0.2", "fashion-mnist")
    )
    page = Page(run_page(replace(whole, verdict=replace(whole.verdict, transfers=transfers)), []))
    text = page.text()
    for words in ("On digits,label_noise=0.2", "On fashion-mnist", "The row of #2 is corrected for", "321 held-out"):
        assert words in text, words
    assert page.text("h2").count("On other tasks") == 1
    assert "On other tasks" not in Page(run_page(whole, [])).text()


def test_a_search_over_several_tasks_says_what_was_trained_where():
    """Trainings, scores and gain on each task, how far each trial came, what pruning left; it has no rungs."""
    recipe = replace(RECIPE, rungs=(16,), pruner="wilcoxon", also_on=("digits", "camvid,long_tail=5"), trial_seeds=2)
    gains = [(0.5, -0.25, 1.0, 0.0, 0.25, 0.75), (-2.0, -1.0, -1.0, -3.0)]
    states = (State.COMPLETE, State.PRUNED)
    trials = tuple(
        Trial(k, PROGRAMS[k], "seed:ce", (), 1.0, (), state, tuple(Gained(0.5, 0.5, 1.0, 0.1, gain=g) for g in row))
        for k, (row, state) in enumerate(zip(gains, states, strict=True))
    )
    texts = ("cifar10,label_noise=0.4", "digits", "camvid,long_tail=5")
    tasks = tasks_seen(recipe, trials, [Yardstick(text, 0.4, 0.02) for text in texts])
    run = replace(
        record(0, recipe, verdict=False), trials=trials, cohorts=(Cohort(0, 2, {}, (1.0, 60.0)),), tasks=tasks
    )
    run = replace(run, summary=summary(trials, recipe))
    page = Page(run_page(run, []))
    text = page.text()
    for words in (
        "also trained on digits and camvid,long_tail=5",
        "6 full trainings a trial, 3 tasks x 2 seeds",
        "wilcoxon, over the trainings of a trial",
        "cifar10,label_noise=0.4 4 40.00 ± 2.00 50.00 +0.25 -",
        "digits 3 40.00 ± 2.00 50.00 +0.00 -",
        "camvid,long_tail=5 3 40.00 ± 2.00 50.00 +0.88 -",
        "0 6 of 6 +0.38 seed:ce complete",
        "1 4 of 6 -1.75 seed:ce pruned",
        "2 trials, 10.0 full trainings' worth",
        "83% of training every trial to the end",
        "about 12 s",
    ):
        assert words in text, words
    assert "Early rungs" not in text
    assert "Tasks of the search" not in Page(run_page(record(), [])).text()


def test_the_family_and_the_cost_are_those_of_the_run(cards):
    """The best's parents stand in its sentence; pruning leaves a share of training everything to the end."""
    whole = record()
    text = Page(run_page(replace(whole, verdict=None), cards)).text()
    complete = (t for t in whole.trials if t.state is State.COMPLETE)
    best = max(complete, key=lambda t: (t.metrics[-1].accuracy, -len(t.program)))
    assert best.parents
    assert f"Trial {best.number} was made by {best.operator} from {' and '.join(map(str, best.parents))}" in text
    share = sum(t.trained(RECIPE.rungs) for t in whole.trials) / 16 / 24
    assert f"left by pruning {100 * share:.0f}%" in text


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (record(verdict=False), "No verdict yet"),
        (record(verdict=False, recipe=replace(RECIPE, candidates=0)), "told to confirm nothing"),
        (record(control=True), "On held-out data, #2 against random #7: +3.00 points [+1.00, +5.00], p = 0.002"),
        (record(control=True, verdict=False), "have not been tested against each other"),
        (replace(record(), trials=record().trials[1:2], verdict=None), "No trial was trained to the end"),
        (replace(record(0), cohorts=(), verdict=None), "No trial has been trained yet"),
        (record(recipe=replace(RECIPE, objective="nll")), "nll, the less the better"),
        (record(recipe=replace(RECIPE, objective="accuracy - 0.5*ece")), "accuracy - 0.5*ece, the more the better"),
        (record(recipe=replace(RECIPE, dataset="camvid", objective="miou")), "miou, the more the better"),
        (replace(record(), provenance={}), "Better"),
    ],
)
def test_every_kind_of_run_has_a_sensible_page(run, words):
    """Without a verdict, with a control, with nothing complete, with nothing at all, of any objective."""
    run = replace(run, summary=replace(summary(run.trials, run.recipe), control=run.summary.control))
    page = Page(run_page(run, []))
    assert words in page.text()
    assert page.of("main")
    assert not page.open
    assert "nan" not in page.text().lower().split()


def test_without_cards_the_best_are_not_said_to_be_missing():
    """Where nobody asked for cards, the section of the best is left out; where nothing is complete, it says so."""
    whole = record()
    assert "Best losses" not in Page(run_page(whole, [])).text()
    nothing = replace(whole, trials=whole.trials[1:2], verdict=None, summary=summary(whole.trials[1:2], RECIPE))
    assert "Best losses" in Page(run_page(nothing, [])).text()


def test_full_training_alone_has_no_rungs_to_compare():
    """Where nothing is compared below full training the section is left out, and so is its link."""
    run = record(recipe=replace(RECIPE, rungs=(16,)))
    alone = tuple(replace(t, metrics=t.metrics[:1], parents=()) for t in run.trials)
    page = Page(run_page(replace(run, trials=alone, summary=summary(alone, run.recipe)), []))
    assert "Early rungs" not in page.text()
    links = {one["href"].removeprefix("#") for one in page.of("a")}
    assert links == {one["id"] for one in page.of("h2")}


def test_what_a_run_names_is_text_and_nothing_else(cards):
    """Tags in a data set's name, a reason, an operator, a label, a device or a sentence are shown as they are."""
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    run = record()
    trials = tuple(replace(t, operator=bad, reason=bad * bool(t.reason)) for t in run.trials)
    rows = tuple(replace(row, contender=replace(row.contender, label=bad, known=bad)) for row in comparison().rows)
    verdict = Verdict(bad, rows[1], replace(comparison(), rows=rows))
    hostile = replace(
        run,
        recipe=replace(RECIPE, dataset=bad, seeds=bad),
        trials=trials,
        verdict=verdict,
        provenance={**PROVENANCE, "device": bad, bad: bad},
    )
    text = run_page(hostile, [Described(trials[2], replace(cards[0].card, name=bad, left_out=(bad,)))])
    assert "<script" not in text
    assert "<img" not in text
    assert bad in "".join(Page(text).words["body"])


def test_the_outline_serves_those_who_do_not_see_it(cards):
    """One h1, no level left out, landmarks, column and row heads, a name for each drawing, nothing that loads."""
    page = Page(run_page(record(200), cards * 3))
    levels = [int(tag[1]) for tag, _ in page.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert [len(page.of(name)) for name in ("main", "header", "nav")] == [1, 1, 1]
    assert {one["scope"] for one in page.of("th")} == {"col", "row"}
    drawings = [one for one in page.of("svg") if one.get("role") == "img"]
    assert drawings
    assert all(one.get("role") == "img" or one.get("aria-hidden") == "true" for one in page.of("svg"))
    named = [after for (tag, _), (after, _) in itertools.pairwise(page.tags) if tag == "svg"]
    assert named.count("title") == len(drawings)
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _ in page.tags)


def test_the_page_of_a_whole_search_is_small(cards):
    """Two hundred trials and three cards with their plots stay under half of the three megabytes allowed."""
    assert len(run_page(record(200), cards * 3).encode()) < 1_500_000


def test_an_interval_is_drawn_where_it_lies():
    """From low to high with the value between, on one scale for all; the reference's zero is marked."""
    drawn = intervals("t", "points", [Estimate("a", 1.0, -1.0, 2.0), Estimate("b", 4.0, 3.0, 6.0, chosen=True)])
    lines = [one for one in drawn.iter("line") if one.get("class", "").startswith("curve")]
    ends = [(float(one.get("x1")), float(one.get("x2"))) for one in lines]
    (zero,) = [float(one.get("x1")) for one in drawn.iter("line") if one.get("class") == "zero"]
    middles = [float(one.get("cx")) for one in drawn.iter("circle")]
    assert ends[0][0] < zero < middles[0] < ends[0][1] < ends[1][0] < middles[1] < ends[1][1]
    scale = (ends[1][1] - ends[0][0]) / 7.0
    assert middles[1] - middles[0] == pytest.approx(3.0 * scale, abs=0.2)


def test_a_card_is_drawn_for_as_many_classes_as_the_task_has():
    """As far as a card goes; a run that does not say is described at ten."""
    run = record()
    assert classes_of(run) == 10
    assert classes_of(replace(run, provenance={"task": {"classes": 5000, "pixels": 1}})) == 1000
    assert classes_of(replace(run, provenance={"task": {"classes": 150, "pixels": 64}})) == 100
    assert classes_of(replace(run, provenance={})) == 10


def opened(browser, path, width, scheme):
    """Open a file at a width in a colour scheme, and return what the browser logged of it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})  # for the checker; the page itself runs nothing
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    events = (json.loads(row["message"])["message"] for row in browser.get_log("performance"))
    asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    return asked, browser.get_log("browser")


def violations(browser):
    """Ask axe, a checker of accessibility, what it has against the page; everything unfolded."""
    browser.execute_script("document.querySelectorAll('details').forEach(one => one.open = true)")
    browser.execute_script(Path(axe.AXE_FILE_PATH).read_text())
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]]


@pytest.fixture(scope="module")
def pages(tmp_path_factory, cards):
    """Reports on disk: of a whole search, and of one that has just begun; and a card."""
    folder = tmp_path_factory.mktemp("pages")
    begun = replace(record(0), cohorts=(), verdict=None, summary=summary((), RECIPE))
    long = replace(record(60, control=True), recipe=replace(RECIPE, dataset="image-folder:/" + "long" * 40))
    texts = {"whole": run_page(long, cards), "begun": run_page(begun, []), "card": card_page(cards[0].card)}
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", ["whole", "begun", "card"])
def test_a_browser_shows_the_page_to_anyone(browser, pages, name, width, scheme):
    """No error, no request but the file, nothing wider than the screen, nothing that axe has against it."""
    path = pages / f"{name}.html"
    asked, errors = opened(browser, path, width, scheme)
    assert asked == [path.as_uri()]
    assert errors == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert violations(browser) == []


def test_the_verdict_is_the_first_thing_on_a_phone(browser, pages):
    """Its sentence begins on the first screen; tabbing goes from link to link with a visible outline."""
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages / "whole.html", 400, "light")
    claim = browser.find_element("css selector", ".claim")
    assert claim.text == "Better: trial 2 has +2.00 points [+1.00, +3.00]."
    assert claim.location["y"] < 900
    browser.find_element("css selector", "body").send_keys(Keys.TAB)
    focused = browser.switch_to.active_element
    assert focused.text == "Verdict"
    assert focused.value_of_css_property("outline-style") == "solid"
    assert float(focused.value_of_css_property("outline-width").removesuffix("px")) >= 2


def test_the_page_prints_black_on_white(browser, pages):
    """On paper nothing is dark or scrolls, even where the screen is dark."""
    opened(browser, pages / "whole.html", 1400, "dark")
    media = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for part, name, value in (("body", "backgroundColor", "rgb(255, 255, 255)"), (".wide", "overflowX", "visible")):
        script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        assert browser.execute_script(script, part, name) == value
    assert browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
