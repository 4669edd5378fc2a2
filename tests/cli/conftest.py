"""The command line as a person runs it: real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture
def lasting(tmp_path):
    """The name of the same task with cohorts of seconds, long enough to be interrupted."""
    (tmp_path / "lasting.py").write_text(TINY.replace("STEPS", "320"))
    return "lasting:task"


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
