"""A search over several trainings a trial: comparable scores, Wilcoxon's test over them, one loop, honest verdicts."""

import json
import re
from pathlib import Path

import pytest
import sources
from climbing import climbed
from scipy import stats

from lossml import backend
from lossml.errors import LossMLError, RecipeError, UsageError
from lossml.program import parse
from lossml.proxy import Run, Trainer
from lossml.search import folder as folders
from lossml.search.cohort import loss_of, metrics_of
from lossml.search.cost import cost
from lossml.search.elsewhere import searched_on, there, with_tasks
from lossml.search.events import CohortFinished, Confirming, Gauging, RungStarted
from lossml.search.journal import read_study
from lossml.search.loop import SEARCH_SEED
from lossml.search.objective import GAIN, is_objective
from lossml.search.propose import is_uneven
from lossml.search.pruning import STUDY, make_pruner, make_shadow
from lossml.search.reading import best, foremost, load_run
from lossml.search.recipe import DOUBT, SIGNS, Recipe, make_recipe
from lossml.search.records import FULL, Gained, State, as_json
from lossml.search.runs import resume, search
from lossml.search.several import APART, REFERENCE_SEED, REFERENCES
from lossml.search.transfer import spec_of
from lossml.search.yardstick import Yardstick, read_yardsticks

SMALL = {"budget": 12, "cohort": 4, "seed": 7, "candidates": 0, "confirm_seeds": 2, "baselines": ["ce"], "workers": 0}
PAIRS = "clouds_task:pairs"
NOISY = "clouds_task:task,label_noise=0.4"


def go(clouds, listener=lambda _: None, name=None, **flags):
    several = {"also_on": [NOISY, PAIRS], "trial_seeds": 2}
    return search({"dataset": clouds, **SMALL, **several, **flags}, name=name, listener=listener)


def table(record):
    """Write down everything about the trials that a search decides."""
    return "\n".join(repr(as_json(trial)) for trial in record.trials)


def verdict_bytes(record):
    return (record.path / folders.VERDICT).read_bytes()


def gained(gain):
    return Gained(0.5, 0.5, 1.0, 0.1, gain=gain)


def stages(count):
    return tuple(FULL * (k + 1) for k in range(count))


# -- the pruner -----------------------------------------------------------------------------------


def test_wilcoxon_stops_a_bad_loss_as_soon_as_it_can():
    """One that is worse everywhere has 4 of 8 trainings, one that is worse half of the time has all."""
    shadow, aims = make_shadow(make_pruner("wilcoxon", 2)), stages(8)
    rows = {
        "good": [0.1 * k for k in range(8)],
        "middling": [0.1 * k + (-1) ** k * 0.05 for k in range(8)],
        "bad": [0.1 * k - 0.3 - 0.01 * k for k in range(8)],
    }

    def cohort(names):
        found = [rows[name] for name in names]
        return climbed(shadow, len(names), GAIN, lambda who, k: [gained(found[w][k]) for w in who], aims)

    (first,) = cohort(["good"])
    middling, bad = cohort(["middling", "bad"])
    assert [f.state for f in (first, middling, bad)] == [State.COMPLETE, State.COMPLETE, State.PRUNED]
    assert [len(f.metrics) for f in (first, middling, bad)] == [8, 8, SIGNS]
    assert shadow.best_value == pytest.approx(sum(rows["good"]) / 8)


def test_with_fewer_than_five_trainings_none_can_be_stopped():
    """The smallest p over n is 2^-n: with four the first chance comes after the last, with five a training is saved."""
    for count in (2, 4, 5):
        shadow = make_shadow(make_pruner("wilcoxon", 2))
        climbed(shadow, 1, GAIN, lambda who, _: [gained(1.0)] * len(who), stages(count))
        (bad,) = climbed(shadow, 1, GAIN, lambda who, k: [gained(-1.0 - k)] * len(who), stages(count))
        assert (bad.state is State.PRUNED) == (count > SIGNS)
    assert 2.0**-SIGNS < DOUBT <= 2.0 ** (1 - SIGNS)


def test_a_search_prunes_as_the_test_says_against_the_best_so_far(clouds):
    """Every decision is that of scipy's test; what was not trained is what the cost counts as spared."""
    record = go(clouds, budget=16)
    total, told = record.recipe.trainings, []
    for start in range(0, 16, 4):
        complete = [t for t in told if t.state is State.COMPLETE]
        lead = max(complete, key=lambda t: t.scores(GAIN)[-1], default=None)
        for trial in record.trials[start : start + 4]:
            gains = [m.gain for m in trial.metrics]
            stops = [k for k in range(2, total) if lead and _worse(gains[:k], [m.gain for m in lead.metrics])]
            assert len(gains) == min((k for k in stops if k <= len(gains)), default=total)
            assert (trial.state is State.PRUNED) == bool(stops and len(gains) < total)
        told += record.trials[start : start + 4]
    pruned = [t for t in record.trials if t.state is State.PRUNED]
    assert pruned
    found = cost(record.trials, record.cohorts, record.recipe.stages)
    trained = sum(len(t.metrics) for t in record.trials)
    assert (found.trained, found.whole) == (trained, total)
    assert found.unpruned == pytest.approx(trained / (16 * total))
    assert found.spared == pytest.approx(found.training * (16 * total - trained) / trained)
    assert sum(one.trainings for one in record.tasks) == trained


def _worse(gains, lead):
    gaps = [a - b for a, b in zip(gains, lead, strict=False)]
    p = stats.wilcoxon(gaps, alternative="less", zero_method="zsplit").pvalue
    return p < DOUBT and sum(gains) / len(gains) < sum(lead) / len(lead)


# -- what is trained ------------------------------------------------------------------------------


def test_each_training_is_that_of_a_trainer_of_its_task_alone(clouds):
    """Task by task, then seed by seed: the loss scaled for the task's classes, a seed of its own, measured by
    cross-entropy's scores, which come from trainings and samples that anyone can repeat.
    """
    record = go(clouds, pruner="none", budget=4, objective="nll")
    recipe, found = record.recipe, read_yardsticks(record.path)
    assert [one.task for one in found] == list(searched_on(recipe)) == [clouds, NOISY, PAIRS]
    for place, text in enumerate(searched_on(recipe)):
        with Trainer(spec_of(there(recipe, text)), backend.stack, workers=0) as alone:
            facts = alone.facts
            ce = loss_of(parse("-sum_C(y*logp)"), 1.0, facts.prior)
            runs = [Run(ce, 1.0, REFERENCE_SEED + 1000 * recipe.seed + k) for k in range(REFERENCES)]
            scores = [-one.score.nll for one in alone.advance(runs, [None] * REFERENCES, 0, FULL)]
            assert found[place].mean == pytest.approx(sum(scores) / REFERENCES)
            assert found[place].spread > stats.tstd(scores)
            programs = [parse(trial.program) for trial in record.trials]
            scales = backend.gradient_scale(programs, facts.classes, facts.pixels, facts.prior).tolist()
            for seed in range(2):
                k = place + 3 * seed
                runs = [
                    Run(loss_of(p, s, facts.prior), 1.0, SEARCH_SEED + 10**6 * recipe.seed + n + APART * k)
                    for n, (p, s) in enumerate(zip(programs, scales, strict=True))
                ]
                for trial, one in zip(record.trials, alone.advance(runs, [None] * 4, 0, FULL), strict=True):
                    metrics = trial.metrics[k]
                    assert as_json(metrics) == {**as_json(metrics_of(one.score)), "gain": metrics.gain}
                    assert metrics.gain == pytest.approx((-metrics.nll - found[place].mean) / found[place].spread)
                    assert trial.scores(GAIN)[k] == pytest.approx(sum(m.gain for m in trial.metrics[: k + 1]) / (k + 1))


def test_a_gain_does_not_depend_on_the_scale_of_a_task():
    """A task whose scores lie ten times as far apart weighs as much; cross-entropy's own gain is zero."""
    narrow, wide = Yardstick("a", 0.9, 0.01), Yardstick("b", 0.5, 0.1)
    assert narrow.gain(0.92) == pytest.approx(wide.gain(0.7)) == pytest.approx(2.0)
    assert narrow.gain(0.9) == wide.gain(0.5) == 0.0


def test_several_seeds_on_one_task_are_several_trainings_too(clouds):
    """Without other tasks the trainings differ in their seeds, and the verdict is of the one task."""
    record = go(clouds, also_on=[], trial_seeds=5, budget=8, candidates=1)
    assert record.recipe.pruner == "wilcoxon"
    for trial in (t for t in record.trials if t.state is State.COMPLETE):
        assert len(trial.metrics) == 5
        assert len({m.nll for m in trial.metrics}) == 5
    assert [one.task for one in record.tasks] == [clouds]
    assert record.tasks[0].agreement is None
    assert record.verdict.transfers == ()


def test_a_search_with_one_training_keeps_nothing_of_this(clouds):
    """No gain in its journal or verdict, no file of tasks, its own pruner and rungs."""
    record = go(clouds, also_on=[], trial_seeds=1, candidates=1, budget=4)
    assert (record.recipe.pruner, record.recipe.stages, record.recipe.aim) == ("asha", (1, 4, 16), "accuracy")
    assert record.tasks == ()
    assert not (record.path / folders.TASKS).exists()
    for name in (folders.JOURNAL, folders.VERDICT):
        assert not re.search(r"\bgain\b", (record.path / name).read_text())


# -- the loop -------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_search_with_any_workers(clouds):
    """Two processes that share the tasks find what one finds, byte for byte; another seed finds something else."""
    one, two, other = go(clouds), go(clouds, workers=2), go(clouds, seed=8)
    assert table(one) == table(two) != table(other)
    tasks = [(record.path / folders.TASKS).read_bytes() for record in (one, two)]
    assert tasks[0] == tasks[1]


def test_stopped_anywhere_and_resumed_it_is_the_same_search(clouds):
    """Before cross-entropy is measured, on the way to a task, between cohorts, in the confirmation on each task."""
    flags = {"budget": 8, "candidates": 1}
    whole = go(clouds, **flags, name="whole")
    moments = [
        lambda e: isinstance(e, Gauging) and e.task == PAIRS,
        lambda e: isinstance(e, RungStarted) and e.rung == 2 * FULL,
        lambda e: isinstance(e, CohortFinished) and not e.replayed and e.done == 4,
        lambda e: isinstance(e, RungStarted) and e.rung == 5 * FULL,
        lambda e: isinstance(e, Confirming) and not e.task,
        lambda e: isinstance(e, Confirming) and e.task == NOISY and e.stage == "seeds",
    ]

    def stop(moment):
        def hear(event):
            if moment(event):
                raise KeyboardInterrupt

        return hear

    with pytest.raises(KeyboardInterrupt):
        go(clouds, stop(moments[0]), "mine", **flags)
    for moment in moments[1:]:
        with pytest.raises(KeyboardInterrupt):
            resume(Path("runs/mine"), {}, listener=stop(moment))
    record = resume(Path("runs/mine"), {})
    assert (table(record), verdict_bytes(record)) == (table(whole), verdict_bytes(whole))
    studies = [read_study(one.path / folders.JOURNAL, STUDY) for one in (whole, record)]
    values = [[(t.state, t.value, t.intermediate_values) for t in study.trials] for study in studies]
    assert values[0] == values[1]
    assert values[0][0][2] == dict(zip(stages(6), (m.gain for m in whole.trials[0].metrics), strict=True))


def test_what_is_trained_on_cannot_change_when_a_search_goes_on(clouds):
    """A search over other tasks would be another search."""
    record = go(clouds, budget=4)
    for flags in ({"also_on": [PAIRS]}, {"trial_seeds": 3}):
        with pytest.raises(RecipeError, match="this run was made with"):
            resume(record.path, flags)
    assert len(resume(record.path, {"budget": 5}).trials) == 5


def test_a_control_has_the_same_trainings_and_pruner(clouds):
    """The random search beside it is measured by the same yardsticks and trains as much."""
    record = go(clouds, control="random", budget=8)
    control = record.summary.control
    assert control.trained[1] >= control.trained[0] == sum(len(t.metrics) for t in record.trials)
    assert control.trials >= 4


# -- what is said ---------------------------------------------------------------------------------


def test_the_verdict_claims_each_task_for_itself(clouds):
    """The first in the sentence with its name, the others of the search apart from those it did not see."""
    unseen = f"{clouds},train_size=64"
    record = go(clouds, budget=8, candidates=2, confirm_on=[unseen])
    verdict = record.verdict
    assert [one.task for one in verdict.transfers] == [NOISY, PAIRS, unseen]
    assert f"held-out accuracy on {clouds} against tuned ce" in verdict.sentence
    searched, new = verdict.sentence.split("On the other tasks of the search, corrected for the number of all: ")[
        1
    ].split(" On tasks that the search did not see, corrected for the number of all: ")
    assert (NOISY in searched, PAIRS in searched, unseen in searched) == (True, True, False)
    assert unseen in new
    chosen = {row.contender.trial for row in verdict.comparison.rows if row.contender.trial >= 0}
    ranked = sorted((t for t in record.trials if len(t.metrics) == 6), key=lambda t: -t.scores(GAIN)[-1])
    assert ranked[0].number in chosen
    assert load_run(record.path).verdict == verdict


def test_the_best_is_best_over_all_tasks(clouds):
    """Without a verdict the highest mean gain, with its trainings and scores by task in the record."""
    record = go(clouds, budget=8)
    complete = [t for t in record.trials if t.state is State.COMPLETE]
    lead = max(complete, key=lambda t: sum(m.gain for m in t.metrics))
    assert best(record).trial == foremost(record, 1)[0].number == lead.number
    for place, one in enumerate(record.tasks):
        mine = lead.metrics[place::3]
        assert one.gain == pytest.approx(sum(m.gain for m in mine) / 2)
        assert one.best == pytest.approx(sum(m.accuracy for m in mine) / 2)
        assert one.trainings == sum(len(t.metrics[place::3]) for t in record.trials)
    stored = json.loads((record.path / folders.TASKS).read_text())
    assert [one["task"] for one in stored] == [one.task for one in record.tasks]


# -- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"pruner": "wilcoxon"}, "set also_on or trial_seeds"),
        ({"also_on": ["digits,long_tail=9"], "pruner": "asha"}, "a trial has 2 trainings .* give wilcoxon or none"),
        ({"trial_seeds": 3, "rungs": [4, 16]}, "a trial has 3 trainings .* leave rungs out"),
        ({"also_on": "digits"}, "must be a list of tasks"),
        ({"trial_seeds": 0}, "must be a whole number from 1"),
        ({"also_on": ["digits"]}, "also_on names digits, on which every trial is trained already"),
        ({"also_on": ["digits,long_tail=9", "digits, long-tail=9.0"]}, "also_on names digits,long_tail=9, on which"),
        ({"also_on": ["digits,tail=9"]}, "also_on 'digits,tail=9': unknown setting 'tail'"),
        ({"also_on": ["fashion-mnist"], "confirm_on": ["fashion-mnist"]}, "on which its result is tested anyway"),
        ({"objective": "gain"}, "objective is 'gain'; it must be"),
    ],
)
def test_what_cannot_be_searched_together_is_refused(flags, words):
    """With what was given, the rule and what to do."""
    with pytest.raises(RecipeError, match=words):
        with_tasks(make_recipe({"dataset": "digits", **flags}))


def test_a_recipe_takes_the_pruner_that_fits_unless_one_is_chosen():
    """A data set's own rungs and the usual pruner give way; a chosen one that fits stays, and is written down."""
    found = make_recipe({"dataset": "digits", "also_on": ["fashion-mnist"], "trial_seeds": 2})
    assert (found.pruner, found.rungs, found.stages, found.aim) == ("wilcoxon", (FULL,), stages(4), GAIN)
    assert make_recipe({"dataset": "digits", "trial_seeds": 2, "pruner": "none"}).pruner == "none"
    assert make_recipe({"dataset": "digits"}).stages == (4, FULL)
    assert make_recipe({"trial_seeds": 2}, "digits").rungs == (FULL,)
    assert not is_objective(GAIN)


def test_a_written_recipe_gives_the_same_search_again(tmp_path):
    """What a run's folder holds is a recipe that can be given."""
    found = make_recipe({"dataset": "digits", "also_on": ["fashion-mnist"], "trial_seeds": 2})
    (tmp_path / "recipe.toml").write_text(found.to_toml())
    assert make_recipe({}, str(tmp_path / "recipe.toml")) == found


def test_a_long_tail_on_any_task_lets_losses_read_the_prior():
    """Where one task has uneven classes, the prior is worth reading."""
    assert is_uneven(Recipe("digits", also_on=("digits,long_tail=20",)))
    assert not is_uneven(Recipe("digits", also_on=("digits,label_noise=0.2",)))


def test_masks_and_classes_are_not_searched_together_and_no_folder_is_left(clouds):
    """Neither way round; nor is a task that is none, or whose data is not there."""
    Path("masks_task.py").write_text(sources.MASKS)
    with pytest.raises(RecipeError, match="'masks_task:task': this task has masks"):
        go(clouds, also_on=["masks_task:task"])
    with pytest.raises(RecipeError, match="sum over pixels"):
        go("masks_task:task", also_on=[PAIRS])
    for text in ("digitz", "clouds_task:nothing", "image-folder:nowhere"):
        with pytest.raises(UsageError):
            go(clouds, also_on=[text])
    assert not Path("runs").exists()


def test_a_task_on_which_nothing_can_be_measured_is_named(clouds):
    """Where cross-entropy scores the same for every sample and seed, there is no scale, and the message says where."""
    Path("easy_task.py").write_text(
        "import dataclasses, torch, clouds_task\n"
        "from lossml.proxy import Split\n"
        "def task():\n"
        "    made = clouds_task.task()\n"
        "    far = Split(torch.full((50, 6), 0.0), torch.zeros(50, dtype=torch.long))\n"
        "    sure = Split(made.train.inputs, torch.zeros_like(made.train.targets))\n"
        "    return dataclasses.replace(made, train=sure, validation=far)\n"
    )
    with pytest.raises(LossMLError, match="accuracy on easy_task:task is 1 for every sample and seed"):
        go(clouds, also_on=["easy_task:task"])
