"""What was read of a data set once, as a file of tensors: to import torchvision and unpickle images takes seconds.

Such a file is of the data set's files as they were, by name, size and time of change; of others it is made anew.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import time

import torch

from lossml.proxy.task import Split

FOLDER = "read-1"  # the number changes when images are to be read in another way
NEWEST = 2  # files kept of each part of a data set, as there may be two places
ABANDONED = 3600.0  # seconds after which a file that is still being written never will be


def reread(cache: Path, place: Path, part: str, read: Callable[[], Split]) -> Split:
    """Give a part of a data set, and read it where that was not done before.

    Args:
        cache: folder below which tensors are kept. Where nothing can be written, nothing is.
        place: folder of the data set.
        part: which one of its parts, a word.
        read: reads it.
    """
    try:
        stamps = "\n".join(_stamps(place))
    except OSError:  # a file that comes or goes, or may not be looked at
        return read()
    owner, digest = f"{place.name}-{part}-", hashlib.blake2b(stamps.encode(), digest_size=8).hexdigest()
    file = cache / FOLDER / f"{owner}{digest}.pt"
    found = _kept(file)
    if found is not None:
        return found
    split = read()
    _keep(split, file)
    _tidy(file.parent, owner)
    return split


def _stamps(place: Path) -> Iterator[str]:
    """Name every file of a data set with its size and time of change."""
    for folder, inner, names in os.walk(place, followlinks=True):
        inner.sort()
        for name in sorted(names):
            path = Path(folder) / name
            found = path.stat()
            yield f"{path.relative_to(place)} {found.st_size} {found.st_mtime_ns}"


def _kept(file: Path) -> Split | None:
    try:
        found = torch.load(file, mmap=True, weights_only=True)
        split = Split(found["inputs"], found["targets"].clone())
    except Exception:  # noqa: BLE001 - there is none, or it is damaged, of which a loader has a dozen errors
        return None
    fits = split.inputs.dtype == torch.uint8 and split.inputs.dim() == 4 and split.targets.dtype == torch.int64
    return split if fits and split.targets.shape == split.inputs.shape[:1] else None


def _keep(split: Split, file: Path) -> None:
    """Write a file beside its place and rename it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix="part-", suffix=".tmp", dir=file.parent)
    except OSError:
        return
    os.close(handle)
    with suppress(OSError, RuntimeError):  # a full disk is torch's RuntimeError
        torch.save({"inputs": split.inputs, "targets": split.targets}, beside)
        Path(beside).chmod(0o644)  # others may use the folder, too
        Path(beside).replace(file)
    with suppress(OSError):
        Path(beside).unlink(missing_ok=True)


def _tidy(folder: Path, owner: str) -> None:
    """Remove files of the data set as it was before, and what a killed process has left."""
    with suppress(OSError):
        files = sorted(folder.glob(f"{owner}*.pt"), key=lambda path: path.stat().st_mtime)
        left = [path for path in folder.glob("part-*.tmp") if time() - path.stat().st_mtime > ABANDONED]
        for old in (*files[:-NEWEST], *left):
            old.unlink(missing_ok=True)
