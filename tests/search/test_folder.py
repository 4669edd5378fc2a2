"""The run's folder: whole files, names, one writer."""

import json
import os
import subprocess
import sys
import threading

import pytest

from lossml.errors import RunError, UsageError
from lossml.search import folder as folders
from lossml.search.recipe import Recipe


def test_a_file_is_whole_while_it_is_written_anew(tmp_path):
    """Readers beside a writer see one content or the other, and no half of it nor a file beside it remains."""
    path = tmp_path / "verdict.json"
    contents = ["a" * 200_000, "b" * 200_000]
    folders.write_atomically(path, contents[0])
    writer = threading.Thread(target=lambda: [folders.write_atomically(path, contents[k % 2]) for k in range(30)])
    writer.start()
    while writer.is_alive():
        assert path.read_text() in contents
    writer.join()
    assert [file.name for file in tmp_path.iterdir()] == ["verdict.json"]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    """A file where a folder is needed: a sentence with the path, and what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write .*choose another place"):
        folders.write_atomically(tmp_path / "file" / "verdict.json", "")
    with pytest.raises(UsageError):
        folders.create(Recipe("digits"), root=str(tmp_path / "file"))


def test_a_run_is_named_by_data_set_and_seed_and_a_number_where_taken(tmp_path):
    """A second search never writes into the first one's folder."""
    names = [folders.create(Recipe("digits", seed=7), root=str(tmp_path)).name for _ in range(3)]
    assert names == ["digits-seed7", "digits-seed7-2", "digits-seed7-3"]


@pytest.mark.parametrize("dataset", ["image-folder:/data/cats and dogs", "my.module:task", "image-folder:../../x"])
def test_a_data_set_with_signs_gives_a_plain_folder(tmp_path, dataset):
    """Paths and colons in a data set's name do not become paths of the run."""
    run = folders.create(Recipe(dataset), root=str(tmp_path))
    assert run.parent == tmp_path
    assert folders.read_recipe(run).dataset == dataset


def test_a_name_that_is_taken_is_refused(tmp_path):
    """Whoever names a run means that run: nothing is renamed silently."""
    folders.create(Recipe("digits"), "mine", str(tmp_path))
    with pytest.raises(RunError, match="--resume"):
        folders.create(Recipe("digits"), "mine", str(tmp_path))


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".hidden", "x" * 101, "two words"])
def test_a_name_that_is_no_plain_folder_is_refused(tmp_path, name):
    """A run lies in the folder of runs, under a name that a shell takes without quotes."""
    with pytest.raises(RunError, match="letters, digits"):
        folders.create(Recipe("digits"), name, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_what_is_no_ordinary_file_is_not_replaced(tmp_path):
    """A device or a pipe is not renamed away; whoever names one is told."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(RunError, match="no ordinary file"):
        folders.write_atomically(pipe, "text")
    assert pipe.is_fifo()


def test_a_folder_without_a_recipe_is_no_run(tmp_path):
    """Any other folder, or none, is refused with what makes a run."""
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match="no run"):
            folders.read_recipe(path)
    with pytest.raises(RunError, match="there is no run in"):
        folders.latest(str(tmp_path))


def test_a_run_whose_recipe_is_damaged_is_refused(tmp_path):
    """A recipe cut short, or without a data set, is a sentence and not a traceback."""
    run = folders.create(Recipe("digits"), root=str(tmp_path))
    text = (run / folders.RECIPE).read_text()
    for damaged in (text[:-3], "", "budget = 3\n"):
        (run / folders.RECIPE).write_text(damaged)
        with pytest.raises(UsageError):
            folders.read_recipe(run)


def test_the_latest_run_is_the_one_worked_on_last(tmp_path):
    """By the journal's date where there is one, whatever the names."""
    runs = [folders.create(Recipe("digits", seed=seed), root=str(tmp_path)) for seed in (1, 2, 3)]
    for run, when in zip(runs, (50.0, 90.0, 70.0), strict=True):
        (run / folders.JOURNAL).touch()
        os.utime(run / folders.JOURNAL, (when, when))
    assert folders.latest(str(tmp_path)) == runs[1]


def test_provenance_says_with_what_a_run_started_and_stays(tmp_path):
    """Versions, date, processor, device; a resumed run keeps its first."""
    folders.provenance(tmp_path, device="cpu", seed=7)
    found = json.loads((tmp_path / folders.RUN).read_text())
    assert found["device"] == "cpu"
    assert found["seed"] == 7
    assert {"lossml", "torch", "optuna"} <= set(found["versions"])
    folders.provenance(tmp_path, device="cuda", seed=8)
    assert json.loads((tmp_path / folders.RUN).read_text()) == found


HOLD = """
import sys, time
from pathlib import Path
from lossml.search import folder
with folder.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_searches_never_write_in_one_folder_and_a_killed_one_lets_go(tmp_path):
    """While a process holds the folder a second is refused; after kill -9 it is free at once."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another search or benchmark is running"), folders.held(tmp_path):
            pass
        other.kill()
        other.wait()
    with folders.held(tmp_path):
        assert (tmp_path / folders.LOCK).exists()
    with pytest.raises(RunError, match="cannot write"), folders.held(tmp_path / "none"):
        pass
