"""The journal: what was told is there, whatever was killed, and reading changes nothing."""

import json
import os
import threading
from time import monotonic

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from lossml.errors import RunError
from lossml.search.journal import Journal, read_study
from lossml.search.recorded import STUDY, read_cohorts, written
from lossml.search.records import Cohort, Metrics, State, Trial


def trial(number, state=State.PRUNED, scores=(0.5,)):
    return Trial(
        number,
        f"-sum_C(y*logp)*{number + 1}",
        "random",
        (0,) if number else (),
        1.0 / 3.0,
        (f"a{number}", f"b{number}"),
        state,
        tuple(Metrics(score, score, 1.0 - score, 0.1) for score in scores),
        "diverged" if state is State.FAILED else "",
    )


COHORTS = [
    (
        Cohort(0, 2, {"SIGN": 3}, (0.1, 0.2)),
        (trial(0, State.COMPLETE, (0.1, 0.2, 1.0 / 7.0)), trial(1)),
    ),
    (Cohort(2, 2, {}, (0.3, 0.4)), (trial(2, State.FAILED, (0.4,)), trial(3, State.FAILED, ()))),
]


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "journal.log"
    journal = Journal(file, "accuracy")
    for cohort, trials in COHORTS:
        journal.record(cohort, trials)
    return file


def test_what_was_recorded_is_read_back(path):
    """Cohorts, trials, every digit of their scores, in order."""
    assert read_cohorts(path) == COHORTS
    assert Journal(path, "accuracy").cohorts() == COHORTS


def test_cohorts_are_read_as_optuna_reads_them(path):
    """Beside other studies, and after one of them and the search's own were deleted and made anew."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    other = optuna.create_study(study_name="confirm", storage=storage)
    other.set_user_attr("cohort:0", "another's")
    assert read_cohorts(path) == COHORTS
    for name in ("confirm", STUDY):
        optuna.delete_study(study_name=name, storage=storage)
    assert read_cohorts(path) == []
    assert Journal(path, "accuracy").cohorts() == []
    Journal(path, "accuracy").record(*COHORTS[0])
    assert read_cohorts(path) == COHORTS[:1]
    assert read_study(path, STUDY).user_attrs[f"cohort:{COHORTS[0][0].start}"] == written(*COHORTS[0])[1]


def test_a_cohort_that_is_damaged_is_refused(path):
    """A cohort's line cut short in the middle of the file: a sentence, and not the cohorts that are whole."""
    lines = path.read_bytes().splitlines(keepends=True)
    place = next(k for k, line in enumerate(lines) if b"cohort:0" in line)
    path.write_bytes(b"".join([*lines[:place], lines[place][:200] + b"}\n", *lines[place + 1 :]]))
    with pytest.raises(RunError, match=r"journal\.log is damaged"):
        read_cohorts(path)


def test_the_study_is_an_optuna_study_with_a_trial_each(path):
    """Optuna's own tools see states, rung values and programs."""
    study = read_study(path, STUDY)
    states = [t.state.name for t in study.trials]
    assert states == ["COMPLETE", "PRUNED", "FAIL", "FAIL"]
    assert study.trials[0].intermediate_values == {1: 0.1, 4: 0.2, 16: 1.0 / 7.0}
    assert study.best_value == 1.0 / 7.0
    assert study.trials[1].user_attrs["program"] == COHORTS[0][1][1].program
    assert study.trials[2].user_attrs["reason"] == "diverged"
    assert not any(key.startswith("completed_rung") for t in study.trials for key in t.system_attrs)


def test_wherever_a_kill_cuts_the_file_off_the_rest_can_be_used(path, tmp_path):
    """Cut at many places, in lines and between: whole cohorts are there, none twice, and the next can follow."""
    content = path.read_bytes()
    counts = set()
    for end in [*range(0, len(content), 61), len(content) - 1, len(content)]:
        torn = tmp_path / "torn.log"
        torn.write_bytes(content[:end])
        journal = Journal(torn, "accuracy")
        found = journal.cohorts()
        assert found == COHORTS[: len(found)]
        counts.add(len(found))
        for cohort, trials in COHORTS[len(found) :]:
            journal.record(cohort, trials)
        assert read_cohorts(torn) == COHORTS
        assert [t.number for t in read_study(torn, STUDY).trials] == [0, 1, 2, 3]
    assert counts == {0, 1, 2}


def test_a_lock_left_by_a_kill_does_not_make_the_next_start_wait(path):
    """Optuna would wait thirty seconds for it; whoever holds the run's folder knows that nobody is writing."""
    (path.parent / "journal.log.lock").symlink_to(path)
    began = monotonic()
    assert Journal(path, "accuracy").cohorts() == COHORTS
    assert monotonic() - began < 10.0


def test_reading_writes_nothing(path):
    """A search may be going on while another process reads: not a byte, not a date changes."""
    with path.open("ab") as file:
        file.write(b'{"op_code": 2, "torn')
    before = path.read_bytes()
    os.utime(path, (1.0, 1.0))
    assert read_cohorts(path) == COHORTS
    assert path.read_bytes() == before
    assert path.stat().st_mtime == 1.0
    assert [file.name for file in path.parent.iterdir()] == ["journal.log"]


def test_reading_where_nothing_is_gives_nothing(tmp_path):
    """No journal yet, or one without a search in it."""
    assert read_study(tmp_path / "none.log", STUDY) is None
    assert read_cohorts(tmp_path / "none.log") == []
    (tmp_path / "empty.log").touch()
    assert read_cohorts(tmp_path / "empty.log") == []
    assert read_study(tmp_path / "empty.log", STUDY) is None
    assert not (tmp_path / "none.log").exists()


def test_a_journal_damaged_before_its_end_is_refused(path):
    """A whole line that is no JSON, in the middle: a sentence with the file, never a traceback."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"not json\n", *lines[3:]]))
    for read in (read_cohorts, lambda damaged: read_study(damaged, STUDY)):
        with pytest.raises(RunError, match=r"journal\.log is damaged"):
            read(path)
    with pytest.raises(RunError, match=r"journal\.log is damaged"):
        Journal(path, "accuracy")


def test_a_reader_beside_a_writer_sees_whole_cohorts(tmp_path):
    """While cohorts are recorded one after the other, every reading gives the first so many of them."""
    path = tmp_path / "journal.log"
    cohorts = [(Cohort(k, 1, {}, (0.0, 0.0)), (trial(k, scores=(0.1 * k,)),)) for k in range(12)]
    journal = Journal(path, "accuracy")
    writer = threading.Thread(target=lambda: [journal.record(*cohort) for cohort in cohorts])
    writer.start()
    while writer.is_alive():
        found = read_cohorts(path)
        assert found == cohorts[: len(found)]
    writer.join()
    assert read_cohorts(path) == cohorts


def test_every_line_is_json_and_optuna_is_quiet(path, capfd):
    """The file can be read with other tools; nothing is printed beside the search's own output."""
    assert all(json.loads(line) for line in path.read_text().splitlines())
    Journal(path, "accuracy")
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING
