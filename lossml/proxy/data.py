"""Real data: where it lies, how it gets there, and what is said where it is not."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossml.errors import DataError
from lossml.proxy.reread import reread
from lossml.proxy.task import Split

CACHE = Path.home() / ".cache" / "lossml"
FOLDER_SIZE = 32
FOLDER_LIMIT = 20_000  # images read from a folder: more would not fit in memory beside the workers


@dataclass(frozen=True, slots=True)
class Source:
    """A torchvision data set.

    Attributes:
        dataset: torchvision's class of that name.
        folder: what it makes inside the root.
        classes: number of classes.
        channels: of its images.
        size: height and width of its images.
    """

    dataset: str
    folder: str
    classes: int
    channels: int
    size: int


SOURCES: dict[str, Source] = {
    "cifar10": Source("CIFAR10", "cifar-10-batches-py", 10, 3, 32),
    "cifar100": Source("CIFAR100", "cifar-100-python", 100, 3, 32),
    "fashion-mnist": Source("FashionMNIST", "FashionMNIST", 10, 1, 28),
}


@dataclass(frozen=True, slots=True)
class DataStatus:
    """What is known of a data set on this machine.

    Attributes:
        name: as `--dataset` takes it.
        present: whether it can be used without downloading.
        place: the folder it is, or would be, in.
        how: what to do to get it; empty where it is present.
    """

    name: str
    present: bool
    place: str
    how: str


def given_root(data_root: str | None) -> str | None:
    """Return the folder of the data sets that a person has named, LOSSML_DATA's where there is no other."""
    return data_root or os.environ.get("LOSSML_DATA")


def root_of(data_root: str | None) -> tuple[Path, bool]:
    """Return the folder of the data sets and whether LossML may download into it."""
    given = given_root(data_root)
    return (Path(given).expanduser(), False) if given else (CACHE, True)


def status(data_root: str | None = None) -> list[DataStatus]:
    """Say for each data set whether it is there, where, and how to get it."""
    root, may_download = root_of(data_root)
    rows = [DataStatus("digits", present=True, place="inside scikit-learn", how="")]
    for name, source in SOURCES.items():
        place = root / source.folder
        how = (
            "downloaded by the first search that uses it"
            if may_download
            else f"put torchvision's folder {source.folder} into {root}, or leave --data-root and LOSSML_DATA out"
        )
        rows.append(DataStatus(name, place.is_dir(), str(place), "" if place.is_dir() else how))
    return rows


def read(name: str, data_root: str | None, *, train: bool) -> Split:
    """Read a torchvision data set as uint8 images (N, channels, H, W); see `reread`, which keeps what is read.

    Raises:
        DataError: where it is missing and may not be or cannot be downloaded, or is damaged.
    """
    source = SOURCES[name]
    root, may_download = root_of(data_root)
    missing = not (root / source.folder).is_dir()
    if missing and not may_download:
        raise DataError(
            f"{name} is not in {root}: there is no {source.folder}; put torchvision's folder there, "
            "or leave --data-root and LOSSML_DATA out to download it"
        )
    fresh = partial(_fresh, name, root, train=train, missing=missing)
    if missing:
        split = fresh()  # its files are known after this
        return reread(CACHE, root / source.folder, "train" if train else "test", lambda: split)
    return reread(CACHE, root / source.folder, "train" if train else "test", fresh)


def _fresh(name: str, root: Path, *, train: bool, missing: bool) -> Split:
    """Read a data set by torchvision, and download it first where it is missing."""
    from torchvision import datasets

    source = SOURCES[name]
    try:
        found = getattr(datasets, source.dataset)(str(root), train=train, download=missing)
    except Exception as error:  # torchvision raises what the unpickler, the file or the network raise
        raise DataError(_damaged(name, root / source.folder, error, missing=missing)) from error
    return Split(_images(found.data), torch.as_tensor(found.targets, dtype=torch.int64).clone())


def _damaged(name: str, place: Path, error: Exception, *, missing: bool) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if missing:
        return (
            f"{name} could not be downloaded to {place.parent} ({reason}); get it on another machine and copy it there"
        )
    return f"{name} in {place} cannot be read ({reason}); delete that folder and get it again"


def _images(data: Any) -> torch.Tensor:  # noqa: ANN401 - numpy or torch, as torchvision likes
    images = torch.as_tensor(np.asarray(data)).clone()
    return images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()


def shuffled(split: Split, seed: int, count: int | None = None) -> Split:
    """Put the samples into a seeded random order, and give the first so many of them, or all."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:count]
    return Split(split.inputs[order], split.targets[order])


def cut(split: Split, *sizes: int) -> tuple[Split, ...]:
    """Cut a split into parts of the given sizes, from the front."""
    parts, start = [], 0
    for size in sizes:
        stop = start + size
        parts.append(Split(split.inputs[start:stop].clone(), split.targets[start:stop].clone()))
        start = stop
    return tuple(parts)


def read_folder(path: str) -> tuple[Split, list[str]]:
    """Read a folder of class folders as uint8 images (N, 3, 32, 32), and the class names.

    Raises:
        DataError: where it is no such folder or an image cannot be read.
    """
    from torchvision import datasets
    from torchvision.transforms import v2

    transform = v2.Compose([v2.ToImage(), v2.Resize(FOLDER_SIZE, antialias=True), v2.CenterCrop(FOLDER_SIZE)])
    try:
        folder = datasets.ImageFolder(str(Path(path).expanduser()), transform=transform)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no folder of class folders with images: {error}") from error
    order = torch.randperm(len(folder), generator=torch.Generator().manual_seed(0))[:FOLDER_LIMIT].tolist()
    images, targets = [], []
    for index in order:
        try:
            image, target = folder[index]
        except OSError as error:
            raise DataError(f"{folder.samples[index][0]} cannot be read as an image: {error}") from error
        images.append(torch.as_tensor(image))
        targets.append(target)
    return Split(torch.stack(images), torch.tensor(targets)), list(folder.classes)
