"""Comparing and confirming: rates tuned alike, paired seeds, a held-out split, and no word more than that allows."""

import json
import math
from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest

from lossml import zoo
from lossml.backend import stack
from lossml.errors import LossMLError
from lossml.program import parse
from lossml.proxy import TaskSpec, Trainer
from lossml.search.compare import EXTENSIONS, compare
from lossml.search.confirm import judged, shortlist
from lossml.search.events import Confirming, silent
from lossml.search.objective import METRICS
from lossml.search.records import Metrics, State, Trial, as_json, finalists
from lossml.search.results import Comparison, Contender, Design, Match, Row
from lossml.search.statistics import judge, paired_difference
from lossml.search.trainings import Job, Store, contenders

DESIGN = Design(seeds=3, learning_rates=(0.3, 1.0, 3.0), seed=5)
EVEN = (0.25,) * 4
EXPLODING = "sum_C(y*exp(exp(2 - 9*z)))"  # trains for a step and is infinite then


@pytest.fixture
def trainer(clouds):
    with Trainer(TaskSpec(clouds), stack, workers=0) as found:
        yield found


def named(*texts):
    return contenders([(text, parse(text), -1 if k == 0 else k) for k, text in enumerate(texts)], EVEN)


CE, TWICE, BRIER, INVERSE = "-sum_C(y*logp)", "-2*sum_C(y*logp)", "sum_C((p - y)^2)", "sum_C(y*logp)"


@pytest.fixture
def found(trainer, tmp_path):
    losses = named(CE, TWICE, BRIER, INVERSE, EXPLODING)
    return losses, compare(trainer, losses, DESIGN, Store(tmp_path / "journal.log"), silent), tmp_path / "journal.log"


def test_a_comparison_says_what_the_trainings_say(found):
    """Means, spreads, differences and verdicts follow from the held-out scores of the paired seeds."""
    losses, comparison, _ = found
    reference, twice, brier, inverse, exploding = comparison.rows
    for row in comparison.rows[:4]:
        scores = [m.accuracy for m in row.metrics]
        assert len(scores) == DESIGN.seeds
        assert row.mean == pytest.approx(fmean(scores))
        assert row.spread == pytest.approx(stdev(scores))
    assert [row.contender for row in comparison.rows] == losses
    assert (reference.verdict, reference.difference) == ("reference", None)
    assert (twice.verdict, twice.difference, twice.p) == ("no difference", 0.0, 1.0)
    assert twice.metrics == reference.metrics
    assert brier.difference == pytest.approx(brier.mean - reference.mean)
    assert brier.low <= brier.difference <= brier.high
    assert inverse.verdict == "worse"
    assert inverse.high < 0.0
    assert exploding.verdict == "failed"
    assert exploding.reason
    assert comparison.noise == pytest.approx(math.sqrt(2.0) * reference.spread)
    assert comparison.samples == 400


def tried_by(store, contender):
    (seed,) = DESIGN.of("tune")
    found = [trial.user_attrs for trial in store._study.trials]
    rates = sorted({f["lr"] for f in found if f["stage"] == "tune" and f["program"] == contender.program})
    return {lr: store.get(contender, Job("tune", 0, lr, seed)).metrics.accuracy for lr in rates}


def test_each_loss_has_the_rate_that_was_best_on_the_validation_split(found):
    """One grid and one rule for all; at a tie the rate nearest to the task's own."""
    losses, comparison, path = found
    for k, row in enumerate(comparison.rows[:4]):
        tried = tried_by(Store(path), losses[k])
        assert set(DESIGN.learning_rates) <= set(tried)
        best = [lr for lr, accuracy in tried.items() if accuracy == max(tried.values())]
        assert row.lr == min(best, key=lambda lr: abs(math.log(lr)))
    assert not set(DESIGN.of("tune")) & set(DESIGN.of("seeds"))


def test_a_rate_at_the_end_of_the_grid_is_not_taken_for_the_best(found):
    """While the best rate is the largest or the smallest tried, the next is tried too, some times over."""
    losses, comparison, path = found
    extended = 0
    for k, row in enumerate(comparison.rows[:4]):
        tried = tried_by(Store(path), losses[k])
        beyond = len(tried) - len(DESIGN.learning_rates)
        extended += beyond
        assert beyond == EXTENSIONS or row.lr not in {min(tried), max(tried)}
    assert extended


def test_one_rate_is_left_as_it_is(trainer, tmp_path):
    """Who gives a single rate wants that one: nothing is trained to choose it."""
    losses, store = named(CE, BRIER), Store(tmp_path / "journal.log")
    rows = compare(trainer, losses, replace(DESIGN, learning_rates=(2.0,)), store, silent).rows
    assert [row.lr for row in rows] == [2.0, 2.0]
    assert tried_by(store, losses[0]) == {}


def test_a_rate_is_chosen_by_the_mean_over_the_tuning_seeds(trainer, tmp_path):
    """One lucky training chooses nothing; with one seed more the choice is that of the mean."""
    losses, store, design = named(CE, BRIER), Store(tmp_path / "journal.log"), replace(DESIGN, tuning_seeds=3)
    rows = compare(trainer, losses, design, store, silent).rows
    for row in rows:
        tried = {
            lr: fmean(store.get(row.contender, Job("tune", 0, lr, seed)).metrics.accuracy for seed in design.of("tune"))
            for lr in design.learning_rates
        }
        assert row.lr not in tried or tried[row.lr] == max(tried.values())
    assert len(set(design.of("tune"))) == 3
    assert not set(design.of("tune")) & set(design.of("seeds"))


def test_a_rate_at_which_one_training_fails_is_not_chosen(trainer, tmp_path):
    """A loss that explodes with any of the tuning seeds at every rate has failed, and says why."""
    losses, store = named(CE, EXPLODING), Store(tmp_path / "journal.log")
    rows = compare(trainer, losses, replace(DESIGN, tuning_seeds=2), store, silent).rows
    assert [row.verdict for row in rows] == ["reference", "failed"]
    assert rows[1].reason


def test_of_the_losses_found_only_the_best_tuned_go_on(trainer, tmp_path):
    """Named losses stay; of the others those with the best tuned scores are tested, so that fewer are corrected for."""
    given = [("ce", CE, -1), ("a", INVERSE, 1), ("b", BRIER, 2), ("c", EXPLODING, 3)]
    losses = contenders([(label, parse(text), trial) for label, text, trial in given], EVEN)
    rows = compare(trainer, losses, replace(DESIGN, keep=1), Store(tmp_path / "journal.log"), silent).rows
    assert [row.contender.label for row in rows] == ["ce", "b"]


def test_a_finished_comparison_is_read_and_not_trained_again(found, trainer):
    """The second time gives the same result, and no training is added."""
    losses, comparison, path = found
    before = len(Store(path)._study.trials)
    assert compare(trainer, losses, DESIGN, Store(path), silent) == comparison
    assert len(Store(path)._study.trials) == before


def test_a_comparison_stopped_anywhere_goes_on_to_the_same_result(found, trainer, tmp_path):
    """Stopped at each of its steps in turn, like a search that is killed again and again."""
    losses, comparison, _ = found
    path, steps = tmp_path / "other.log", 0

    def stop(event):
        if event.done == goal and event.stage == stage:
            raise KeyboardInterrupt

    for stage, goal in (  # noqa: B007 - stop reads both
        ("tune", 8),
        ("seeds", 0),
        ("seeds", 8),
    ):
        with pytest.raises(KeyboardInterrupt):
            compare(trainer, losses, DESIGN, Store(path), stop)
        assert len(Store(path)._study.trials) > steps
        steps = len(Store(path)._study.trials)
    assert compare(trainer, losses, DESIGN, Store(path), silent) == comparison


class Singly:
    """A trainer that trains each network alone and notes what it is asked, and when."""

    def __init__(self, trainer):
        self._trainer, self.workers, self.log = trainer, 1, []
        self.facts = replace(trainer.facts, group=1)

    def begin(self, runs, states, start, stop):
        (run,) = runs
        self.log.append(("begun", run.seed))

        def wait():
            self.log.append(("waited", run.seed))
            return self._trainer.advance(runs, states, start, stop)

        return wait

    def evaluate(self, states, split):
        self.log.append(("scored", split))
        return self._trainer.evaluate(states, split)


def test_the_next_training_has_begun_while_one_is_waited_for_and_its_held_out_score_read(trainer, tmp_path):
    """So a worker that is ready first has one to go on with."""
    single = Singly(trainer)
    compare(single, named(CE), replace(DESIGN, learning_rates=(1.0,), seeds=4), Store(tmp_path / "log"), silent)
    first, *rest = [seed for what, seed in single.log if what == "begun"]
    assert len(rest) == 3
    expected = [("begun", first), ("begun", rest[0])]
    for seed, later in zip((first, *rest), (rest[1], rest[2], None, None), strict=True):
        expected += [("waited", seed), ("scored", "heldout")] + [("begun", later)] * (later is not None)
    assert single.log == expected


def test_progress_is_told_up_to_the_end(trainer, tmp_path):
    """Both stages from nothing to everything."""
    heard = []
    compare(trainer, named(CE, BRIER), replace(DESIGN, seeds=2), Store(tmp_path / "journal.log"), heard.append)
    assert all(isinstance(event, Confirming) for event in heard)
    for stage, total in (("tune", 6), ("seeds", 4)):
        done = [event.done for event in heard if (event.stage, event.total) == (stage, total)]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, total)


def test_a_reference_that_cannot_be_trained_is_said(trainer, tmp_path):
    """Without it there is nothing to compare with."""
    with pytest.raises(LossMLError, match="could not be trained"):
        compare(trainer, named(EXPLODING, CE), DESIGN, Store(tmp_path / "journal.log"), silent)


@pytest.mark.parametrize("objective", ["accuracy", "balanced_accuracy", "nll", "ece", "balanced_accuracy - 0.5*nll"])
def test_a_comparison_works_for_every_objective(trainer, tmp_path, objective):
    """A loss that learns the opposite is worse by each, and the interval covers seeds and held-out samples.

    Means are as people read them: a single cost is not negated.
    """
    design = replace(DESIGN, objective=objective)
    path = tmp_path / "journal.log"
    comparison = compare(trainer, named(CE, INVERSE), design, Store(path, objective), silent)
    reference, row = comparison.rows
    ours, theirs = ([m.of(objective) for m in one.metrics] for one in (row, reference))
    assert row.mean == pytest.approx(abs(fmean(ours)) if objective in METRICS else fmean(ours))
    assert row.difference == pytest.approx(fmean(ours) - fmean(theirs))
    assert row.difference < 0.0
    (seeds_alone,) = judge([paired_difference(ours, theirs)], design.alpha)
    assert row.high - row.low > 1.001 * (seeds_alone.high - seeds_alone.low)
    assert compare(trainer, named(CE, INVERSE), design, Store(path, objective), silent) == comparison
    recorded = [t.value for t in Store(path, objective)._study.trials if t.user_attrs["stage"] == "seeds"]
    assert sorted(recorded) == pytest.approx(sorted([*ours, *theirs]))


def result(trial=-1, name="ce", **settings):
    metrics = (Metrics(0.9, 0.9, 0.3, 0.05),) * 5
    base = Row(Contender(name, CE, 1.0, trial, named=trial < 0), 1.0, metrics, 0.9, 0.01)
    return replace(base, **settings)


def test_the_winner_is_tested_against_the_best_baseline(trainer, tmp_path):
    """Paired by seed, corrected for the larger of the two numbers of which each is the best."""
    given = [("ce", CE, -1), ("inverse", INVERSE, -1), ("brier", BRIER, -1), ("a", INVERSE, 1), ("b", "-sum_C(y*p)", 2)]
    losses, store = (
        contenders([(label, parse(text), trial) for label, text, trial in given], EVEN),
        Store(tmp_path / "j"),
    )
    comparison = compare(trainer, [replace(losses[1], label="x"), *losses[1:]], DESIGN, store, silent)
    rows = {row.contender.label: row for row in comparison.rows}
    ahead = comparison.ahead
    assert (ahead.ours, ahead.theirs) == ("b", "brier")
    assert ahead.difference == pytest.approx(rows["b"].mean - rows["brier"].mean)
    jobs = {label: [Job("seeds", 0, rows[label].lr, seed) for seed in DESIGN.of("seeds")] for label in ("b", "brier")}
    ours, theirs = ([store.get(rows[label].contender, job) for job in some] for label, some in jobs.items())
    raw = paired_difference(
        [d.metrics.accuracy for d in ours],
        [d.metrics.accuracy for d in theirs],
        *(np.asarray([d.parts["accuracy"] for d in some], float) for some in (ours, theirs)),
    )
    assert ahead.p == pytest.approx(min(1.0, 3 * raw.p))


BETTER = {
    "mean": 0.95,
    "difference": 0.05,
    "low": 0.03,
    "high": 0.07,
    "p": 0.002,
    "verdict": "better",
    "detectable": 0.02,
    "needed": 3,
}
SAME = {**BETTER, "mean": 0.902, "difference": 0.002, "low": -0.01, "high": 0.014, "p": 0.7, "verdict": "no difference"}


def sentence(*rows, ahead=None):
    return judged(Comparison((result(), *rows), replace(DESIGN, seeds=5), 400, 0.01, ahead=ahead)).sentence


def test_the_sentence_says_better_only_where_the_test_does():
    """Better, worse and no difference, each with size and interval, and what would have been needed."""
    better = sentence(result(17, "#17", **BETTER))
    assert better.startswith("Better: trial 17")
    assert "+5.00 points [+3.00, +7.00]" in better
    same = sentence(result(17, "#17", **{**SAME, "needed": 120}))
    assert same.startswith("No difference found: trial 17")
    assert "120 seeds" in same
    hopeless = sentence(result(17, "#17", **{**SAME, "needed": 0}))
    assert "whatever the number of seeds" in hopeless
    none = sentence(result(17, "#17", **{**SAME, "difference": 0.0, "needed": 0}))
    assert none.endswith("This design sees differences from 2.00 points on; the one observed is exactly 0.")
    twin = {**SAME, "difference": 0.0, "low": 0.0, "high": 0.0, "detectable": 0.0, "needed": 0}
    assert sentence(result(17, "#17", **twin)).endswith("Both have the same score for every seed.")
    gone = {"mean": 0.8, "difference": -0.1, "low": -0.12, "high": -0.08, "verdict": "worse"}
    assert sentence(result(17, "#17", **{**SAME, **gone})).startswith("Worse: trial 17")


def test_the_sentence_names_a_known_loss_and_the_best_baseline():
    """A rediscovery is called one, and who is better than cross-entropy alone is not called best of all."""
    known = result(17, "#17", **BETTER)
    known = replace(known, contender=replace(known.contender, known="gce(q=0.7)"))
    strong = result(-1, "focal", **{**BETTER, "mean": 0.97, "difference": 0.07})
    text = sentence(strong, known, ahead=Match("#17", "focal", -0.02, -0.04, -0.001, 0.04, "worse"))
    assert "which is gce(q=0.7) up to scale" in text
    assert "Against the best baseline, focal: -2.00 points [-4.00, -0.10], p = 0.04, it beats the winner." in text


def test_a_baseline_that_the_search_found_itself_is_still_a_baseline():
    """With seeds from the zoo a trial may take a baseline's place: it is compared with, and called what it is."""
    focal = result(-1, "focal", **{**BETTER, "mean": 0.94, "difference": 0.04})
    focal = replace(focal, contender=replace(focal.contender, trial=3))
    winner = result(17, "#17", **BETTER)
    ahead = Match("#17", "focal", 0.01, 0.001, 0.02, 0.03, "better")
    assert "best baseline, focal: +1.00 points [+0.10, +2.00]" in sentence(focal, winner, ahead=ahead)
    assert sentence(winner).endswith("Of the baselines ce is the best.")
    assert sentence(focal).endswith("It is itself a baseline, and the best of them.")


@pytest.mark.parametrize(("objective", "size"), [("nll", "+0.0500 nats"), ("ece", "+5.00 points")])
def test_less_is_better_is_said_as_less(objective, size):
    """For likelihood and calibration a better loss has less, and the ends of the interval stand in order."""
    winner = result(17, "#17", **{**BETTER, "mean": 0.25})
    design = replace(DESIGN, objective=objective)
    other = result(-1, "focal", **{**BETTER, "mean": 0.27, "difference": 0.03})
    ahead = Match("#17", "focal", 0.02, 0.01, 0.03, 0.01, "better")
    text = judged(Comparison((result(mean=0.3), other, winner), design, 400, 0.01, ahead=ahead)).sentence
    assert text.startswith(f"Better: trial 17 has {size} [")
    assert f"less held-out {objective}" in text
    assert "best baseline, focal: +" in text


def test_nothing_to_confirm_is_said():
    """No candidate, or none that trains, is no discovery."""
    assert sentence().startswith("Nothing was confirmed")
    assert sentence(result(3, "#3", verdict="failed", reason="diverged")).startswith("Nothing was confirmed")


def test_a_verdict_is_strict_json(found):
    """Also with a loss that failed: machines read it."""
    text = json.dumps(as_json(judged(found[1])), allow_nan=False)
    assert json.loads(text)["sentence"]


def test_finalists_are_the_best_complete_trials():
    """By the last score on the search-validation split, shorter programs at a tie; the pruned and failed are out."""

    def trial(number, state, *scores, program=CE):
        metrics = tuple(Metrics(score, score, 1.0, 0.1) for score in scores)
        return Trial(number, program, "random", (), 1.0, (f"a{number}",), state, metrics)

    trials = [
        trial(0, State.COMPLETE, 0.1, 0.2, 0.7, program=BRIER),
        trial(1, State.PRUNED, 0.9),
        trial(2, State.COMPLETE, 0.1, 0.2, 0.8),
        trial(3, State.FAILED, 0.9, 0.9),
        trial(4, State.COMPLETE, 0.1, 0.2, 0.7),
    ]
    assert [t.number for t in finalists(trials, "accuracy", 3)] == [2, 4, 0]
    assert [t.number for t in finalists(trials, "accuracy", 1)] == [2]


def test_siblings_are_shortlisted_once():
    """A variant of a better finalist says nothing of its own; the next of another kind takes its place."""
    programs = (BRIER, "sum_C((p - y)^2) - 0.001*sum_C(y*logp)", CE, INVERSE)
    trials = [
        Trial(k, text, "random", (), 1.0, (f"a{k}",), State.COMPLETE, (Metrics(0.9 - 0.1 * k, 0.5, 1.0, 0.1),))
        for k, text in enumerate(programs)
    ]
    assert [t.number for t in shortlist(trials, "accuracy", 2, 4)] == [0, 2]
    assert [t.number for t in shortlist(trials, "accuracy", 9, 4)] == [0, 2, 3]


def test_contenders_are_scaled_like_cross_entropy_and_named():
    """A loss that only rescales another has another factor and the same name."""
    one, two, three = contenders(
        [("a", parse(CE), -1), ("b", parse(TWICE), 3), ("c", zoo.program_of("gce"), 4)], [0.1] * 10
    )
    assert (one.scale, two.scale) == (pytest.approx(1.0), pytest.approx(0.5))
    assert (one.known, two.known, three.known) == ("ce", "ce", "gce")
    assert (one.trial, two.trial) == (-1, 3)
