"""One full training with Lightning Fabric: on one device or several, with checkpoints that any step can go on from.

Training is a function of (recipe, data, loss, rate, seed, step): batches, augmentation and dropout draw from seeds made
of these, so a checkpoint holds weights, optimizer, average and the step, and needs no state of any random generator.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import IO, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, multiprocessing, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lossml.backend import ForeignLoss
from lossml.benchmark import networks, schedule
from lossml.benchmark.recipe import Training
from lossml.benchmark.schedule import Plateau
from lossml.benchmark.score import Scorer
from lossml.benchmark.supply import Batches, Data, Share, Supply, loader, mixed, unaugmented
from lossml.errors import LossMLError
from lossml.proxy import Score
from lossml.search.folder import write_atomically

logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # it announces every process

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
LOOKED = 20  # steps between two looks at the loss, at which a training that diverged is ended
SAID = 5.0  # seconds between two lines of the log
SCORED = 2  # batches of training that make one of scoring


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how a training computes.

    Attributes:
        device: "cpu", "cuda", "cuda:1", ...
        devices: number of processes, each with a device, or on a CPU with a share of every batch.
        readers: processes that read data beside each of them.
        saved: steps between two checkpoints within an epoch.
    """

    device: str = "cpu"
    devices: int = 1
    readers: int = 0
    saved: int = 500


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A training: a loss, a multiple of the learning rate, a seed, and the folder that is its own."""

    loss: nn.Module
    lr: float
    seed: int
    folder: Path


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What became of a training: its score on the validation split, or why it failed."""

    score: Score | None
    failure: str = ""


@dataclass(slots=True, eq=False)
class _State:
    """A training in progress: what a checkpoint holds."""

    network: Any
    optimizer: Any
    average: AveragedModel | None
    step: int = 0
    plateau: Plateau = field(default_factory=Plateau)
    losses: float = 0.0  # summed over the steps of this epoch, where the plateau rule wants their mean

    @property
    def scored(self) -> nn.Module:
        """The network that counts, out of any wrapper: processes that score unlike numbers of batches must not wait."""
        if self.average is not None:
            return self.average.module
        found: nn.Module = self.network.module
        return found.module if isinstance(found, nn.parallel.DistributedDataParallel) else found


def precision(recipe: Training, device: str) -> str:
    """Resolve "auto"."""
    if recipe.precision != "auto":
        return recipe.precision
    return "bf16-mixed" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "32-true"


def fabric_for(recipe: Training, machine: Machine) -> Fabric:
    """Make the Fabric of a machine."""
    kind, _, place = machine.device.partition(":")
    devices: int | list[int] = [int(place)] if place and machine.devices == 1 else machine.devices
    strategy = _several(kind) if machine.devices > 1 else "auto"
    chosen: Any = precision(recipe, machine.device)
    return Fabric(accelerator=kind, devices=devices, strategy=strategy, precision=chosen)


def _several(kind: str) -> DDPStrategy:
    """Choose how several processes start: on a CPU from one that has imported all they need, which takes seconds."""
    if kind != "cpu" or torch.cuda.is_initialized():
        return DDPStrategy(start_method="spawn")  # CUDA cannot be used in the fork of a process that has used it
    multiprocessing.get_context("forkserver").set_forkserver_preload([__name__])
    return DDPStrategy(start_method="forkserver")


def train(fabric: Fabric, recipe: Training, data: Data, job: Job, machine: Machine) -> Trained:
    """Train to the end, from the checkpoint where there is one, and score on the validation split."""
    state = _fresh(fabric, recipe, data, job)
    _resume(fabric, state, job.folder)
    loss = fabric.to_device(job.loss)
    with _log(fabric, job.folder) as log:
        failure = _steps(fabric, recipe, data, (state, loss, job), machine, log)
    if failure:
        return Trained(None, failure)
    score = _score(fabric, state.scored, data, data.validation, recipe, machine)
    return Trained(score) if math.isfinite(score.nll) else Trained(None, "diverged: its answers are not finite")


def read_heldout(fabric: Fabric, recipe: Training, data: Data, job: Job, machine: Machine) -> Score:
    """Score a training that is done on the held-out split."""
    state = _fresh(fabric, recipe, data, job)
    _resume(fabric, state, job.folder)
    if state.step == 0:
        raise LossMLError(f"the trained network of {job.folder} is gone; remove that folder to train it again")
    return _score(fabric, state.scored, data, data.heldout, recipe, machine)


def steps_of(recipe: Training, samples: int) -> int:
    """Return the optimizer steps of a training."""
    return recipe.epochs * (samples // recipe.batch_size)


def _fresh(fabric: Fabric, recipe: Training, data: Data, job: Job) -> _State:
    network = networks.build(recipe, data.classes, job.seed)
    if recipe.compile:
        network.compile()
    optimizer = _optimizer(recipe, network)
    average = None
    if recipe.ema:
        averaging = get_ema_multi_avg_fn(recipe.ema)
        average = AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)
        fabric.to_device(average)
    wrapped, stepping = fabric.setup(network, optimizer)
    return _State(wrapped, stepping, average)


def _optimizer(recipe: Training, network: nn.Module) -> torch.optim.Optimizer:
    weights = list(network.parameters())
    small = [] if recipe.decay_norms else [w for w in weights if w.dim() < 2]
    known = {id(w) for w in small}
    groups = [{"params": [w for w in weights if id(w) not in known], "weight_decay": recipe.weight_decay}]
    groups += [{"params": small, "weight_decay": 0.0}] if small else []
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.learning_rate)


def _steps(
    fabric: Fabric, recipe: Training, data: Data, parts: tuple[_State, nn.Module, Job], machine: Machine, log: "_Log"
) -> str:
    """Go all steps that are left; gives the reason where it had to end."""
    state, _, job = parts
    count = len(data.train)
    total, epoch = steps_of(recipe, count), count // recipe.batch_size
    share = Share(fabric.global_rank, fabric.world_size)
    batches = Batches(count, recipe.batch_size, job.seed, state.step, total, share)
    for images, targets, _ in _moved(fabric, data.train, batches, machine):
        value = _step(fabric, recipe, parts, (images, targets), epoch)
        state.losses += float(value) if recipe.schedule == "plateau" else 0.0
        if state.step % LOOKED == 0 and not _finite(fabric, value):
            return f"diverged: its loss is not finite after {state.step} steps"
        log.take(state, value, total, epoch, recipe.batch_size)
        if state.step % epoch == 0:
            _epoch_ends(fabric, state, recipe, epoch)
        if state.step % epoch == 0 or state.step % machine.saved == 0:
            _save(fabric, state, job.folder)
    return ""


def _epoch_ends(fabric: Fabric, state: _State, recipe: Training, steps: int) -> None:
    if recipe.schedule == "plateau":
        mean: Any = fabric.all_reduce(torch.tensor(state.losses / steps, device=fabric.device), reduce_op="mean")
        state.plateau = schedule.after_epoch(state.plateau, float(mean), recipe)
    state.losses = 0.0


def _step(
    fabric: Fabric, recipe: Training, parts: tuple[_State, nn.Module, Job], batch: tuple[Tensor, Tensor], epoch: int
) -> Tensor:
    """Go one optimizer step; gives the loss, the mean over its parts and, for a look at it, over no other process."""
    state, loss, job = parts
    fabric_seed = mixed(job.seed, state.step, fabric.global_rank, 2)
    torch.manual_seed(fabric_seed)
    _set_rate(state, recipe, job.lr, epoch)
    if not isinstance(loss, ForeignLoss):
        loss.set_progress(state.step / (recipe.epochs * epoch))  # pyright: ignore[reportCallIssue] - a ProgramLoss
    state.network.train()
    total = torch.zeros((), device=batch[0].device)
    pieces = [part.chunk(recipe.accumulate) for part in batch]
    for k, (images, targets) in enumerate(zip(*pieces, strict=True)):
        with fabric.no_backward_sync(state.network, enabled=k + 1 < recipe.accumulate):
            value = loss(state.network(images), targets) / recipe.accumulate
            fabric.backward(value)
        total += value.detach()
    if recipe.clip:
        fabric.clip_gradients(state.network, state.optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
    state.optimizer.step()
    state.optimizer.zero_grad()
    if state.average is not None:
        state.average.update_parameters(_bare(state.network))
    state.step += 1
    return total


def _bare(network: Any) -> nn.Module:  # noqa: ANN401 - Fabric's wrapper
    found: nn.Module = network.module
    return found.module if isinstance(found, nn.parallel.DistributedDataParallel) else found


def _set_rate(state: _State, recipe: Training, multiple: float, epoch: int) -> None:
    share = schedule.rate(recipe, state.step / epoch, state.plateau)
    for group in state.optimizer.param_groups:
        group["lr"] = recipe.learning_rate * multiple * share


def _finite(fabric: Fabric, value: Tensor) -> bool:
    """Say whether the loss is finite in every process: all of them must end together."""
    every: Any = fabric.all_reduce(value.detach(), reduce_op="sum")
    return bool(torch.isfinite(every))


def _moved(fabric: Fabric, supply: Supply, batches: Any, machine: Machine) -> Iterator[tuple[Tensor, Tensor, Tensor]]:  # noqa: ANN401 - keys of batches
    """Read batches and move images and targets to the device."""
    pinned = fabric.device.type == "cuda"
    for images, targets, numbers in loader(supply, batches, machine.readers, pinned=pinned):
        moved = (part.to(fabric.device, non_blocking=pinned) for part in (images, targets))
        yield (*moved, numbers)


@torch.no_grad()
def _score(fabric: Fabric, network: nn.Module, data: Data, split: Supply, recipe: Training, machine: Machine) -> Score:
    network.eval()
    scorer = Scorer(data.classes, fabric.device, masks=data.masks)
    size = max(1, SCORED * recipe.batch_size // recipe.accumulate // fabric.world_size)
    batches = unaugmented(len(split), size, Share(fabric.global_rank, fabric.world_size))
    with fabric.autocast():
        for images, targets, numbers in _moved(fabric, split, batches, machine):
            scorer.update(network(images), targets, numbers)
    return scorer.compute()


# ---------------------------------------------------------------------------------------------
def _kept(state: _State) -> dict[str, Any]:
    return {
        "network": state.network,
        "optimizer": state.optimizer,
        **({"average": state.average} if state.average is not None else {}),
        "step": state.step,
        "losses": state.losses,
        "plateau": asdict(state.plateau),
    }


def _save(fabric: Fabric, state: _State, folder: Path) -> None:
    """Write the checkpoint beside its place and rename it."""
    beside = folder / f".{CHECKPOINT}"
    fabric.save(beside, _kept(state))
    if fabric.is_global_zero:
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(folder / CHECKPOINT)
    fabric.barrier()


def _resume(fabric: Fabric, state: _State, folder: Path) -> None:
    """Take a training up where its checkpoint is; stays at the beginning where there is none."""
    if not (folder / CHECKPOINT).is_file():
        return
    found = _kept(state)
    fabric.load(folder / CHECKPOINT, found, weights_only=True)
    state.step, state.losses, state.plateau = found["step"], found["losses"], Plateau(**found["plateau"])


class _Log:
    """A training's log: one JSON line from time to time, written by the first process."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self._began = self._said = monotonic()
        self._first = -1

    def take(self, state: _State, value: Tensor, total: int, epoch: int, batch: int) -> None:
        """Write a line where SAID seconds have gone by, at the first step and at the last."""
        first = self._first < 0
        self._first = state.step - 1 if first else self._first
        now = monotonic()
        if self._file is None or not (first or state.step == total or now - self._said >= SAID):
            return
        self._said = now
        seconds = max(1e-9, now - self._began)
        line = {
            "step": state.step,
            "of": total,
            "epoch": round(state.step / epoch, 3),
            "loss": _number(float(value)),
            "learning_rate": _number(state.optimizer.param_groups[0]["lr"]),
            "samples_per_second": round((state.step - self._first) * batch / seconds, 1),
            "seconds": round(seconds, 1),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def _number(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


@contextmanager
def _log(fabric: Fabric, folder: Path) -> Iterator[_Log]:
    opened = (folder / LOG).open("a", encoding="utf-8") if fabric.is_global_zero else nullcontext()
    with opened as file:
        yield _Log(file)


# ---------------------------------------------------------------------------------------------
def write_score(path: Path, trained: Trained) -> None:
    """Keep a score with every sample's part, beside and renamed; or why there is none."""
    score = trained.score
    names = ("accuracy", "balanced_accuracy", "nll", "ece", "miou", "top5")
    numbers = {name: getattr(score, name) for name in names} if score else None
    if score is not None:
        beside = path.with_suffix(".part.npz")
        parts: dict[str, Any] = dict(score.parts)
        with beside.open("wb") as file:
            np.savez_compressed(file, **parts)
            file.flush()
            os.fsync(file.fileno())  # the checkpoint it came from is deleted after this
        beside.replace(path.with_suffix(".npz"))
    write_atomically(path, json.dumps({"score": numbers, "failure": trained.failure}, indent=2) + "\n")


def read_score(path: Path) -> Trained | None:
    """Read a kept score; None where there is none."""
    if not path.is_file():
        return None
    found: Mapping[str, Any] = json.loads(path.read_text())
    if found["score"] is None:
        return Trained(None, found["failure"])
    with np.load(path.with_suffix(".npz")) as parts:
        return Trained(Score(**found["score"], parts={name: parts[name] for name in parts.files}))
