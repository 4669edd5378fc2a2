"""Whole searches with the real trainer and the real journal: repeatable, resumable, readable, honest."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lossml.errors import RunError, UsageError
from lossml.program import operations, parse, show
from lossml.proxy import Trainer
from lossml.search import folder as folders
from lossml.search.events import CohortFinished, Confirming, Proposed, Started
from lossml.search.journal import Journal, read_study
from lossml.search.reading import best, find_run, foremost, load_run
from lossml.search.recorded import read_cohorts
from lossml.search.records import State, as_json
from lossml.search.runs import resume, search

SMALL = {"budget": 12, "cohort": 8, "seed": 7, "candidates": 1, "confirm_seeds": 2, "baselines": ["ce"], "workers": 0}


def table(record):
    """Write down everything about the trials that a search decides."""
    rows = [
        (t.number, t.state.value, t.metrics, t.operator, t.parents, t.scale, t.keys, t.program) for t in record.trials
    ]
    return "\n".join(map(repr, rows))


def verdict_bytes(record):
    return (record.path / folders.VERDICT).read_bytes()


def go(clouds, **flags):
    return search({"dataset": clouds, **SMALL, **flags})


def test_the_same_seed_gives_the_same_trials_and_verdict_byte_for_byte(clouds):
    """Two searches with one seed agree in every digit; another seed gives another search."""
    one, two, other = go(clouds), go(clouds), go(clouds, seed=8)
    assert one.path != two.path
    assert table(one) == table(two) != table(other)
    assert verdict_bytes(one) == verdict_bytes(two) != verdict_bytes(other)
    assert one.rejections == two.rejections


def test_workers_do_not_change_results(clouds):
    """Two processes find what one finds."""
    small = {"candidates": 0, "budget": 8}
    assert table(go(clouds, **small)) == table(go(clouds, **small, workers=2))


def test_a_search_under_a_long_tail_with_schedules_trains_losses_that_read_prior_and_progress(clouds):
    """Such losses are proposed, screened, trained, confirmed and resumed like any other."""
    flags = {"long_tail": 8.0, "schedules": True, "seeds": "none", "baselines": ["ce", "logit-adjustment"]}
    first = go(clouds, **flags, budget=24, candidates=2)
    read = [operations(parse(t.program)) & {"pi", "t"} for t in first.trials]
    assert any("pi" in names for names in read)
    assert any("t" in names for names in read)
    assert first.verdict.comparison.rows[1].verdict != "failed"
    again = resume(first.path, {})
    assert (table(again), verdict_bytes(again)) == (table(first), verdict_bytes(first))


def test_the_budget_counts_every_trained_program_and_no_other(clouds):
    """As many trials as asked for, no loss twice, every one with scores or a reason; rejections come on top."""
    record = go(clouds, budget=20, seeds="none", candidates=0)
    assert [t.number for t in record.trials] == list(range(20))
    assert len({key for t in record.trials for key in t.keys[:1]}) == 20
    for t in record.trials:
        assert (len(t.metrics) == 3) == (t.state is State.COMPLETE)
        assert bool(t.reason) == (t.state is State.FAILED)
        assert t.state is State.FAILED or t.metrics
        assert all(number < t.number for number in t.parents)
        assert show(parse(t.program)) == t.program
    assert sum(record.rejections.values()) > 20
    assert record.verdict is None


def test_the_summary_lies_in_the_runs_folder(clouds):
    """Front and rank correlations are in a file of their own and in the record, the same."""
    record = go(clouds, pruner="none", candidates=0)
    written = json.loads((record.path / folders.SUMMARY).read_text())
    assert written == as_json(record.summary)
    assert [one["rung"] for one in written["rungs"]] == [1, 4]
    assert all(one["trials"] == 12 and -1.0 <= one["correlation"]["value"] <= 1.0 for one in written["rungs"])
    best_score = max(t.metrics[-1].accuracy for t in record.trials if t.state is State.COMPLETE)
    assert written["front"][-1]["score"] == best_score


@pytest.mark.parametrize("objective", ["nll", "balanced_accuracy - 0.5*ece"])
def test_a_search_ends_with_the_best_by_its_objective(clouds, objective):
    """Pruner, proposer, confirmation and verdict all go the same way."""
    record = go(clouds, objective=objective, budget=10, candidates=2)
    complete = {t.number: t.metrics[-1].of(objective) for t in record.trials if t.state is State.COMPLETE}
    pruned = [t.metrics for t in record.trials if t.state is State.PRUNED]
    for rung in {len(metrics) - 1 for metrics in pruned}:
        stopped = [m[rung].of(objective) for m in pruned if len(m) == rung + 1]
        passed = [t.metrics[rung].of(objective) for t in record.trials if len(t.metrics) > rung + 1]
        assert max(passed) >= max(stopped)
    assert best(replace(record, verdict=None)).trial == max(complete, key=complete.get)
    tried = [row for row in record.verdict.comparison.rows if row.contender.trial >= 0]
    sign = 1.0 if "-" in objective else -1.0
    assert record.verdict.winner.mean == max(tried, key=lambda row: sign * row.mean).mean
    assert record.verdict.comparison.design.objective == objective


def test_a_verdict_goes_when_its_search_goes_on(clouds):
    """What was said of fewer trials is not shown for more; a search that is done keeps its verdict."""
    record = go(clouds, budget=8)
    assert resume(record.path, {}, confirming=False).verdict == record.verdict
    assert resume(record.path, {"budget": 16}, confirming=False).verdict is None
    assert not best(load_run(record.path)).confirmed


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("verdict.json", "{}"),
        ("verdict.json", '{"sentence": "Bet'),
        ("journal.log", "[]\n"),
        ("journal.log", '{"op_code": 99, "worker_id": "x"}\n'),
    ],
)
def test_a_run_with_a_damaged_file_is_refused(clouds, file, content):
    """Whoever reads or resumes it gets a sentence that names the folder, never a traceback."""
    record = go(clouds, budget=8)
    (record.path / file).write_text(content)
    with pytest.raises(RunError, match="damaged"):
        load_run(record.path)
    with pytest.raises(RunError, match="damaged"):
        resume(record.path, {"budget": 8})


def test_a_verdict_on_a_trial_that_is_not_there_is_refused(clouds):
    """The best loss is never guessed."""
    record = go(clouds, budget=8)
    other = replace(record, trials=())
    with pytest.raises(RunError, match="damaged"):
        best(other)


def test_a_resumed_search_goes_the_same_way_when_a_surrogate_chooses(clouds):
    """What the surrogate learns comes from the told trials alone, so an interruption changes nothing."""
    whole = go(clouds, budget=48, candidates=0)
    part = go(clouds, budget=40, candidates=0)
    assert table(resume(part.path, {"budget": 48})) == table(whole)
    assert whole.rejections["UNPROMISING"] > 0


def test_every_trial_trains_with_a_seed_of_its_own(clouds, monkeypatch):
    """A shared seed would let evolution breed what suits one initialisation; none is used again in the confirmation."""
    seeds = []
    begin = Trainer.begin

    def noted(self, runs, *rest):
        seeds.extend(run.seed for run in runs)
        return begin(self, runs, *rest)

    monkeypatch.setattr(Trainer, "begin", noted)
    go(clouds, pruner="none", rungs=[16], candidates=0)
    searched = set(seeds)
    assert len(seeds) == len(searched) == SMALL["budget"]
    seeds.clear()
    go(clouds, seed=8, pruner="none", rungs=[16])
    assert not searched & set(seeds)
    assert not set(seeds[: SMALL["budget"]]) & set(seeds[SMALL["budget"] :])


def test_a_control_trains_as_much_at_random_and_stands_in_the_same_table(clouds):
    """Equal training to within a cohort, the same screens and pruner, its best confirmed beside the search's best."""
    record = go(clouds, control="random", budget=16, candidates=1)
    assert table(record) == table(go(clouds, budget=16, candidates=0))
    control = record.summary.control
    others = load_control(record)
    ours, theirs = (sum(t.trained(record.recipe.rungs) for t in some) / 16 for some in (record.trials, others))
    assert control.trained == (ours, theirs)
    assert ours <= theirs < ours + record.recipe.cohort
    assert control.trials == len(others)
    assert {t.operator for t in others} == {"random"}
    assert any(t.state is State.PRUNED for t in others)
    best_of = [
        max(t.metrics[-1].accuracy for t in some if t.state is State.COMPLETE) for some in (record.trials, others)
    ]
    assert list(control.scores) == best_of
    assert json.loads((record.path / folders.SUMMARY).read_text())["control"] == as_json(control)
    rows = {row.contender.control: row for row in record.verdict.comparison.rows if row.contender.trial >= 0}
    assert not record.verdict.winner.contender.control
    match = record.verdict.comparison.control
    assert match.difference == pytest.approx(rows[False].mean - rows[True].mean)
    assert match.theirs == rows[True].contender.label
    assert match.low <= match.difference <= match.high
    assert "Against a random search of equal training" in record.verdict.sentence
    again = resume(record.path, {})
    assert (table(again), verdict_bytes(again)) == (table(record), verdict_bytes(record))


def load_control(record):
    return [trial for _, trials in read_cohorts(record.path / folders.CONTROL / folders.JOURNAL) for trial in trials]


def test_a_control_can_be_added_to_a_run_that_is_done(clouds):
    """Resuming with a control gives what the search with it would have given from the start."""
    flags = {"budget": 8, "candidates": 1}
    late = resume(go(clouds, **flags).path, {"control": "random"})
    first = go(clouds, **flags, control="random")
    assert late.summary == first.summary
    ours, theirs = late.verdict.comparison.control, first.verdict.comparison.control
    assert (ours.ours, ours.theirs) == (theirs.ours, theirs.theirs)
    assert ours.difference == pytest.approx(theirs.difference, abs=0.01)  # batches differ, and with them the rounding
    assert go(clouds, **flags).verdict.comparison.control is None


def test_every_proposer_and_pruner_runs(clouds):
    """The controls run through the same loop."""
    for flags in ({"proposer": "random", "pruner": "hyperband"}, {"pruner": "none"}, {"pruner": "median"}):
        record = go(clouds, candidates=0, **{"budget": 6, "cohort": 4, **flags})
        assert len(record.trials) == 6


def test_a_listener_hears_everything_in_order(clouds):
    """What a live view needs: the start, every cohort and its trials, the progress of the confirmation."""
    heard = []
    record = search({"dataset": clouds, **SMALL}, listener=heard.append)
    assert isinstance(heard[0], Started)
    assert heard[0].recipe == record.recipe
    told = [e for e in heard if isinstance(e, CohortFinished)]
    assert [e.done for e in told] == [8, 12]
    assert [t for e in told for t in e.trials] == list(record.trials)
    assert [e.numbers for e in heard if isinstance(e, Proposed)] == [tuple(range(8)), tuple(range(8, 12))]
    confirming = [e for e in heard if isinstance(e, Confirming)]
    assert {e.stage for e in confirming} == {"tune", "seeds"}
    assert confirming[-1].done == confirming[-1].total


def test_ctrl_c_keeps_what_was_told_and_the_search_goes_on_to_the_same_end(clouds):
    """Interrupted after the first cohort, and again in the confirmation; nothing told is trained again."""
    whole = go(clouds)

    def stop_at(kind, count):
        heard = []

        def listen(event):
            heard.append(event)
            if sum(isinstance(e, kind) for e in heard) == count:
                raise KeyboardInterrupt

        return listen

    with pytest.raises(KeyboardInterrupt):
        search({"dataset": clouds, **SMALL}, name="mine", listener=stop_at(CohortFinished, 1))
    run = find_run("mine")
    assert len(load_run(run).trials) == 8
    assert best(load_run(run)).confirmed is False
    with pytest.raises(KeyboardInterrupt):
        resume(run, {}, listener=stop_at(Confirming, 2))
    trials = table(load_run(run))
    heard = []
    record = resume(run, {}, listener=heard.append)
    assert table(record) == trials == table(whole)
    assert verdict_bytes(record) == verdict_bytes(whole)
    assert not any(isinstance(e, Proposed) for e in heard)
    assert all(e.replayed for e in heard if isinstance(e, CohortFinished))


def test_a_finished_run_is_resumed_with_a_larger_budget(clouds):
    """Its trials stay as they are; the new ones follow."""
    first = go(clouds, budget=8, candidates=0)
    more = resume(first.path, {"budget": 12})
    assert table(more).startswith(table(first))
    assert len(more.trials) == 12
    assert folders.read_recipe(first.path).budget == 12


def test_a_run_of_another_recipe_is_refused_with_the_key(clouds):
    """Whatever would change results may not change, and nothing is written."""
    first = go(clouds, budget=8, candidates=0)
    before = (first.path / folders.RECIPE).read_bytes()
    with pytest.raises(UsageError, match="pruner"):
        resume(first.path, {"pruner": "none"})
    assert (first.path / folders.RECIPE).read_bytes() == before
    with pytest.raises(RunError, match="no run"):
        resume(Path("nothing"), {})


def test_the_time_limit_ends_the_search_between_cohorts(clouds):
    """A limit that is over at once: no cohort starts, and the run can be resumed without it."""
    record = go(clouds, time_limit=1e-9, candidates=0)
    assert record.trials == ()
    with pytest.raises(RunError, match="resume"):
        best(record)
    assert len(resume(record.path, {"time_limit": 0}).trials) == 12


def test_bad_input_leaves_no_folder_behind(clouds):
    """A wrong name, recipe, seed file or device is refused before anything is written."""
    for flags in ({"dataset": "digitz"}, {"seeds": "none.txt"}, {"device": "cuda:99"}, {"dataset": "clouds_task:tusk"}):
        with pytest.raises(UsageError):
            search({"dataset": clouds, **SMALL, **flags})
    assert not Path("runs").exists()


def test_a_run_of_another_device_is_not_mixed_with_this_ones(clouds):
    """A device computes its own roundings: a search begun on a GPU is not ended on a CPU."""
    record = go(clouds, budget=2, cohort=2, candidates=0)
    facts = json.loads((record.path / folders.RUN).read_text())
    (record.path / folders.RUN).write_text(json.dumps({**facts, "device": "cuda:1"}))
    with pytest.raises(RunError, match="started on cuda:1, and this is cpu"):
        resume(record.path, {"budget": 4})
    (record.path / folders.RUN).unlink()
    assert len(resume(record.path, {"budget": 4}).trials) == 4


@pytest.mark.parametrize(("name", "before"), [("parameters", 7), ("sizes", [1, 2, 3]), ("bfloat16", True)])
def test_a_run_of_a_task_that_has_changed_is_not_gone_on_with(clouds, name, before):
    """Another network, other data, another precision: trials before and after could not be compared."""
    record = go(clouds, budget=2, cohort=2, candidates=0)
    found = json.loads((record.path / folders.RUN).read_text())
    found["task"][name] = before
    (record.path / folders.RUN).write_text(json.dumps(found))
    with pytest.raises(RunError, match=rf"was started with {name} = .*, and now its task {clouds} has"):
        resume(record.path, {"budget": 4})
    assert len(load_run(record.path).trials) == 2
    del found["task"][name]
    (record.path / folders.RUN).write_text(json.dumps(found))
    assert len(resume(record.path, {"budget": 4}).trials) == 4


def test_a_change_of_a_task_besides_is_noticed_too(clouds):
    """What is true of the run's own task is true of those in also_on; a run from before they were kept goes on."""
    record = go(clouds, budget=2, cohort=2, candidates=0, also_on=[f"{clouds},label_noise=0.2"])
    found = json.loads((record.path / folders.RUN).read_text())
    (besides,) = found["also"]
    assert besides["name"] == clouds
    besides["steps"] += 16
    (record.path / folders.RUN).write_text(json.dumps(found))
    with pytest.raises(RunError, match="was started with steps = "):
        resume(record.path, {"budget": 4})
    del found["also"]
    (record.path / folders.RUN).write_text(json.dumps(found))
    assert len(resume(record.path, {"budget": 4}).trials) == 4


def test_a_run_is_found_by_folder_by_name_and_as_the_latest(clouds):
    """As a person names it; a name that is none gets a sentence."""
    one, two = (go(clouds, budget=2, cohort=2, candidates=0) for _ in range(2))
    assert find_run() == two.path
    assert find_run(one.path.name) == find_run(str(one.path)) == one.path
    later = (two.path / folders.JOURNAL).stat().st_mtime + 10
    os.utime(one.path / folders.JOURNAL, (later, later))
    load_run(two.path)
    assert find_run() == one.path
    with pytest.raises(RunError, match="is no run"):
        find_run("none")


def test_the_best_is_the_verdicts_winner_or_the_best_the_search_saw(clouds):
    """Before the confirmation the best complete trial, said to be unconfirmed; after it the winner."""
    record = go(clouds)
    found = best(record)
    trial = record.trials[found.trial]
    assert (show(found.program), found.scale) == (trial.program, trial.scale)
    assert found.confirmed
    early = best(replace(record, verdict=None))
    complete = [t.metrics[-1].accuracy for t in record.trials if t.state is State.COMPLETE]
    assert record.trials[early.trial].metrics[-1].accuracy == max(complete)
    assert not early.confirmed
    assert "Not confirmed" in early.note


def test_run_json_and_verdict_json_are_json_for_machines(clouds):
    """Strict JSON, no NaN, with device and versions."""
    record = go(clouds)
    for name in (folders.RUN, folders.VERDICT):

        def refuse(constant):
            raise AssertionError(constant)

        json.loads((record.path / name).read_text(), parse_constant=refuse)
    assert json.loads((record.path / folders.RUN).read_text())["device"] == "cpu"


SEARCH = """
import sys
from pathlib import Path
from lossml.search.runs import resume, search
from lossml.search.recipe import Recipe

if __name__ == "__main__":
    if Path("runs/mine/recipe.toml").exists():
        resume(Path("runs/mine"), {})
    else:
        search(FLAGS, name="mine")
"""


def killed_at(script, journal, size):
    """Run a search in a process of its own and kill -9 it when the journal has reached a size; say if it was killed."""
    with subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            if journal.exists() and journal.stat().st_size >= size:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.002)
        assert process.returncode == 0, process.stderr.read()
    return False


SEVERAL = {"also_on": ["clouds_task:pairs", "clouds_task:task,label_noise=0.4"], "trial_seeds": 2}


@pytest.mark.slow
@pytest.mark.parametrize("several", [{}, SEVERAL], ids=["one task", "several tasks"])
def test_killed_at_random_moments_and_resumed_it_is_the_same_search(clouds, several):
    """Kill -9 wherever the journal stands, again and again: the trials and the verdict of the uninterrupted search.

    No trial and no training of the confirmation is in the journal twice.
    """
    whole = go(clouds, **several)
    length = (whole.path / folders.JOURNAL).stat().st_size
    flags = {"dataset": clouds, **SMALL, **several}
    Path("killed.py").write_text(SEARCH.replace("FLAGS", repr(flags)))
    journal = Path("runs/mine") / folders.JOURNAL
    moments = sorted(random.Random(3).sample(range(1, length), 3))
    assert sum(killed_at("killed.py", journal, size) for size in moments) >= 2
    assert not killed_at("killed.py", journal, 10 * length)
    record = load_run(Path("runs/mine"))
    assert table(record) == table(whole)
    assert verdict_bytes(record) == verdict_bytes(whole)
    trainings = [json.dumps(t.user_attrs, sort_keys=True) for t in read_study(journal, "confirm").trials]
    assert len(set(trainings)) == len(trainings) == len(read_study(whole.path / folders.JOURNAL, "confirm").trials)
    assert len(read_study(journal, "search").trials) == len(whole.trials)


def test_a_search_on_the_digits_finds_losses_that_train(tmp_path):
    """Real data, small budget: the best complete trial classifies most of the search-validation split."""
    flags = {"dataset": "digits", "budget": 8, "cohort": 8, "candidates": 0, "workers": 0, "seed": 1}
    record = search(flags, root=str(tmp_path))
    (trial,) = [t for t in record.trials if t.number == best(record).trial]
    assert trial.metrics[-1].accuracy > 0.9
    assert Journal(record.path / folders.JOURNAL, "accuracy").cohorts()[0][0].rejections == record.rejections


def test_the_foremost_are_the_confirmed_and_then_what_the_search_saw(clouds):
    """The first is what `best` returns, confirmed or not; every trial stands once, and all were trained to the end."""
    record = go(clouds)
    found = foremost(record, 100)
    complete = [t for t in record.trials if t.state is State.COMPLETE]
    assert found[0].number == best(record).trial
    assert sorted(t.number for t in found) == [t.number for t in complete]
    unconfirmed = replace(record, verdict=None)
    assert foremost(unconfirmed, 1)[0].number == best(unconfirmed).trial
    assert foremost(replace(unconfirmed, trials=()), 3) == ()


def test_a_run_says_for_which_task_and_with_what_it_was_started(clouds):
    """Classes, sizes and versions are kept in run.json; a run whose file is gone or broken has none."""
    record = go(clouds, candidates=0, budget=4)
    assert record.provenance["task"]["classes"] == 4
    assert record.provenance["task"]["sizes"] == [256, 200, 400]
    assert "torch" in record.provenance["versions"]
    (record.path / folders.RUN).write_text("[1")
    assert load_run(record.path).provenance == {}
