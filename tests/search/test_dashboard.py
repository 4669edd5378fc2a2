"""A run as a study for optuna-dashboard: every trial as it was, with its note and drawings."""

from pathlib import Path

import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from lossml.search.dashboard import fill, note
from lossml.search.reading import RunRecord
from lossml.search.recipe import Recipe
from lossml.search.records import Metrics, State, Trial
from lossml.search.summary import summary

SEEN = (Metrics(0.5, 0.5, 1.5, 0.1), Metrics(0.75, 0.7, 0.5, 0.1))
TRIALS = (
    Trial(0, "-sum_C(y*logp)", "seed:ce", (), 1.0, (), State.COMPLETE, SEEN),
    Trial(1, "sum_C((p - y)^2)", "random", (), 1.0, (), State.PRUNED, SEEN[:1]),
    Trial(2, "-y*p", "crossover", (0, 1), 2.5, (), State.FAILED, (), "diverged"),
)


@pytest.mark.parametrize(("objective", "last"), [("accuracy", 0.75), ("nll", 0.5)])
def test_a_study_holds_every_trial_as_it_was(tmp_path, objective, last):
    """State, score as people read it, scores by rung, formula, parents, reason; drawings come back as drawn."""
    recipe = Recipe("digits", rungs=(4, 16), objective=objective)
    run = RunRecord(Path("runs/small"), recipe, TRIALS, (), None, summary(TRIALS, recipe))
    storage, store = InMemoryStorage(), FileSystemArtifactStore(tmp_path)
    study = fill(run, lambda trial: {"value": f"drawing {trial.number}"}, storage, store, tmp_path)
    assert study.study_name == "small"
    assert (study.direction is StudyDirection.MINIMIZE) == (objective == "nll")
    one, two, three = study.trials
    assert [t.state.name for t in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert one.value == pytest.approx(last)
    assert one.intermediate_values[16] == pytest.approx(last)
    assert list(two.intermediate_values) == [4]
    assert three.user_attrs["formula"] == "-y*p"
    assert three.user_attrs["parents"] == "0, 1"
    assert three.user_attrs["reason"] == "diverged"
    for trial in study.trials:
        (drawing,) = get_all_artifact_meta(trial, storage=storage)
        assert drawing.filename == "value.svg"
        with store.open_reader(drawing.artifact_id) as file:
            assert file.read().decode() == f"drawing {trial.number}"
    written = " ".join(str(value) for value in storage.get_study_system_attrs(study._study_id).values())
    assert all(trial.program in written for trial in TRIALS)


def test_a_note_holds_the_formula_as_code():
    """Markdown shows it as it is, asterisks and all."""
    assert note(TRIALS[0]).splitlines()[:3] == ["```", "-sum_C(y*logp)", "```"]
