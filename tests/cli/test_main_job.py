"""The main job, from a search to training with what it found, through real processes."""

import importlib.util
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from lossml.backend import ProgramLoss
from lossml.backend.load import read_loss


def module(path):
    spec = importlib.util.spec_from_file_location("exported", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found.Loss


def test_a_search_ends_with_a_verdict(searched):
    """The claim comes first, with its interval, then trials, rejections, leaderboard and the next command."""
    text = (searched / "stdout").read_text()
    assert text.startswith(("Better", "Worse", "No difference found"))
    for words in ("against ce", "reference", "trials", "rejected", "lossml export best"):
        assert words in text
    progress = (searched / "stderr").read_text()
    assert "8 of 8 trials" in progress
    assert "paired seeds" in progress


def test_show_prints_what_is_in_the_run(lossml, searched):
    """`show` lists the trials of the latest run; --json holds all of it."""
    done = lossml("show", folder=searched)
    assert done.returncode == 0
    assert "runs/small: tiny:task, 8 of 8 trials" in done.stdout
    found = json.loads(lossml("show", "small", "--json", folder=searched).stdout)
    assert [trial["number"] for trial in found["trials"]] == list(range(8))
    assert found["trials"][0]["operator"] == "seed:ce"
    assert found["verdict"]["comparison"]["rows"][0]["contender"]["label"] == "ce"


def test_a_search_over_several_tasks_through_real_processes(lossml, tmp_path):
    """On digits: one line says what a trial is, the verdict stands for each task, show and report read it."""
    (tmp_path / "short.toml").write_text(
        'dataset = "digits"\nseeds = "none"\nlearning_rates = [1.0]\nconfirm_seeds = 2\ntuning_seeds = 1\n'
        'candidates = 1\nbaselines = ["ce"]\nalso_on = ["digits,train_size=50"]\n'
    )
    options = ("--recipe", "short.toml", "--budget", "2", "--name", "both", "--json")
    done = lossml("search", *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 full trainings a trial, 2 tasks x 1 seed" in done.stderr
    assert "too few for any trial to be stopped early" in done.stderr
    found = json.loads(done.stdout)
    assert [len(trial["metrics"]) for trial in found["trials"]] == [2, 2]
    assert [one["trainings"] for one in found["tasks"]] == [2, 2]
    assert [one["task"] for one in found["verdict"]["transfers"]] == ["digits,train_size=50"]
    shown = lossml("show", "both", folder=tmp_path).stdout
    for words in ("tasks of the search", "digits,train_size=50", "2 of 2"):
        assert words in shown
    assert lossml("report", "both", "--cards", "0", folder=tmp_path).returncode == 0
    assert "Tasks of the search" in (tmp_path / "runs" / "both" / "report.html").read_text()
    refused = lossml("search", "--resume", "both", "--also-on", "fashion-mnist", folder=tmp_path)
    assert (refused.returncode, "this run was made with" in refused.stderr) == (2, True)


def test_the_best_loss_trains_where_lossml_is_not_known(lossml, searched, tmp_path):
    """The exported file imports torch alone, equals the program, and a training loop with it learns."""
    path = tmp_path / "my_loss.py"
    done = lossml("export", "best", "-o", path, folder=searched)
    assert done.returncode == 0, done.stderr
    assert "confirmed" in done.stderr
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    target = torch.arange(6) % 3
    named = read_loss(str(path))
    ours, theirs = module(path)()(logits, target), ProgramLoss(named.program, scale=named.scale)(logits, target)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits))
    loop = """
import sys, torch
sys.modules["lossml"] = None
from my_loss import Loss
torch.manual_seed(0)
x = torch.randn(200, 5); y = (x[:, 0] > 0).long()
net = torch.nn.Linear(5, 2); optimizer = torch.optim.Adam(net.parameters(), 0.05); criterion = Loss()
for _ in range(100):
    optimizer.zero_grad(); criterion(net(x), y).backward(); optimizer.step()
assert (net(x).argmax(1) == y).float().mean() > 0.95
"""
    subprocess.run([sys.executable, "-c", loop], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("latex", r"\sum"),
        ("sympy", "log(p)"),
        ("json", '"formula"'),
        ("torch", "class Loss"),
        ("triton", "@triton.jit"),
        ("jax", "def loss"),
    ],
)
def test_every_format_is_written(answered, kind, words):
    """Each format goes to standard output where no file is named."""
    done = answered("export", "ce", "--format", kind)
    assert done.returncode == 0
    assert words in done.stdout


def test_an_unconfirmed_best_is_marked(lossml, tiny, tmp_path):
    """Without a confirmation the export warns that the score was selected on."""
    done = lossml("search", "--dataset", tiny, "--budget", 6, "--no-confirm", "--workers", 0, "--seed", 1)
    assert done.returncode == 0, done.stderr
    done = lossml("export", "best", "-o", "loss.py")
    assert done.returncode == 0
    assert "Warning" in done.stderr
    assert "Not confirmed" in done.stderr
    assert "not confirmed" in (tmp_path / "loss.py").read_text()


def test_losses_lists_the_zoo(lossml):
    """Every name can be listed, with formula and source."""
    names = {row["name"] for row in json.loads(lossml("losses", "--json").stdout)}
    assert {"ce", "focal", "ngl", "dice"} <= names
    assert "Lin et al." in lossml("losses").stdout
    assert "scikit-learn" in lossml("data").stdout


def test_benchmark_compares_any_losses(lossml, answered, tiny, tmp_path):
    """Names and expressions are compared; a second call goes on and agrees; another plan is refused."""
    command = ["benchmark", tiny, "--losses", "ce,gce(q=0.5),sum_C((p - y)^2)", "--seeds", 2]
    command += ["--learning-rates", "1", "--workers", 0, "-o", "out"]
    done = lossml(*command, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["contender"]["known"] for row in found["rows"]] == ["ce", "gce(q=0.5)", "brier"]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == found
    assert "| ce |" in (tmp_path / "out" / "result.md").read_text()
    assert "paired seeds" in lossml(*command).stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == found
    again = answered(*[arg if arg != 2 else 3 for arg in command])
    assert again.returncode == 2
    assert "another plan" in again.stderr


MASKS = """
from functools import partial

import torch

from lossml.proxy import Split, Task
from lossml.proxy.networks import EncoderDecoder


def halves(count):
    masks = torch.zeros(count, 8, 8, dtype=torch.int64)
    masks[:, :, 5:] = 1
    return Split((150 * masks).to(torch.uint8).unsqueeze(1), masks)


def task():
    return Task("halves", 2, halves(16), halves(4), halves(6), network=partial(EncoderDecoder, 1, 2, (4,)), steps=32,
                batch_size=8)
"""


def test_benchmark_compares_losses_on_masks(lossml, answered, tmp_path):
    """Programs over pixels stand beside one that is no program, in mIoU; what only samples can have is refused."""
    (tmp_path / "halves.py").write_text(MASKS)
    command = ["benchmark", "halves:task", "--losses", "ce,dice+ce,lovasz", "--seeds", 2, "--objective", "miou"]
    done = lossml(*command, "--learning-rates", "1", "--workers", 0, "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["contender"]["label"] for row in rows] == ["ce", "dice+ce", "lovasz"]
    assert [row["contender"]["known"] for row in rows] == ["ce", "dice+ce", ""]
    assert all(0.3 < row["mean"] <= 1.0 for row in rows)
    assert "| lovasz |" in (tmp_path / "out" / "result.md").read_text()
    noisy = answered(*command, "--label-noise", 0.1)
    assert noisy.returncode == 2
    assert "need one class each" in noisy.stderr


def heed_interrupts():
    """Undo what a test in the background inherits: there Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ended(process):
    """Wait for the end; what hangs is aborted, and says where it hung."""
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        return process.communicate(timeout=60)[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_says_how_to_go_on(lossml, lasting, undisturbed, tmp_path, number):
    """Ctrl-C and SIGTERM end cleanly, leave no process, and the command they print goes on to the same end."""
    # An interrupt inside coverage's tracer leaves its lock taken, and the process waits for ever: do without.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    environment["PYTHONFAULTHANDLER"] = "1"
    process = subprocess.Popen(
        [sys.executable, "-m", "lossml", *lasting],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - nothing else runs in this process yet
    )
    while "16 of 48" not in (line := process.stderr.readline()):
        assert line, "the search ended before it was interrupted"
    os.kill(process.pid, number)
    rest = ended(process)
    assert process.returncode == 130, rest
    assert "lossml search --resume runs/lasting-task-seed5" in rest
    assert "Traceback" not in rest
    resumed = json.loads(lossml("search", "--resume", "lasting-task-seed5", "--no-confirm", "--json").stdout)["trials"]
    assert len(undisturbed) == 48
    assert resumed == undisturbed


def test_a_run_of_another_recipe_is_refused(answered, searched):
    """What would change the results of a run cannot be changed when it is resumed."""
    done = answered("search", "--resume", "small", "--seed", 4, folder=searched)
    assert done.returncode == 2
    assert "seed = 3, not 4" in done.stderr
    done = answered("search", "--resume", "small", "--name", "other", folder=searched)
    assert done.returncode == 2
    done = answered("search", "--dataset", "tiny:task", "--name", "small", folder=searched)
    assert done.returncode == 2
    assert "is there already" in done.stderr
