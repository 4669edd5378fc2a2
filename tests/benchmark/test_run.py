"""Benchmarks on a search's task: what they share with full ones."""

import pytest

from lossml import zoo
from lossml.benchmark import benchmark
from lossml.benchmark.entrant import Entrant
from lossml.errors import RunError
from lossml.proxy import TaskSpec
from lossml.search import folder as folders
from lossml.search.results import Design

TASK = """
from functools import partial

import torch

from lossml.proxy import Split, Task
from lossml.proxy.networks import MLP


def clouds(count, seed):
    targets = torch.arange(count) % 3
    return Split(targets[:, None] + torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), targets)


splits = clouds(96, 1), clouds(99, 2), clouds(300, 3)
task = Task("clouds", 3, *splits, network=partial(MLP, 4, 8, 3), steps=16, batch_size=32, group=16)
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A task of milliseconds."""
    (tmp_path / "clouds_of_run.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return TaskSpec("clouds_of_run:task")


def run(spec, folder, seed=0):
    losses = [Entrant(name, zoo.program_of(name)) for name in ("ce", "brier")]
    return benchmark(spec, losses, Design(2, (1.0,), seed=seed), folder, device="cpu", workers=0)


def test_a_folder_in_use_is_left_alone(spec, tmp_path):
    """Two benchmarks never write into one folder at once; the second is refused before anything trains."""
    (tmp_path / "out").mkdir()
    with folders.held(tmp_path / "out"), pytest.raises(RunError, match="benchmark is running"):
        run(spec, tmp_path / "out")
    assert not (tmp_path / "out" / "journal.log").exists()
    run(spec, tmp_path / "out")
    assert (tmp_path / "out" / "result.json").exists()
