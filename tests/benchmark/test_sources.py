"""Data sets of full training: laid out as the real ones, and named with what to get where something is missing."""

import numpy as np
import pytest
import torch
from PIL import Image

from lossml.benchmark import sources, supply
from lossml.benchmark.recipe import read
from lossml.benchmark.supply import load
from lossml.errors import DataError, UsageError


@pytest.mark.parametrize("name", sources.SOURCES)
def test_a_missing_data_set_is_named_with_where_to_get_it(name, tmp_path):
    """The message has the folder looked in, the origin and the layout."""
    with pytest.raises(DataError, match=f"{name} is not in") as caught:
        sources.read(name, str(tmp_path))
    assert str(tmp_path) in str(caught.value)
    assert sources.SOURCES[name].origin in str(caught.value)
    assert sources.SOURCES[name].layout in str(caught.value)


def test_a_half_downloaded_imagenet_is_named(tmp_path):
    """Without val, with fewer classes than there are, or with val not sorted, it is refused with what is there."""
    (tmp_path / "imagenet" / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(DataError, match="no folder val"):
        sources.read("imagenet", str(tmp_path))
    (tmp_path / "imagenet" / "val").mkdir()
    with pytest.raises(DataError, match="1 class folders, of 1000"):
        sources.read("imagenet", str(tmp_path))


def coco(root, masks=True, count=1):
    place = root / "coco-stuff"
    for split in ("train2017", "val2017"):
        for kind in ("images", "stuffthingmaps"):
            (place / kind / split).mkdir(parents=True)
        pixels = np.array([[0, 90, 181, 255]] * 16).repeat(5, 1).astype(np.uint8)
        for k in range(1, 1 + count):
            Image.new("RGB", (20, 16)).save(place / "images" / split / f"{k}.jpg")
            if masks:
                Image.fromarray(pixels).save(place / "stuffthingmaps" / split / f"{k}.png")
    return place


def test_coco_stuff_has_182_classes_and_void(tmp_path):
    """A pixel's value is the class's number less one; 255 does not count."""
    coco(tmp_path)
    found = sources.read("coco-stuff", str(tmp_path))
    assert (found.classes, found.void, len(found.train), len(found.heldout)) == (182, 255, 1, 1)
    recipe = read("coco-stuff", {"resize": [16, 20], "batch_size": 2})
    with pytest.raises(DataError, match="fewer than a batch"):
        load(recipe, str(tmp_path))


def test_a_picture_without_its_mask_is_named(tmp_path):
    """A half-unpacked archive is found before anything trains."""
    coco(tmp_path, masks=False)
    with pytest.raises(DataError, match=r"1 images have no mask in .* such as 1.jpg"):
        sources.read("coco-stuff", str(tmp_path))


def test_masks_are_read_fitted_and_filled(data_root):
    """Scored images keep their classes: reduced by nearest neighbour, filled with void to one box."""
    recipe = read("camvid", {"resize": [60, 100], "size": [32, 48]}, short=True)
    data = load(recipe, str(data_root))
    images, masks, numbers = data.heldout.__getitems__([(0, 0), (1, 0)])
    assert images.shape == (2, 3, 60, 100)
    assert masks.shape == (2, 60, 100)
    assert numbers.tolist() == [0, 1]
    assert bool((masks[:, :, 80:] == -100).all())
    assert set(masks.unique().tolist()) <= {-100, *range(11)}
    images, masks, _ = data.train.__getitems__([(0, 1), (1, 1)])
    assert images.shape == (2, 3, 32, 48)
    assert images.dtype == torch.uint8
    assert (len(data.train), len(data.validation), len(data.heldout)) == (367, 101, 233)


def test_class_shares_are_counted(data_root):
    """Programs that read the prior get the shares of the training pixels, all positive, summing to one."""
    prior = load(read("camvid", short=True), str(data_root)).prior()
    assert sum(prior) == pytest.approx(1.0)
    assert min(prior) > 0.0
    assert prior[3] == max(prior)  # the road


def unread(*_):
    raise AssertionError("a picture is read")


def test_class_shares_are_counted_without_reading_a_picture(tiny, tiles, tmp_path, monkeypatch):
    """Labels are counted as they stand, masks fitted as they are scored, void left out; no picture is decoded."""
    coco(tmp_path, count=3)
    masks = load(read("coco-stuff", {"resize": [8, 20], "batch_size": 2}), str(tmp_path))
    scored = masks.train.__getitems__([(0, 0), (1, 0)])[1]
    monkeypatch.setattr(supply, "picture", unread)
    assert torch.equal(masks.train.targets([0, 1]), scored)
    counts = torch.bincount(scored[scored >= 0], minlength=182).clamp_min(1).double()
    assert masks.prior() == pytest.approx((counts / counts.sum()).tolist())
    classes = load(read(tiny), str(tiles))
    labels = classes.train.targets(range(len(classes.train)))
    assert classes.prior() == pytest.approx([float((labels == k).double().mean()) for k in (0, 1)])


def test_a_recipe_must_fit_its_data(data_root):
    """Augmentation for classes is refused for masks."""
    with pytest.raises(UsageError, match="has masks"):
        load(read("camvid", {"augment": "crop"}), str(data_root))


def test_torchvisions_sets_are_used_as_they_are(data_root):
    """Images of one channel become three; the official test split is held out."""
    data = load(read("fashion-mnist", {"train_size": 500}, short=True), str(data_root))
    images, classes, _ = data.train.__getitems__([(0, 0), (1, 9)])
    assert images.shape == (2, 3, 28, 28)
    assert classes.shape == (2,)
    assert (len(data.train), len(data.validation), len(data.heldout)) == (450, 50, 10_000)
