"""Help is quick, and whatever is given wrongly gets a sentence and exit code 2, never a traceback."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lossml.cli.main import COMMANDS


def test_help_is_quick():
    """`lossml --help` takes less than half a second of processor time, in the median of five."""
    spent = []
    for _ in range(5):
        before = psutil.Process().cpu_times()
        subprocess.run([sys.executable, "-m", "lossml", "--help"], check=True, capture_output=True)
        after = psutil.Process().cpu_times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert statistics.median(spent) < 0.5


def test_a_run_is_read_without_what_trains():
    """`lossml show` imports neither torch nor Optuna nor scipy nor scikit-learn, which take longer than reading."""
    heavy = "{'torch', 'optuna', 'scipy', 'sklearn', 'numba'}"
    script = f"import lossml.search.reading, lossml.report.tables, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(lossml, command):
    """Each command explains itself."""
    done = lossml(command, "--help")
    assert done.returncode == 0
    assert "Usage: " in done.stdout
    assert "--help" in done.stdout


def refused(done, *words):
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert not done.stdout
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frobnicate"], ["No such command"]),
        (["search"], ["no data set is given"]),
        (["search", "--dataset", "cifar11"], ["cifar11", "did you mean 'cifar10'"]),
        (["search", "--dataset", "digits", "--budget", "many"], ["--budget"]),
        (["search", "--dataset", "digits", "--budget", "0"], ["budget is 0", "1 to 1000000"]),
        (["search", "--dataset", "digits", "--label-noise", "2"], ["label_noise is 2", "0 to 0.95"]),
        (["search", "--dataset", "digits", "--pruner", "axe"], ["axe"]),
        (["search", "--dataset", "digits", "--seeds", "nothere.txt"], ["nothere.txt", "zoo, none"]),
        (["search", "--dataset", "digits", "--device", "quantum"], ["quantum"]),
        (["search", "--dataset", "digits", "--recipe", "nothere.toml"], ["nothere.toml"]),
        (["search", "--resume", "nothere"], ["nothere is no run"]),
        (["search", "--dataset", "no.such.module:task"], ["cannot import"]),
        (["show"], ["there is no run"]),
        (["show", "nothere"], ["nothere is no run"]),
        (["show", "x" * 300], ["is no run"]),
        (["search", "--dataset", "digits", "--name", "../x"], ["--name", "letters, digits"]),
        (["search", "--dataset", "digits", "--time-limit", "1e400"], ["time_limit"]),
        (["export", "ce", "--name", "class"], ["class", "means something else"]),
        (["export", "ce", "--format", "jax", "--name", "finish"], ["finish", "means something else"]),
        (["export", "dice", "--format", "triton"], ["cannot be one kernel", "use --format torch"]),
        (["export", "ce", "--format", "onnx"], ["no text", "-o"]),
        (["export", "ce", "--pixel-axes", "2"], ["--pixel-axes is for --format onnx"]),
        (
            ["export", "ce", "--format", "onnx", "-o", "x.onnx", "--name", "X"],
            ["--name is for --format torch or triton or jax"],
        ),
        (["export", "ce", "--format", "json", "--name", "X"], ["--name", "a loss in json has no name"]),
        (["export", "best"], ["there is no run"]),
        (["export", "focol"], ["focol", "focal"]),
        (["export", "focal(gama=2)"], ["gama", "gamma"]),
        (["export", "focal(gamma=-1)"], ["gamma is -1"]),
        (["export", "-q"], ["No such option"]),
        (["export", "y*(logp"], ["position 7"]),
        (["export", "-y*(logp"], ["position 8"]),
        (["inspect", "-y*(frob)"], ["'frob'", "position 4"]),
        (["export", "y/y"], ["denominator"]),
        (["export", "ce", "--name", "not a name"], ["identifier"]),
        (["export", "ce", "--format", "word"], ["word"]),
        (["export", "ce", "-o", "/proc/nothing/loss.py"], ["cannot write"]),
        (["export", "./nothere.py"], ["cannot read"]),
        (["inspect", "[bold]y[/bold]"], ["unexpected character"]),
        (["inspect", "no.such.module:loss"], ["cannot import"]),
        (["inspect", "ce", "--classes", "1"], ["--classes"]),
        (["benchmark", "digits", "--losses", "ce"], ["at least two"]),
        (["benchmark", "digits", "--losses", "ce,ce"], ["each once"]),
        (["benchmark", "digits", "--losses", "ce,frob"], ["frob"]),
        (["benchmark", "digits", "--losses", "ce,mae", "--learning-rates", "1,x"], ["1,x"]),
        (["benchmark", "digits", "--losses", "ce,mae", "--learning-rates", "-1"], ["not positive"]),
        (["benchmark", "cifar11"], ["did you mean 'cifar10'"]),
        (["benchmark", "imagenet-vitt"], ["no recipe", "did you mean 'imagenet-vit'", "voc2012", "digits"]),
        (["benchmark", "nosuch"], ["no recipe", "here are the recipes", "voc2012", "the tasks", "digits"]),
        (["benchmark", "digits", "--losses", "max((y),(p))"], ["the losses are max((y),(p)); give at least two"]),
    ],
)
def test_bad_input_gets_a_sentence(answered, arguments, words):
    """What was given, the rule it breaks, and what to do; on standard error, with code 2."""
    refused(answered(*arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["search", "--dataset", "cifar11"], ["cifar11", "did you mean 'cifar10'"]),
        (["export", "focol"], ["focol", "focal"]),
        (["inspect", "no.such.module:loss"], ["cannot import"]),
        (["benchmark", "digits", "--losses", "ce"], ["at least two"]),
    ],
)
def test_bad_input_gets_a_sentence_from_a_fresh_process(lossml, arguments, words):
    """A command that has to import what it needs first says the same, with the same code."""
    refused(lossml(*arguments), *words)


def test_hostile_expressions_are_answered_at_once(lossml, tmp_path):
    """Ten megabytes in a file and ten thousand levels on the command line take no longer than the start."""
    (tmp_path / "large.txt").write_text("p+" * 5_000_000)
    began = time.monotonic()
    refused(lossml("export", "large.txt"), "larger than")
    refused(lossml("export", "(" * 10_000), ["nested more than", "at most"][0])
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("budgit = 3", ["budgit", "did you mean 'budget'"]),
        ("budget = 'x'", ["budget is 'x'", "whole number"]),
        ("rungs = [4, 8]", ["rungs", "the last 16"]),
        ("learning_rates = []", ["learning_rates", "positive numbers"]),
        ("baselines = ['frob']", ["frob"]),
        ("budget = ", ["no TOML"]),
    ],
)
def test_a_bad_recipe_names_key_value_and_rule(answered, tmp_path, content, words):
    """A recipe is checked key by key before anything starts, and leaves nothing behind."""
    (tmp_path / "my.toml").write_text(content)
    refused(answered("search", "--dataset", "digits", "--recipe", "my.toml"), *words)
    assert not (tmp_path / "runs").exists()


def test_missing_data_is_explained(answered, tmp_path):
    """A data folder without the data set says what belongs there, and `lossml data` says the same."""
    refused(answered("search", "--dataset", "cifar10", "--data-root", tmp_path, "--workers", 0), "cifar-10-batches-py")
    done = answered("data", "--data-root", tmp_path, "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["digits"]["present"]
    assert not rows["cifar10"]["present"]
    assert str(tmp_path) in rows["cifar10"]["place"]


def test_a_truncated_file_is_explained(answered, tmp_path):
    """Damaged data is named, not shown as a traceback of the reader."""
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"half a file")
    done = answered("search", "--dataset", "cifar10", "--data-root", tmp_path, "--workers", 0)
    refused(done, "cannot be read", "get it again")


def test_a_formula_longer_than_a_file_name_is_a_formula(answered):
    """A search writes programs of hundreds of characters; all that read a loss read them."""
    text = "-sum_C(y*logp)" + " + 0.001*mean_C(p*p)" * 14
    assert answered("export", text, "--format", "json").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="there is no /dev/full here")
def test_a_full_disk_is_a_failure_with_a_sentence():
    """What could not be written is not reported as success."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lossml", "export", "ce"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_pipe_is_no_error():
    """`lossml losses | head -1` ends quietly."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m lossml losses --json | head -1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
