"""The command line as a person runs it: real processes."""

import subprocess
import sys
from pathlib import Path

import pytest


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
    command = "search --dataset digits --budget 8 --seeds zoo --seed 3 --name small --workers 0 --recipe small.toml"
    (folder / "small.toml").write_text(
        'dataset = "digits"\ncohort = 4\ncandidates = 1\n'
        'confirm_seeds = 2\nlearning_rates = [1.0]\nbaselines = ["ce"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "lossml", *command.split()], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder
