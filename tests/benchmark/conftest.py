"""Data sets laid out as the real ones are, a few images each, and a recipe of milliseconds."""

import os
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY = """
data = "colorectal"
network = "small-resnet"
width = 8
stem = 2
epochs = 2
batch_size = 8
learning_rate = 0.02
size = [16, 16]
resize = [18, 18]
augment = "crop"
validation = 0.25
learning_rates = [1.0]
seeds = 2
"""


@pytest.fixture
def tiles(tmp_path) -> Path:
    """A data root with the layout of colorectal histology: two classes of coloured noise, 30 images each."""
    rng = np.random.default_rng(0)
    for label, colour in (("01_TUMOR", (180, 90, 120)), ("02_STROMA", (90, 140, 160))):
        folder = tmp_path / "data" / "Kather_texture_2016_image_tiles_5000" / label
        folder.mkdir(parents=True)
        for k in range(30):
            pixels = np.clip(np.array(colour) + rng.normal(0, 60, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{k}.tif")
    return tmp_path / "data"


@pytest.fixture
def tiny(tmp_path) -> str:
    """The path of a recipe that trains on the tiles."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return str(path)


def linked(sources, folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip(sources, names, strict=False):
        os.link(source, folder / name) if same_disk(source, folder) else (folder / name).symlink_to(source)


def same_disk(source, folder):
    return source.stat().st_dev == folder.stat().st_dev


@pytest.fixture
def imagenet_tree(data_root, tmp_path) -> Path:
    """ImageNet's folders, all 1000 classes, with real images in them, one for training and one for validation each."""
    images = cycle(sorted((data_root / "imagenette96" / "train").glob("*/*")))
    for k in range(1000):
        for split in ("train", "val"):
            linked([next(images)], tmp_path / "data" / "imagenet" / split / f"n{k:08d}", [f"{split}_{k}.JPEG"])
    return tmp_path / "data"


def camvid(data_root, split, count):
    images = sorted((data_root / "CamVid" / split).iterdir())[:count]
    return [(path, data_root / "CamVid" / f"{split}annot" / f"{path.stem}.png") for path in images]


def masked(mask, void):
    pixels = np.array(Image.open(mask))
    return Image.fromarray(np.where(pixels == 11, void, pixels).astype(np.uint8))


@pytest.fixture
def voc_tree(data_root, tmp_path) -> Path:
    """Pascal VOC's folders with CamVid's images: JPEGImages, SegmentationClass, ImageSets/Segmentation."""
    root = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    for split, count in (("train", 20), ("val", 7)):
        for image, mask in camvid(data_root, split, count):
            Image.open(image).convert("RGB").save(root / "JPEGImages" / f"{image.stem}.jpg")
            picture = masked(mask, 255).convert("P")
            picture.putpalette(list(range(256)) * 3)
            picture.save(root / "SegmentationClass" / f"{image.stem}.png")
        names = "\n".join(image.stem for image, _ in camvid(data_root, split, count))
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(names + "\n")
    return tmp_path / "data"


@pytest.fixture
def coco_tree(data_root, tmp_path) -> Path:
    """COCO-Stuff's folders with CamVid's images, classes up to 181, void 255."""
    root = tmp_path / "data" / "coco-stuff"
    for split, source, count in (("train2017", "train", 20), ("val2017", "val", 7)):
        for kind in ("images", "stuffthingmaps"):
            (root / kind / split).mkdir(parents=True)
        for k, (image, mask) in enumerate(camvid(data_root, source, count)):
            Image.open(image).convert("RGB").save(root / "images" / split / f"{k:012d}.jpg")
            pixels = np.array(masked(mask, 255))
            pixels[pixels == 10] = 181
            Image.fromarray(pixels).save(root / "stuffthingmaps" / split / f"{k:012d}.png")
    return tmp_path / "data"
