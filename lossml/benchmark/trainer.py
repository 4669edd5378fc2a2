"""Trains and scores by a recipe for a comparison: what `Trainer` is for proxies, with a folder for every training."""

import hashlib
import pickle
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.multiprocessing.spawn import ProcessRaisedException

from lossml.backend import ForeignLoss, ProgramLoss
from lossml.benchmark import networks, supply, training
from lossml.benchmark.recipe import Training
from lossml.benchmark.training import CHECKPOINT, LOG, Job, Machine, Trained
from lossml.errors import LossMLError, UsageError
from lossml.program import show
from lossml.proxy import Facts, Outcome, Run
from lossml.proxy.data import given_root
from lossml.proxy.pool import Handler, Lost, Pool, answer
from lossml.proxy.trainer import chosen_device, cores
from lossml.search.folder import write_atomically

TRAININGS = "trainings"
FOREVER = 1e7  # seconds: a full training takes as long as it takes
VALIDATION, HELDOUT = "validation.json", "heldout.json"


@dataclass(frozen=True, slots=True)
class Where:
    """Where a benchmark computes.

    Attributes:
        device: "auto", "cpu", "cuda", "cuda:1", ...
        devices: devices that train one network together; 0 for all GPUs there are, or one on a CPU.
        workers: networks trained side by side, each by a process with one thread; -1 for one per core on a CPU and none
            elsewhere, 0 for this process.
        readers: processes that read data for each device; -1 for what suits.
    """

    device: str = "auto"
    devices: int = 0
    workers: int = -1
    readers: int = -1


@dataclass(frozen=True, slots=True)
class _Setup:
    recipe: Training
    data_root: str | None
    machine: Machine
    own_process: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Ask:
    """A job, and what of it: a training of some sixteenths of the recipe's length, or its held-out score.

    What a training that tunes leaves is its validation score; its network is not needed again.
    """

    job: Job
    sixteenths: int
    what: Literal["tune", "train", "heldout"]


@dataclass(frozen=True, slots=True, eq=False)
class _Handle:
    """What a comparison holds of a trained network: where it lies."""

    ask: _Ask


class FullTrainer:
    """Trains and scores by a recipe; use it in a `with` statement.

    Args:
        recipe: what a training is.
        data_root: folder of the data sets; None for LOSSML_DATA or a cache.
        folder: of the benchmark; every training has a folder in it.
        labels: names of the losses by program, for those folders.
        where: devices and processes.
        prior: whether a loss reads the class shares, which must then be counted.
        tuning: seeds of the trainings that choose learning rates; no network of theirs is kept.
    """

    def __init__(
        self,
        recipe: Training,
        data_root: str | None,
        folder: Path,
        labels: Mapping[str, str],
        where: Where,
        *,
        prior: bool = False,
        tuning: Collection[int] = (),
    ) -> None:
        """Open the data, and start the workers."""
        self._tuning = frozenset(tuning)
        self._recipe, self._folder, self._labels = recipe, folder, labels
        self.machine, self.workers = _machine(recipe, where)
        self.device = self.machine.device
        data = supply.load(recipe, data_root)
        networks.check_network(recipe, masks=data.masks)
        self.facts = _facts(recipe, data, prior=prior)
        setup = _Setup(recipe, given_root(data_root), self.machine, own_process=self.workers > 0)
        self._pool = Pool(_handler, setup, self.workers, FOREVER) if self.workers else None
        self._here = None if self.workers else _handler(setup)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()

    def begin(self, runs: Sequence[Run], states: Sequence[Any], start: int, stop: int) -> Callable[[], list[Outcome]]:
        """Begin to train over some sixteenths of the recipe's epochs, the schedule run through; nothing is in between.

        Workers begin at once, or after what they were given before; without any, who waits does it.

        Returns:
            What waits for the outcomes; it raises LossMLError where a training could not go on for a reason that is
            not its loss's. What is trained is kept.
        """
        if start or any(state is not None for state in states):
            raise LossMLError("a full training is done in one go")
        asks = [_Ask(self._job(run, stop), stop, "tune" if run.seed in self._tuning else "train") for run in runs]
        waiting = self._begun(asks)
        return lambda: [
            Outcome(None, None, one.failure) if one.score is None else Outcome(_opaque(_Handle(ask)), one.score)
            for ask, one in zip(asks, waiting(), strict=True)
        ]

    def evaluate(self, states: Sequence[Any], split: str) -> list[Outcome]:
        """Score trained networks on "heldout", once each: a score that was read is kept, and the weights are let go."""
        if split != "heldout":
            raise LossMLError(f"{split} is no split that is read after training")
        asks = [replace(state.ask, what="heldout") for state in states]
        found = self._pool.map(asks) if self._pool is not None else self._here_now(asks)
        return [Outcome(state, one.score) for state, one in zip(states, _sound(asks, found), strict=True)]

    def _job(self, run: Run, sixteenths: int) -> Job:
        program = program_of(run.loss)
        name = re.sub(r"[^A-Za-z0-9.=]+", "-", self._labels.get(program, "loss")).strip("-")[:40]
        facts = f"{program}|{run.lr!r}|{run.seed}|{sixteenths}|{float(_scale(run.loss))!r}"
        key = hashlib.blake2b(facts.encode(), digest_size=4).hexdigest()
        return Job(run.loss, run.lr, run.seed, self._folder / TRAININGS / f"{name}-lr{run.lr:g}-seed{run.seed}-{key}")

    def _begun(self, asks: Sequence[_Ask]) -> Callable[[], list[Trained]]:
        pool = self._pool
        if pool is None:
            return lambda: _sound(asks, self._here_now(asks))
        numbers = pool.submit(asks)
        return lambda: _sound(asks, pool.wait(numbers))

    def _here_now(self, asks: Sequence[_Ask]) -> list[Any]:
        return [answer(self._here, ask) for ask in asks if self._here]


def _sound(asks: Sequence[_Ask], found: Sequence[Any]) -> list[Trained]:
    """Return what asks gave; a LossMLError where one gave nothing."""
    for ask, one in zip(asks, found, strict=True):
        if isinstance(one, Lost):
            raise LossMLError(
                f"the training in {ask.job.folder} cannot go on: {one.reason}; what is trained is kept, "
                "and the same command goes on"
            )
    return list(found)


def _opaque(handle: _Handle) -> Any:  # noqa: ANN401 - a comparison only hands it back
    return handle


def program_of(loss: nn.Module) -> str:
    """Return a loss's program, or the name of one that is none."""
    if isinstance(loss, ForeignLoss):
        return loss.name
    if isinstance(loss, ProgramLoss):
        return show(loss.program)
    raise LossMLError(f"{type(loss).__name__} is no loss that a benchmark trains")


def _scale(loss: nn.Module) -> Any:  # noqa: ANN401 - a tensor of one number
    return loss.scale


def _facts(recipe: Training, data: supply.Data, *, prior: bool) -> Facts:
    network = networks.build(recipe, data.classes, 0)
    weights = sum(parameter.numel() for parameter in network.parameters())
    shares = data.prior() if prior else (1.0 / data.classes,) * data.classes
    sizes = (len(data.train), len(data.validation), len(data.heldout))
    return Facts(recipe.name, data.classes, shares, training.steps_of(recipe, sizes[0]), 1, sizes, weights, data.pixels)


def _machine(recipe: Training, where: Where) -> tuple[Machine, int]:
    """Choose devices, side-by-side trainings and readers, and refuse what does not go together."""
    device = chosen_device(where.device)
    gpus = device == "cuda"
    devices = where.devices or (torch.cuda.device_count() if gpus else 1)
    if recipe.batch_size % (devices * recipe.accumulate):
        raise UsageError(
            f"{recipe.name} has batches of {recipe.batch_size} in {recipe.accumulate} parts, which {devices} devices "
            "cannot share evenly; give another --devices or --set batch_size=..."
        )
    alone = device == "cpu" and devices == 1
    workers = where.workers if where.workers >= 0 else (cores() if alone else 0)
    if workers and not alone:
        raise UsageError(
            "--workers trains networks side by side on a CPU; leave it out with a GPU or several --devices"
        )
    readers = where.readers if where.readers >= 0 else (0 if device == "cpu" else min(8, max(1, cores() // devices)))
    return Machine(device, devices, 0 if workers else readers), workers


def _handler(setup: _Setup) -> Handler:
    """Open the data and return what trains; runs in each worker."""
    if setup.own_process:
        torch.set_num_threads(1)
    supply.load(setup.recipe, setup.data_root)
    return _Worker(setup)


class _Worker:
    """Answers asks: from what is kept, or by computing it."""

    def __init__(self, setup: _Setup) -> None:
        self._setup = setup

    def __call__(self, ask: _Ask) -> Trained:
        ask.job.folder.mkdir(parents=True, exist_ok=True)
        path = ask.job.folder / (HELDOUT if ask.what == "heldout" else VALIDATION)
        found = training.read_score(path)
        if found is None:
            _describe(ask)
            found = _launched(self._setup, ask, path)
        if ask.what != "train" or found.score is None:  # its result is on the disk, so the weights can go
            (ask.job.folder / CHECKPOINT).unlink(missing_ok=True)
        return found


def _describe(ask: _Ask) -> None:
    """Write which loss a folder's training has."""
    path = ask.job.folder / "loss.txt"
    if not path.exists():
        loss = ask.job.loss
        write_atomically(
            path, f"{program_of(loss)}\nscale {float(_scale(loss)):g}\nlearning rate times {ask.job.lr:g}\n"
        )


def _launched(setup: _Setup, ask: _Ask, path: Path) -> Trained:
    """Compute in this process, or in one for each device, and keep the score in a file."""
    fabric = training.fabric_for(setup.recipe, setup.machine)
    if setup.machine.devices > 1:
        _together(fabric, setup, ask, path)
    else:
        fabric.launch()
        training.write_score(path, _computed(fabric, setup, ask))
    found = training.read_score(path)
    if found is None:
        raise LossMLError(f"{path} is not there, although its training ended")
    return found


def _together(fabric: Fabric, setup: _Setup, ask: _Ask, path: Path) -> None:
    try:
        # Fabric looks into arguments, which must not be frozen; its types have it call a function of nothing else.
        fabric.launch(_in_each, pickle.dumps((setup, ask, path)))  # pyright: ignore[reportArgumentType] - see above
    except ProcessRaisedException as error:
        reason = [line for line in str(error).splitlines() if line.strip()][-1]
        raise LossMLError(f"one of its {setup.machine.devices} processes failed with {reason}") from error


def _in_each(fabric: Fabric, given: bytes) -> None:
    """Compute in one of several processes; the first keeps the score."""
    setup, ask, path = pickle.loads(given)  # noqa: S301 - from the process that started this one
    warnings.filterwarnings("ignore", module="lightning_fabric")
    if fabric.device.type == "cpu":
        torch.set_num_threads(1)
    found = _computed(fabric, setup, ask)
    if fabric.is_global_zero:
        training.write_score(path, found)


def _computed(fabric: Fabric, setup: _Setup, ask: _Ask) -> Trained:
    recipe = setup.recipe.lasting(ask.sixteenths)
    data = supply.load(setup.recipe, setup.data_root)
    if ask.what != "heldout":
        return training.train(fabric, recipe, data, ask.job, setup.machine)
    return Trained(training.read_heldout(fabric, recipe, data, ask.job, setup.machine))


def logs(folder: Path) -> list[Path]:
    """Return the logs of a benchmark's trainings."""
    return sorted((folder / TRAININGS).glob(f"*/{LOG}"))
