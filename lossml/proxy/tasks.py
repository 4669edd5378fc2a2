"""The tasks by name, and those of a user's own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import torch

from lossml.errors import DataError, LossMLError, UsageError
from lossml.proxy import data, masks
from lossml.proxy.augment import FlipAndShift, flip_and_shift
from lossml.proxy.corrupt import corrupted
from lossml.proxy.networks import MLP, EncoderDecoder, MatrixConv, PooledConv, ResNet18, StridedConv, whitening
from lossml.proxy.task import Split, Task
from lossml.resources import imported

FOLDER = "image-folder:"
MASKS = "segmentation-folder:"
TRAIN, VALIDATION = 10_000, 5_000  # images of a large data set that a proxy uses
IMAGE_STEPS = 640
LARGE_STEPS, LARGE_BATCH = 720, 500  # eight epochs of CIFAR-10
MASK_STEPS = 320
RESIDUAL = "resnet18"
ONLY_GPU = ("large", RESIDUAL)  # networks
TOGETHER = 256  # small networks that fill a GPU
COMPILED = 64  # small networks together that are worth the compiler's time


Splits = tuple[Split, Split, Split]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task by name, as plain data.

    Attributes:
        name: one of `task_names()`, "image-folder:PATH", "segmentation-folder:PATH", or "module:attribute" for a Task
            of one's own.
        data_root: folder of the data sets; None for LOSSML_DATA or a cache.
        label_noise: share of training labels replaced by another class, in [0, 1).
        long_tail: how many times more samples the first class has than the last, at least 1.
        seed: of what noise, tail and size choose.
        noise_kind: "symmetric" for any wrong class, "asymmetric" for the next one.
        train_size: labelled training samples, kept in the classes' proportions; 0 for all.
        network: "small", "large" or "resnet18" for classes of images, the last two on a GPU; "auto" for large where a
            GPU trains, else small.
    """

    name: str
    data_root: str | None = None
    label_noise: float = 0.0
    long_tail: float = 1.0
    seed: int = 0
    noise_kind: str = "symmetric"
    train_size: int = 0
    network: str = "auto"


def task_names() -> list[str]:
    """Return the names of the built-in tasks."""
    return ["digits", *data.SOURCES, *masks.SOURCES]


def datasets_status(data_root: str | None = None) -> list[data.DataStatus]:
    """Say for each data set whether it is there, where, and how to get it."""
    return [*data.status(data_root), *masks.status(data_root)]


def check_name(name: str) -> None:
    """Refuse a task name that cannot be one; a UsageError says what there is."""
    if name in task_names() or ":" in name:
        return
    near = get_close_matches(name, task_names(), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(task_names())}."
    raise UsageError(
        f"unknown data set {name!r}; {hint} Others are given as image-folder:PATH or "
        "segmentation-folder:PATH, your own task as module:attribute"
    )


def load_task(spec: TaskSpec, device: str = "cpu") -> Task:
    """Load a task's data, on the CPU, and describe its training on a device.

    Raises:
        UsageError: for an unknown name; DataError where its data is missing or damaged.
    """
    check_name(spec.name)
    task = _load(spec, gpu=device.startswith("cuda"))
    return corrupted(task, spec.label_noise, spec.long_tail, spec.seed, kind=spec.noise_kind, size=spec.train_size)


def _load(spec: TaskSpec, *, gpu: bool) -> Task:
    if spec.name in data.SOURCES or spec.name.startswith(FOLDER):
        return _images(spec, gpu=gpu)
    if spec.network in ONLY_GPU:
        raise UsageError(f"network is {spec.network!r}; {spec.name} has one network only, leave it out")
    if spec.name == "digits":
        return replace(_digits(), **{"group": TOGETHER} if gpu else {})
    if spec.name in masks.SOURCES:
        return _segmentation(
            spec.name, masks.read(spec.name, spec.data_root), masks.SOURCES[spec.name].classes, gpu=gpu
        )
    if spec.name.startswith(MASKS):
        return _segmentation(spec.name, *masks.read_folder(spec.name.removeprefix(MASKS)), gpu=gpu)
    return _own(spec.name)


def _digits() -> Task:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    rest, held, rest_y, held_y = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
    train, val, train_y, val_y = train_test_split(rest, rest_y, test_size=2 / 7, random_state=0, stratify=rest_y)
    parts = [
        Split(torch.as_tensor(x, dtype=torch.float32) / 16.0, torch.as_tensor(y))
        for x, y in ((train, train_y), (val, val_y), (held, held_y))
    ]
    return Task("digits", 10, *parts, network=partial(MLP, 64, 32, 10), steps=1120, learning_rate=1e-2, group=8)


def _images(spec: TaskSpec, *, gpu: bool) -> Task:
    if spec.network in ONLY_GPU and not gpu:
        raise UsageError(f"network is {spec.network!r}, which takes a CPU hours to train; give small, or leave it out")
    large = gpu and spec.network != "small"
    if spec.name in data.SOURCES:
        splits, classes = _source(spec, None if large else TRAIN), data.SOURCES[spec.name].classes
    else:
        splits, classes = _folder(spec.name.removeprefix(FOLDER))
    splits = splits if gpu else _laid_out(splits)
    task = _large(spec, classes, splits) if large else _small(spec.name, classes, splits, gpu=gpu)
    return replace(
        task,
        weight_decay=0.05,
        augment=FlipAndShift(apart=large) if spec.name != "fashion-mnist" else None,
        bfloat16=has_fast_bfloat16(gpu=gpu),
    )


def _laid_out(splits: Splits) -> Splits:
    """Lay images out as a CPU's convolutions read them."""
    first, second, third = (replace(s, inputs=s.inputs.to(memory_format=torch.channels_last)) for s in splits)
    return first, second, third


def _source(spec: TaskSpec, count: int | None) -> Splits:
    """Read a data set's splits with so many training images, or all."""
    needed = None if count is None else count + VALIDATION
    found = data.shuffled(data.read(spec.name, spec.data_root, train=True), 0, needed)
    train, validation = data.cut(found, count or len(found) - VALIDATION, VALIDATION)
    return train, validation, data.read(spec.name, spec.data_root, train=False)


def _small(name: str, classes: int, splits: Splits, *, gpu: bool) -> Task:
    """Describe a network that a CPU core trains in some ten seconds, and a GPU many of at once."""
    channels, size = splits[0].inputs.shape[1:3]
    return Task(
        name,
        classes,
        *splits,
        network=partial(MatrixConv if gpu else StridedConv, channels, size, classes),
        steps=IMAGE_STEPS,
        batch_size=min(128, len(splits[0])),
        learning_rate=4e-3,
        group=TOGETHER if gpu else 1,
        compiled=COMPILED if gpu else 0,
    )


def _large(spec: TaskSpec, classes: int, splits: Splits) -> Task:
    """Describe a network that a GPU trains alone: in a second or two, or a ResNet-18 in several."""
    residual = spec.network == RESIDUAL
    whole = partial(ResNet18, splits[0].inputs.shape[1], classes)
    return Task(
        spec.name,
        classes,
        *splits,
        network=whole if residual else partial(PooledConv, classes, whitening(splits[0].inputs)),
        steps=LARGE_STEPS,
        batch_size=min(LARGE_BATCH, len(splits[0])),
        learning_rate=2e-3 if residual else 8e-3,
        compiled=1,
    )


def _segmentation(name: str, splits: masks.Splits, classes: int, *, gpu: bool) -> Task:
    return Task(
        name,
        classes,
        *splits,
        network=partial(EncoderDecoder, splits[0].inputs.shape[1], classes),
        steps=MASK_STEPS,
        batch_size=min(8, len(splits[0])),
        learning_rate=4e-3,
        weight_decay=0.05,
        augment=flip_and_shift,
        bfloat16=has_fast_bfloat16(gpu=gpu),
    )


def has_fast_bfloat16(*, gpu: bool = False) -> bool:
    """Say whether bfloat16 is faster than float32 here: measured twice as fast where it is native."""
    if gpu:
        return torch.cuda.is_bf16_supported()
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def _folder(path: str) -> tuple[Splits, int]:
    root = Path(path).expanduser()
    if (root / "train").is_dir() and (root / "val").is_dir():
        rest, classes = data.read_folder(str(root / "train"))
        heldout, others = data.read_folder(str(root / "val"))
        if classes != others:
            raise DataError(f"{root}: train and val have different class folders; they must be the same")
        train, validation = data.cut(rest, *_shares(len(rest), 0.75, 0.25))
    else:
        everything, classes = data.read_folder(path)
        train, validation, heldout = data.cut(everything, *_shares(len(everything), 0.5, 0.2, 0.3))
    if len(classes) < 2:
        raise DataError(f"{root} has {len(classes)} class folder; a classification task needs at least 2")
    return (train, validation, heldout), len(classes)


def _shares(count: int, *shares: float) -> list[int]:
    return [int(share * count) for share in shares]


def _own(name: str) -> Task:
    """Import a user's task: a Task, or a function that gives one."""
    found = imported(name)
    task = _called(found, name) if callable(found) and not isinstance(found, Task) else found
    if not isinstance(task, Task):
        raise UsageError(f"{name} is a {type(task).__name__}; it must be a lossml.proxy.Task or a function giving one")
    return replace(task, name=name)


def _called(make: Callable[[], object], name: str) -> object:
    try:
        return make()
    except LossMLError:
        raise
    except Exception as error:  # whatever a user's code raises
        module, attribute = name.split(":", 1)
        raise UsageError(
            f"{name} failed with {type(error).__name__}: {error}; "
            f"python -c 'import {module}; {module}.{attribute}()' shows where"
        ) from error
