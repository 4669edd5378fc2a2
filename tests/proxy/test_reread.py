"""What was read of a data set is read once, and again when its files have changed."""

import os
from pathlib import Path

import pytest
import torch

from lossml.errors import DataError
from lossml.proxy.reread import FOLDER, NEWEST, reread
from lossml.proxy.task import Split

SPLIT = Split(torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2), torch.tensor([1, 0]))


@pytest.fixture
def place(tmp_path):
    """A data set of two files."""
    folder = tmp_path / "data" / "images"
    (folder / "inner").mkdir(parents=True)
    (folder / "one").write_bytes(b"1")
    (folder / "inner" / "two").write_bytes(b"22")
    return folder


class Reader:
    """Reads a split and counts how often."""

    def __init__(self, split=SPLIT):
        self.split, self.times = split, 0

    def __call__(self):
        self.times += 1
        return self.split


def same(found, expected=SPLIT):
    assert torch.equal(found.inputs, expected.inputs)
    assert torch.equal(found.targets, expected.targets)
    assert (found.inputs.dtype, found.targets.dtype) == (expected.inputs.dtype, expected.targets.dtype)


def files(cache):
    return sorted((cache / FOLDER).iterdir())


def test_a_part_is_read_once(tmp_path, place):
    """The second time gives the same tensors without reading; another part is a file of its own."""
    read, cache = Reader(), tmp_path / "cache"
    same(reread(cache, place, "train", read))
    same(reread(cache, place, "train", read))
    assert read.times == 1
    other = Reader(Split(SPLIT.inputs[:1], SPLIT.targets[:1]))
    same(reread(cache, place, "test", other), other.split)
    same(reread(cache, place, "train", read))
    assert (read.times, other.times, len(files(cache))) == (1, 1, 2)


@pytest.mark.parametrize("change", ["size", "time", "more", "fewer", "linked"])
def test_files_that_changed_are_read_again(tmp_path, place, change):
    """Another size or time, a file more or one fewer, also behind a link: the data set is read anew."""
    cache, outside = tmp_path / "cache", tmp_path / "outside"
    outside.mkdir()
    (place / "linked").symlink_to(outside)
    reread(cache, place, "train", Reader())
    if change == "size":
        (place / "one").write_bytes(b"11")
    elif change == "time":
        os.utime(place / "one", (1, 1))
    elif change == "more":
        (place / "inner" / "three").write_bytes(b"3")
    elif change == "linked":
        (outside / "four").write_bytes(b"4")
    else:
        (place / "inner" / "two").unlink()
    new = Reader(Split(SPLIT.inputs + 1, SPLIT.targets))
    same(reread(cache, place, "train", new), new.split)
    assert new.times == 1


def test_what_is_old_does_not_pile_up(tmp_path, place):
    """Of a part that changes again and again the newest files stay, other parts' too; what a kill has left goes."""
    cache = tmp_path / "cache"
    reread(cache, place, "test", Reader())
    left, fresh = cache / FOLDER / "part-left.tmp", cache / FOLDER / "part-fresh.tmp"
    for path in (left, fresh):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    for k in range(NEWEST + 3):
        (place / "one").write_bytes(bytes(k))
        reread(cache, place, "train", Reader())
    assert sorted(path.name.split("-")[1] for path in files(cache) if path.suffix == ".pt") == [
        "test",
        *["train"] * NEWEST,
    ]
    assert (left.exists(), fresh.exists()) == (False, True)
    again = Reader()
    reread(cache, place, "train", again)
    assert again.times == 0


NO_TENSORS = [{"inputs": SPLIT.inputs}, {"inputs": 1, "targets": 2}, {"inputs": Path("x")}, [1, 2]]
OTHERS = [
    {"inputs": SPLIT.inputs.float(), "targets": SPLIT.targets},
    {"inputs": SPLIT.inputs, "targets": SPLIT.targets[:1]},
    {"inputs": SPLIT.inputs, "targets": SPLIT.targets.float()},
]


@pytest.mark.parametrize("content", [b"", b"half of a file", *NO_TENSORS, *OTHERS])
def test_a_damaged_file_is_made_anew(tmp_path, place, content):
    """What a full disk or another program has left there is not believed."""
    read, cache = Reader(), tmp_path / "cache"
    reread(cache, place, "train", read)
    (file,) = files(cache)
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    same(reread(cache, place, "train", read))
    same(reread(cache, place, "train", read))
    assert read.times == 2


def test_a_data_set_whose_files_cannot_be_looked_at_is_read(tmp_path, place):
    """A link to nowhere is no reason to fail, but nothing is kept of such a data set."""
    (place / "gone").symlink_to(tmp_path / "nowhere")
    read = Reader()
    for _ in range(2):
        same(reread(tmp_path / "cache", place, "train", read))
    assert read.times == 2


def test_where_nothing_can_be_written_it_is_read(tmp_path, place):
    """A cache folder that is a file costs nothing but time."""
    cache, read = tmp_path / "cache", Reader()
    cache.write_text("no folder")
    for _ in range(2):
        same(reread(cache, place, "train", read))
    assert read.times == 2


def test_what_cannot_be_read_is_not_kept(tmp_path, place):
    """An error passes through, and the next attempt reads."""

    def fails():
        raise DataError("damaged")

    with pytest.raises(DataError, match="damaged"):
        reread(tmp_path / "cache", place, "train", fails)
    read = Reader()
    same(reread(tmp_path / "cache", place, "train", read))
    assert read.times == 1
