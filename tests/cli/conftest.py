"""The command line as a person runs it: real processes."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import warm

TINY = """
from functools import partial

import torch

from lossml.proxy import Split, Task
from lossml.proxy.networks import MLP


def clouds(count, seed):
    targets = torch.arange(count) % 3
    centres = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    return Split(centres[targets] + torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)), targets)


def task():
    splits = clouds(96, 1), clouds(99, 2), clouds(300, 3)
    return Task("tiny", 3, *splits, network=partial(MLP, 6, 8, 3), steps=STEPS, batch_size=32, group=16)
"""


@pytest.fixture
def tiny(tmp_path):
    """The name of a task of milliseconds, lying in the folder where lossml runs."""
    (tmp_path / "tiny.py").write_text(TINY.replace("STEPS", "32"))
    return "tiny:task"


def write_lasting(folder):
    """The same task with cohorts of seconds, long enough to be interrupted; gives the command that searches on it."""
    (folder / "lasting.py").write_text(TINY.replace("STEPS", "320"))
    return ["search", "--dataset", "lasting:task", "--budget", "48", "--no-confirm", "--seed", "5", "--workers", "1"]


@pytest.fixture
def lasting(tmp_path):
    """The command of a search that lasts, in the folder where lossml runs."""
    return write_lasting(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The trials of that search where nothing interrupts it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, "-m", "lossml", *write_lasting(folder), "--json"]
    return json.loads(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)["trials"]


@pytest.fixture
def lossml(tmp_path):
    """Run lossml in an empty folder."""

    def run(*arguments, folder=tmp_path, **options):
        return subprocess.run(
            [sys.executable, "-m", "lossml", *map(str, arguments)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            **options,
        )

    return run


@pytest.fixture
def answered(tmp_path):
    """Run lossml in an empty folder, in a process that has its imports already: what it answers, not how it starts."""
    return partial(warm.lossml, folder=tmp_path)


@pytest.fixture(scope="session")
def searched(tmp_path_factory) -> Path:
    """A folder in which a small search has been run."""
    folder = tmp_path_factory.mktemp("searched")
    command = "search --dataset tiny:task --budget 8 --seeds zoo --seed 3 --name small --workers 0 --recipe small.toml"
    (folder / "tiny.py").write_text(TINY.replace("STEPS", "64"))
    (folder / "small.toml").write_text(
        'cohort = 4\ncandidates = 1\nconfirm_seeds = 2\nlearning_rates = [1.0]\nbaselines = ["ce"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "lossml", *command.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder
