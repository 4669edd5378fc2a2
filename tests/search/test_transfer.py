"""Claims beyond one task and one reading: other tasks, a held-out split that is read again, whatever is killed."""

import json
from pathlib import Path

import pytest
import sources
from scipy.stats import t

from lossml.errors import RecipeError, UsageError
from lossml.search import folder as folders
from lossml.search.elsewhere import there, with_tasks, written
from lossml.search.events import Confirming
from lossml.search.journal import read_study
from lossml.search.reading import load_run
from lossml.search.recipe import Recipe
from lossml.search.records import as_json
from lossml.search.runs import resume, search
from lossml.search.statistics import holm
from lossml.search.trainings import STUDY, study_of

SMALL = {"budget": 3, "cohort": 3, "seed": 7, "candidates": 2, "confirm_seeds": 2, "tuning_seeds": 1, "workers": 0}
PAIRS = "clouds_task:pairs"


def go(clouds, listener=lambda _: None, name=None, **flags):
    Path("losses.txt").write_text("ngl\nmae\ngce(q=0.3)\nfocal(gamma=4)\n")
    small = {**SMALL, "baselines": ["ce", "brier"], "seeds": "losses.txt", **flags}
    return search({"dataset": clouds, **small}, name=name, listener=listener)


def verdict_bytes(record):
    return (record.path / folders.VERDICT).read_bytes()


@pytest.mark.parametrize(
    ("text", "name", "settings"),
    [
        ("fashion-mnist", "fashion-mnist", {}),
        (" digits , label-noise = 0.20", "digits", {"label_noise": 0.2}),
        (
            "digits,label_noise=0.3,label_noise_kind=asymmetric,train_size=100",
            "digits",
            {"label_noise": 0.3, "label_noise_kind": "asymmetric", "train_size": 100},
        ),
        ("image-folder:a,b/c,long_tail=5", "image-folder:a,b/c", {"long_tail": 5.0}),
    ],
)
def test_another_task_is_a_name_and_settings(text, name, settings):
    """Written in one spelling, it is the same task again; what made the searched task hard is not taken along."""
    recipe = Recipe("cifar10", label_noise=0.4, long_tail=9.0, confirm_on=(text,))
    found = there(recipe, text)
    assert found.dataset == name
    plain = Recipe(name)
    for key in ("label_noise", "label_noise_kind", "long_tail", "train_size"):
        assert getattr(found, key) == settings.get(key, getattr(plain, key))
    assert there(recipe, written(found)) == found
    assert with_tasks(recipe).confirm_on == (written(found),)
    assert ("logit-adjustment" in found.baselines) == (found.long_tail > 1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digits,label_nois=0.2", "did you mean 'label_noise'"),
        ("digits,q=1", "there are label_noise"),
        ("digits,label_noise=2", "label_noise is 2; it must be a number from 0 to 0.95"),
        ("digits,label_noise=much", "label_noise is 'much'"),
        ("cifar10,label_noise=0.4", "the task that is searched"),
        ("", "must name a data set"),
    ],
)
def test_what_is_no_other_task_is_refused(text, words):
    """With what was given, the rule and what there is."""
    with pytest.raises(RecipeError, match=words):
        with_tasks(Recipe("cifar10", label_noise=0.4, confirm_on=(text,)))
    with pytest.raises(RecipeError, match="candidates is 0"):
        with_tasks(Recipe("cifar10", candidates=0, confirm_on=("digits",)))


def test_a_task_that_cannot_be_is_refused_before_anything_trains(clouds):
    """A name that is none, a task that fails, data that is not there: no folder is left behind."""
    for text in ("digitz", "clouds_task:nothing", "image-folder:nowhere"):
        with pytest.raises(UsageError):
            go(clouds, confirm_on=[text])
    assert not Path("runs").exists()


def test_a_search_is_confirmed_on_other_tasks(clouds):
    """The same candidates, scaled and tuned there, tested on that task's own held-out split.

    The winner is corrected for the number of tasks, and on the data set that was searched for all candidates. The first
    confirmation is what it is without, and a task that is added later gives the same in the end.
    """
    noisy = f"{clouds},label_noise=0.3"
    plain = go(clouds, name="plain")
    first = (plain.verdict.comparison, plain.verdict.winner)
    record = resume(plain.path, {"confirm_on": [PAIRS]})
    assert (record.verdict.comparison, record.verdict.winner) == first
    assert [one.task for one in record.verdict.transfers] == [PAIRS]
    both = resume(plain.path, {"confirm_on": [noisy]})
    assert both.recipe.confirm_on == (PAIRS, noisy)
    assert (both.verdict.comparison, both.verdict.winner) == first
    pairs, other = both.verdict.transfers
    assert (pairs.comparison.samples, other.comparison.samples) == (300, 400)
    tested = {row.contender.program for row in first[0].rows if row.contender.trial >= 0}
    assert {row.contender.program for row in other.comparison.rows if row.contender.trial >= 0} == tested
    assert pairs.winner.contender.trial == other.winner.contender.trial == first[1].contender.trial
    assert pairs.winner.contender.scale != first[1].contender.scale
    rivals = [r.raw.p for r in other.comparison.rows if r.contender.trial >= 0 and r != other.winner and r.raw]
    expected = holm([pairs.winner.raw.p, other.winner.raw.p, *rivals])
    assert [pairs.winner.p, other.winner.p] == pytest.approx(expected[:2])
    for one in both.verdict.transfers:
        assert one.winner in one.comparison.rows
        assert f"{one.winner.verdict} on {one.task} (" in both.verdict.sentence
    assert load_run(plain.path).verdict == both.verdict
    assert len(json.loads(verdict_bytes(both))["transfers"]) == len(as_json(both.verdict)["transfers"]) == 2
    assert verdict_bytes(resume(plain.path, {})) == verdict_bytes(both)


def test_trainings_of_tasks_lie_apart_and_an_interruption_loses_a_block(clouds):
    """Stopped in each stage on the other task, the run goes on to the same verdict, and trains nothing twice."""
    whole = go(clouds, confirm_on=[PAIRS], candidates=1, name="whole")

    def stop_at(stage):
        def hear(event):
            if isinstance(event, Confirming) and (event.task, event.stage) == (PAIRS, stage) and event.done:
                raise KeyboardInterrupt

        return hear

    with pytest.raises(KeyboardInterrupt):
        go(clouds, stop_at("tune"), "mine", confirm_on=[PAIRS], candidates=1)
    assert load_run(Path("runs/mine")).verdict.transfers == ()
    with pytest.raises(KeyboardInterrupt):
        resume(Path("runs/mine"), {}, listener=stop_at("seeds"))
    assert verdict_bytes(resume(Path("runs/mine"), {})) == verdict_bytes(whole)
    for study in (STUDY, study_of(PAIRS)):
        ours, theirs = (read_study(Path("runs") / name / folders.JOURNAL, study).trials for name in ("whole", "mine"))
        keys = [json.dumps(one.user_attrs, sort_keys=True) for one in theirs]
        assert len(set(keys)) == len(keys) == len(ours) > 0


def test_a_held_out_split_that_is_read_again_for_others_is_corrected_for_it(clouds):
    """A finished run that is extended and confirmed again asks new candidates of samples that were read before."""
    first = go(clouds, budget=1, candidates=1)
    assert first.verdict.comparison.readings == (1, 1)
    assert resume(first.path, {}).verdict == first.verdict
    again = resume(first.path, {"budget": 4})
    alone = go(clouds, candidates=1, budget=4)
    ours, theirs = (
        {row.contender.trial for row in one.verdict.comparison.rows if row.contender.trial >= 0}
        for one in (first, again)
    )
    assert ours != theirs
    assert again.verdict.comparison.readings == (2, 1)
    assert len(theirs) == 1
    for row in (row for row in again.verdict.comparison.rows if row.contender.trial >= 0):
        assert row.p == pytest.approx(min(1.0, 2.0 * row.raw.p))
        reach = t.isf(0.05 / 2 / 2, row.raw.freedom) * row.raw.error
        assert row.high >= row.raw.mean + reach - 1e-12
    for row in (row for row in alone.verdict.comparison.rows if row.contender.trial >= 0):
        assert row.p == row.raw.p
    assert "second time that the held-out split is read" in again.verdict.sentence
    assert "second time" not in alone.verdict.sentence
    assert resume(first.path, {}).verdict == again.verdict


def test_a_task_with_classes_is_refused_for_a_search_on_masks(clouds):
    """Losses that sum over pixels have none there, and that is said before anything trains."""
    Path("masks_task.py").write_text(sources.MASKS)
    with pytest.raises(RecipeError, match="sum over pixels"):
        search({"dataset": "masks_task:task", "workers": 0, "confirm_on": [PAIRS]})
    assert not Path("runs").exists()
