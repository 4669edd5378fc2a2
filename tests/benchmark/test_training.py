"""Full training: exact after a kill, the same from any process, its schedules and its checkpoints."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from lossml import zoo
from lossml.backend import ProgramLoss
from lossml.benchmark import schedule
from lossml.benchmark.entrant import Entrant
from lossml.benchmark.full import Given, benchmark_recipe
from lossml.benchmark.recipe import read
from lossml.benchmark.schedule import Plateau
from lossml.benchmark.supply import Batches, Share, load
from lossml.benchmark.trainer import FullTrainer, Where
from lossml.proxy import Run

HERE = Where("cpu", workers=0)
RICH = {"optimizer": "adamw", "ema": 0.9, "clip": 1.0, "accumulate": 2, "warmup": 0.2, "decay_norms": False}
LOSSES = [Entrant(name, zoo.program_of(name)) for name in ("ce", "brier")]

SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lossml import zoo
from lossml.benchmark.entrant import Entrant
from lossml.benchmark.full import Given, benchmark_recipe
from lossml.benchmark.recipe import read
from lossml.benchmark.trainer import Where
losses = [Entrant(name, zoo.program_of(name)) for name in ("ce", "brier")]
recipe = read(sys.argv[1], {keys})
benchmark_recipe(recipe, losses, Path("out"), Given(0, sys.argv[2], Where("cpu", workers=0)))
"""


def test_a_killed_benchmark_ends_as_an_undisturbed_one(tiny, tiles, tmp_path):
    """Kill -9 in the middle of a training, then the same command: equal to the last bit, in every score and sample."""
    keys = RICH | {"epochs": 12}
    command = [sys.executable, "-c", SCRIPT.replace("{keys}", repr(keys)), tiny, str(tiles)]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"})
    folder, until = tmp_path / "out", time.monotonic() + 280
    while not list(folder.glob("trainings/*/checkpoint.pt")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (checkpoint,) = folder.glob("trainings/*/checkpoint.pt")
    step = torch.load(checkpoint, weights_only=True)["step"]
    recipe = read(tiny, keys)
    assert 0 < step < 12 * (len(load(recipe, str(tiles)).train) // 8)
    resumed = benchmark_recipe(recipe, LOSSES, folder, Given(0, str(tiles), HERE))
    undisturbed = benchmark_recipe(recipe, LOSSES, tmp_path / "other", Given(0, str(tiles), HERE))
    assert resumed == undisturbed
    assert (folder / "plan.json").read_text() == (tmp_path / "other" / "plan.json").read_text()
    for path in (tmp_path / "other").glob("trainings/*/heldout.npz"):
        there = np.load(folder / path.relative_to(tmp_path / "other"))
        assert all(np.array_equal(there[name], part) for name, part in np.load(path).items())


def test_no_checkpoint_and_no_held_out_reading_is_left_to_repeat(tiny, tiles, tmp_path):
    """A finished folder is read, not trained or scored again; its weights are let go."""
    given, recipe = Given(0, str(tiles), HERE), read(tiny, {"learning_rates": [1.0, 2.0], "epochs": 1})
    first = benchmark_recipe(recipe, LOSSES, tmp_path / "out", given)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trainings").rglob("*")}
    assert not list((tmp_path / "out").rglob("checkpoint.pt"))
    assert benchmark_recipe(recipe, LOSSES, tmp_path / "out", given) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "trainings").rglob("*")} == stamps


def test_only_networks_that_are_still_to_be_scored_are_kept(tiny, tiles, tmp_path):
    """A training that tunes leaves its score and no network, even where a kill came between the two."""
    runs = [Run(ProgramLoss("-sum_C(y*logp)"), 1.0, seed) for seed in (7, 8)]
    recipe = read(tiny, {"epochs": 1})
    with FullTrainer(recipe, str(tiles), tmp_path / "out", {}, HERE, tuning=(7,)) as trainer:
        tuned, kept = trainer.begin(runs, [None, None], 0, 16)()
        (checkpoint,) = tmp_path.rglob("checkpoint.pt")
        (folder,) = (path.parent for path in tmp_path.rglob("validation.json") if path.parent != checkpoint.parent)
        shutil.copy(checkpoint, folder)
        again = trainer.begin(runs, [None, None], 0, 16)()
    assert "seed8" in checkpoint.parent.name
    assert list(tmp_path.rglob("checkpoint.pt")) == [checkpoint]
    assert [one.score.nll for one in again] == [tuned.score.nll, kept.score.nll]


def test_equal_seeds_are_paired_and_scale_is_a_matter_of_the_rate(tiny, tiles, tmp_path):
    """Twice a loss at half the rate is the same training under SGD: same start, order and augmentation."""
    with FullTrainer(read(tiny), str(tiles), tmp_path / "out", {}, HERE) as trainer:
        runs = [Run(ProgramLoss("-sum_C(y*logp)", scale=2.0), 0.5, 7), Run(ProgramLoss("-sum_C(y*logp)"), 1.0, 7)]
        twice, once = trainer.begin(runs, [None, None], 0, 16)()
        (other,) = trainer.begin([Run(ProgramLoss("-sum_C(y*logp)"), 1.0, 8)], [None], 0, 16)()
    assert twice.score.nll == pytest.approx(once.score.nll, rel=1e-5)
    assert other.score.nll != once.score.nll


def test_a_loss_that_diverges_fails_and_says_so(tiny, tiles, tmp_path):
    """It ends early, keeps nothing but the reason, and takes no other with it."""
    recipe = read(tiny, {"learning_rate": 100.0, "epochs": 10})
    with FullTrainer(recipe, str(tiles), tmp_path / "out", {}, HERE) as trainer:
        (found,) = trainer.begin([Run(ProgramLoss("sum_C(exp(exp(z)))"))], [None], 0, 16)()
    assert found.score is None
    assert "diverged" in found.failure


@pytest.mark.slow
def test_two_processes_train_one_network_and_score_every_sample_once(tiny, tiles, tmp_path):
    """Data-parallel over gloo: an odd split is scored once each, as one process scores the same weights."""
    keys = {"epochs": 1, "train_size": 21}
    folder = tmp_path / "out"
    with FullTrainer(read(tiny, keys), str(tiles), folder, {}, Where("cpu", devices=2)) as both:
        (found,) = both.begin([Run(ProgramLoss("-sum_C(y*logp)"))], [None], 0, 16)()
        (checkpoint,) = folder.rglob("checkpoint.pt")
        shutil.copy(checkpoint, tmp_path / "kept.pt")
        (together,) = both.evaluate([found.state], "heldout")
    (checkpoint.parent / "heldout.json").unlink()
    shutil.copy(tmp_path / "kept.pt", checkpoint)
    with FullTrainer(read(tiny, keys), str(tiles), folder, {}, HERE) as one:
        (alone,) = one.evaluate([found.state], "heldout")
    assert len(together.score.parts["accuracy"]) == 12
    assert together.score.nll == pytest.approx(alone.score.nll, rel=1e-5)
    for name, part in alone.score.parts.items():
        np.testing.assert_allclose(together.score.parts[name], part, rtol=1e-4, atol=1e-5)
    assert json.loads((checkpoint.parent / "validation.json").read_text())["score"]["nll"] == found.score.nll


def test_batches_can_be_entered_anywhere_and_are_shared_without_overlap():
    """From any step on they are the whole's; an epoch meets a sample at most once; two processes share each."""
    whole = list(Batches(50, 8, 3, 0, 18, Share()))
    assert list(Batches(50, 8, 3, 7, 18, Share())) == whole[7:]
    for epoch in range(3):
        numbers = [number for batch in whole[6 * epoch : 6 * epoch + 6] for number, _ in batch]
        assert len(set(numbers)) == 48
    halves = [list(Batches(50, 8, 3, 0, 18, Share(rank, 2))) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_augmentation_follows_from_seed_epoch_and_sample_alone(tiny, tiles):
    """Read alone or beside others, before or after, a sample looks the same; another epoch changes it."""
    train = load(read(tiny), str(tiles)).train
    together = train.__getitems__([(0, 5), (1, 5), (2, 5)])[0]
    torch.randn(3)
    assert torch.equal(train.__getitems__([(2, 5)])[0][0], together[2])
    assert not torch.equal(train.__getitems__([(2, 6)])[0][0], together[2])


def test_the_three_uses_of_the_data_do_not_overlap(tiny, tiles):
    """Without an official split a fifth is held out; validation comes out of the rest."""
    data = load(read(tiny), str(tiles))
    parts = [{path for path, _ in part._samples} for part in (data.train, data.validation, data.heldout)]
    assert [len(part) for part in parts] == [36, 12, 12]
    assert len(set.union(*parts)) == 60


@pytest.mark.parametrize(
    ("keys", "epoch", "expected"),
    [
        ({"schedule": "cosine"}, 5, 0.5),
        ({"schedule": "cosine", "warmup": 0.2}, 1, 0.01 + 0.99 / 2),
        ({"schedule": "cosine", "warmup": 0.2}, 6, 0.5),
        ({"schedule": "cosine", "lowest_rate": 0.1}, 10, 0.1),
        ({"schedule": "step", "step_epochs": 3}, 7, 0.01),
        ({"schedule": "constant"}, 9, 1.0),
        ({"schedule": "plateau"}, 9, 0.25),
    ],
)
def test_learning_rates_follow_their_schedule(tiny, keys, epoch, expected):
    """The share of the peak rate at some epoch of ten."""
    assert schedule.rate(read(tiny, {"epochs": 10, **keys}), epoch, Plateau(share=0.25)) == pytest.approx(expected)


def test_the_plateau_rule_is_torchs(tiny):
    """It steps where torch's ReduceLROnPlateau does, on falling, flat and rising losses."""
    recipe = read(tiny, {"schedule": "plateau", "step_epochs": 2, "step_factor": 0.2, "lowest_rate": 0.01})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.2, patience=2, min_lr=0.01)
    seen = Plateau()
    for epoch in range(40):
        loss = 1.0 + math.exp(-epoch) * math.cos(epoch) + (0.1 if epoch % 7 == 3 else 0.0)
        seen = schedule.after_epoch(seen, loss, recipe)
        theirs.step(loss)
        assert seen.share == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_shorter_training_runs_its_schedule_through(tiny):
    """What chooses learning rates is the whole course in fewer epochs, not its beginning."""
    short = read(tiny, {"epochs": 32, "schedule": "step", "step_epochs": 8}).lasting(4)
    assert (short.epochs, short.step_epochs) == (8, 2)
