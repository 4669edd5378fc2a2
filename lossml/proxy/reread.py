"""What was read of a data set once, as a file of tensors: to import torchvision and unpickle images takes seconds.

Such a file is mapped into memory, so that all workers share one copy. It belongs to the data set's files as they were,
by name, size and time of change; of others it is made anew.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from lossml.proxy.task import Split

FOLDER = "read"


def reread(cache: Path, place: Path, part: str, read: Callable[[], Split]) -> Split:
    """Give a part of a data set, and read it where that was not done before.

    Args:
        cache: folder below which tensors are kept. Where nothing can be written, nothing is.
        place: folder of the data set.
        part: which one of its parts, a word.
        read: reads it.
    """
    owner = f"{place.name}-{_digest(str(place.resolve()))}-{part}-"
    file = cache / FOLDER / f"{owner}{_digest(*_stamps(place))}.pt"
    found = _kept(file)
    if found is not None:
        return found
    split = read()
    _keep(split, file, owner)
    return split


def _digest(*words: str) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=8).hexdigest()


def _stamps(place: Path) -> list[str]:
    """Name every file of a data set with its size and time of change."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return [f"{path.relative_to(place)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]


def _kept(file: Path) -> Split | None:
    try:
        found = torch.load(file, mmap=True, weights_only=True)
        return Split(found["inputs"], found["targets"])
    except (OSError, RuntimeError, ValueError, KeyError, TypeError):  # there is none, or it is damaged
        return None


def _keep(split: Split, file: Path, owner: str) -> None:
    """Write a file beside its place and rename it, and remove those of the data set as it was before."""
    beside = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix="part-", suffix=".tmp", dir=file.parent)
        os.close(handle)
        torch.save({"inputs": split.inputs, "targets": split.targets}, beside)
        Path(beside).replace(file)
        for old in file.parent.glob(f"{owner}*.pt"):
            if old != file:
                old.unlink(missing_ok=True)
    except (OSError, RuntimeError):  # a full disk is torch's RuntimeError
        if beside is not None:
            Path(beside).unlink(missing_ok=True)
