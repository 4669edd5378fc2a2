"""Tasks are what they say: sealed splits, seeded noise and tails on the training split alone, clear refusals."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from lossml.backend import ProgramLoss, stack
from lossml.errors import DataError, UsageError
from lossml.proxy import IGNORED, Run, Split, Task, TaskSpec, datasets_status, load_task, task_names
from lossml.proxy.augment import FlipAndShift, flip_and_shift
from lossml.proxy.corrupt import FLIPS, corrupted, flip_labels, flip_to_next
from lossml.proxy.tasks import check_name
from lossml.proxy.train import advance
from lossml.search.recipe import NOISE_KINDS


def rows(split):
    return {row.numpy().tobytes() for row in split.inputs}


def test_the_splits_of_digits_are_sealed():
    """No sample is in two splits, all samples are used, classes are spread alike."""
    task = load_task(TaskSpec("digits"))
    assert [len(s) for s in (task.train, task.validation, task.heldout)] == [897, 360, 540]
    assert not rows(task.train) & rows(task.heldout)
    assert not rows(task.validation) & rows(task.heldout)
    for split in (task.train, task.validation, task.heldout):
        counts = torch.bincount(split.targets, minlength=10) / len(split)
        assert counts.min() > 0.08
    assert sum(task.prior) == pytest.approx(1.0)


def test_label_noise_flips_the_share_asked_for_in_training_alone():
    """Exactly that share of training labels is wrong, validation and held-out labels are not touched."""
    clean, noisy = load_task(TaskSpec("digits")), load_task(TaskSpec("digits", label_noise=0.4))
    wrong = clean.train.targets != noisy.train.targets
    assert int(wrong.sum()) == round(0.4 * len(clean.train))
    assert torch.equal(clean.validation.targets, noisy.validation.targets)
    assert torch.equal(clean.heldout.targets, noisy.heldout.targets)
    again = load_task(TaskSpec("digits", label_noise=0.4))
    assert torch.equal(noisy.train.targets, again.train.targets)
    other = load_task(TaskSpec("digits", label_noise=0.4, seed=1))
    assert not torch.equal(noisy.train.targets, other.train.targets)


def test_wrong_labels_are_spread_over_all_other_classes():
    """Symmetric noise: each other class is as likely as the next, and the own class is never drawn."""
    targets = torch.zeros(9000, dtype=torch.int64)
    noisy = flip_labels(targets, 10, 1.0, torch.Generator().manual_seed(0))
    counts = torch.bincount(noisy, minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 850


def test_asymmetric_noise_moves_each_wrong_label_to_the_next_class():
    """Exactly the share asked for is wrong, and each wrong label is its class's successor, the last one's the first."""
    targets = torch.arange(1000) % 4
    noisy = flip_to_next(targets, 4, 0.3, torch.Generator().manual_seed(0))
    wrong = targets != noisy
    assert int(wrong.sum()) == 300
    assert torch.equal(noisy[wrong], (targets[wrong] + 1) % 4)
    clean = load_task(TaskSpec("digits"))
    task = load_task(TaskSpec("digits", label_noise=0.3, noise_kind="asymmetric"))
    shift = (task.train.targets - clean.train.targets) % 10
    assert set(shift.tolist()) == {0, 1}
    assert int(shift.sum()) == round(0.3 * len(clean.train))
    assert torch.equal(task.validation.targets, clean.validation.targets)


def test_the_kinds_of_noise_that_a_recipe_takes_are_those_there_are():
    """A recipe knows the names without importing torch; they must not drift apart."""
    assert set(NOISE_KINDS) == set(FLIPS)


@pytest.mark.parametrize("size", [10, 57, 300])
def test_few_labels_keep_the_proportions_of_the_classes(size):
    """So many samples of the training split, each class within one of its share, the other splits as they were."""
    full, small = load_task(TaskSpec("digits")), load_task(TaskSpec("digits", train_size=size))
    assert len(small.train) == size
    assert rows(small.train) <= rows(full.train)
    shares = torch.bincount(full.train.targets, minlength=10) * size / len(full.train)
    assert (torch.bincount(small.train.targets, minlength=10) - shares).abs().max() <= 1
    assert torch.equal(small.heldout.inputs, full.heldout.inputs)
    assert small.batch_size <= size
    other = load_task(TaskSpec("digits", train_size=size, seed=1))
    assert rows(other.train) != rows(small.train)


def test_few_labels_under_a_long_tail_with_noise_go_together():
    """Size first, then the tail, then noise on what is left."""
    task = load_task(TaskSpec("digits", label_noise=0.5, long_tail=10, noise_kind="asymmetric", train_size=200))
    clean = load_task(TaskSpec("digits", long_tail=10, train_size=200))
    assert len(task.train) == len(clean.train) < 200
    assert int((task.train.targets != clean.train.targets).sum()) == round(0.5 * len(clean.train))


def test_more_labels_than_there_are_is_refused():
    """The message has both numbers."""
    with pytest.raises(DataError, match=r"train_size is 898; the training split has 897"):
        load_task(TaskSpec("digits", train_size=898))


def test_a_long_tail_thins_classes_out_exponentially():
    """The first class keeps all, the last 1/ratio, in between a geometric series."""
    task = load_task(TaskSpec("digits", long_tail=20))
    counts = torch.bincount(task.train.targets, minlength=10)
    full = torch.bincount(load_task(TaskSpec("digits")).train.targets, minlength=10)
    expected = [min(int(full[c]), round(int(full.max()) * 20 ** (-c / 9))) for c in range(10)]
    assert counts.tolist() == expected
    assert task.batch_size <= len(task.train)


@pytest.mark.parametrize("name", ["cifar10", "fashion-mnist"])
def test_real_images_are_read(data_root, name):
    """The real sets load as uint8 images of ten classes, held-out being the official test set."""
    task = load_task(TaskSpec(name, str(data_root)))
    assert (len(task.train), len(task.validation), len(task.heldout)) == (10_000, 5_000, 10_000)
    assert task.train.inputs.dtype == torch.uint8
    assert task.network()(task.train.inputs[:3]).shape == (3, 10)
    assert not rows(Split(task.train.inputs[:2000], task.train.targets)) & rows(
        Split(task.validation.inputs[:2000], task.validation.targets)
    )


def test_a_folder_of_images_is_a_task(data_root):
    """A torchvision ImageFolder with train and val is read, val being held out."""
    task = load_task(TaskSpec(f"image-folder:{data_root / 'imagenette96'}"))
    assert task.classes == 10
    assert task.train.inputs.shape[1:] == (3, 32, 32)
    assert len(task.heldout) == 2000


def make_folder(root, counts):
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(root / name / f"{k}.png")


def test_a_folder_without_splits_is_split(tmp_path):
    """Class folders alone are cut into three parts that share no image."""
    make_folder(tmp_path, {"cat": 20, "dog": 20})
    task = load_task(TaskSpec(f"image-folder:{tmp_path}"))
    assert [len(s) for s in (task.train, task.validation, task.heldout)] == [20, 8, 12]


def test_a_gpu_gets_a_larger_network(tmp_path):
    """What a GPU trains is larger, or on request the small one, many at once; a small folder makes a small batch."""
    make_folder(tmp_path, {"cat": 20, "dog": 20})
    name = f"image-folder:{tmp_path}"
    large, small = load_task(TaskSpec(name), "cuda"), load_task(TaskSpec(name, network="small"), "cuda")
    plain = load_task(TaskSpec(name))
    assert (large.group, small.group, plain.group) == (1, 256, 1)
    assert large.batch_size == 20
    assert [p.shape for p in small.network().parameters()] == [p.shape for p in plain.network().parameters()]
    counts = [sum(p.numel() for p in task.network().parameters()) for task in (large, small)]
    assert counts[0] > 10 * counts[1]


def test_all_images_but_the_validation_splits_train_the_large_network(data_root):
    """The large network learns from 45,000 images, the small one from 10,000; both are held out the same ones."""
    large, small = (load_task(TaskSpec("cifar10", str(data_root)), device) for device in ("cuda", "cpu"))
    assert (len(large.train), len(large.validation)) == (45_000, 5_000)
    assert (len(small.train), len(small.validation)) == (10_000, 5_000)
    assert torch.equal(large.heldout.inputs, small.heldout.inputs)
    assert large.augment.apart


@pytest.mark.parametrize("network", ["large", "resnet18"])
@pytest.mark.parametrize(("name", "device"), [("digits", "cuda"), ("cifar10", "cpu")])
def test_a_large_network_is_refused_where_there_is_none(name, device, network):
    """A task with one network, and a CPU, say so."""
    with pytest.raises(UsageError, match=f"network is '{network}'"):
        load_task(TaskSpec(name, network=network), device)


def test_the_resnet_is_the_usual_one_for_small_images(tmp_path):
    """It has as many weights as published code for CIFAR-10 has, works at full size, and trains."""
    make_folder(tmp_path, {str(k): 4 for k in range(10)})
    task = load_task(TaskSpec(f"image-folder:{tmp_path}", network="resnet18"), "cuda")
    network = task.network()
    assert sum(p.numel() for p in network.parameters()) == 11_173_962
    sizes = []
    network.body.layer1.register_forward_hook(lambda *given: sizes.append(given[2].shape))
    assert network(task.train.inputs[:2]).shape == (2, 10)
    assert sizes == [(2, 64, 32, 32)]
    short = replace(task, steps=16, bfloat16=False, augment=None)
    run = Run(ProgramLoss("-sum_C(y*logp)"))
    few, more = (advance(short, stack, [run], [None], 0, stop)[0].state.parameters for stop in (1, 2))
    assert more.isfinite().all()
    assert not torch.equal(few, more)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "no folder of class folders"),
        (lambda root: make_folder(root, {"only": 30}), "at least 2"),
        (
            lambda root: (make_folder(root, {"a": 30, "b": 30}), (root / "a" / "0.png").write_bytes(b"no")),
            "cannot be read",
        ),
        (
            lambda root: (make_folder(root / "train", {"a": 9, "b": 9}), make_folder(root / "val", {"a": 9})),
            "different",
        ),
    ],
)
def test_a_broken_folder_is_named(tmp_path, prepare, message):
    """An empty folder, one class, a damaged image and splits that disagree each get their sentence."""
    prepare(tmp_path)
    with pytest.raises(DataError, match=message):
        load_task(TaskSpec(f"image-folder:{tmp_path}"))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_missing_data_says_what_to_do(tmp_path, name):
    """Nothing is downloaded into a folder the user gave; the sentence says what belongs there."""
    with pytest.raises(DataError, match="put torchvision's folder there"):
        load_task(TaskSpec(name, str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_truncated_data_is_named(tmp_path):
    """A damaged file is not a traceback."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"half")
    with pytest.raises(DataError, match="cannot be read"):
        load_task(TaskSpec("cifar10", str(tmp_path)))


def test_a_failed_download_is_named(tmp_path, monkeypatch):
    """Where nothing can be fetched, the sentence says to copy it."""
    monkeypatch.delenv("LOSSML_DATA", raising=False)
    monkeypatch.setattr("lossml.proxy.data.CACHE", tmp_path)
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", "http://127.0.0.1:9/nothing")
    with pytest.raises(DataError, match="could not be downloaded"):
        load_task(TaskSpec("cifar10"))


@pytest.mark.parametrize(("name", "message"), [("cifar11", "did you mean 'cifar10'"), ("xyz", "there are digits")])
def test_an_unknown_name_is_refused(name, message):
    """A misspelt data set gets the nearest name or the list."""
    with pytest.raises(UsageError, match=message):
        check_name(name)


def test_the_status_says_what_is_there(tmp_path, monkeypatch):
    """Each data set is named with its place and how to get it."""
    (tmp_path / "FashionMNIST").mkdir()
    found = {row.name: row for row in datasets_status(str(tmp_path))}
    assert set(found) == set(task_names())
    assert found["digits"].present
    assert found["fashion-mnist"].present
    assert not found["cifar10"].present
    assert "put torchvision's folder" in found["cifar10"].how
    monkeypatch.delenv("LOSSML_DATA", raising=False)
    monkeypatch.setattr("lossml.proxy.data.CACHE", tmp_path)
    assert "downloaded by the first search" in {r.name: r for r in datasets_status()}["cifar10"].how


OWN = """
import torch
from lossml.proxy import Split, Task

def split(count, seed):
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return Split(inputs, (inputs.sum(1) > 0).long())

SPLITS = split(64, 0), split(32, 1), split(32, 2)
TASK = Task("mine", 2, *SPLITS, network=lambda: torch.nn.Linear(4, 2), steps=16, batch_size=8)

def build():
    return TASK

def broken():
    return {}["images"]

NOTHING = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "owntask.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "owntask", raising=False)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["owntask:TASK", "owntask:build"])
def test_a_users_own_task_is_taken(name):
    """A Task object, or a function that gives one, is a task like any other."""
    task = load_task(TaskSpec(name, label_noise=0.5))
    assert (task.name, task.classes, len(task.train)) == (name, 2, 64)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("owntask:missing", "has no 'missing'"),
        ("nomodule:x", "cannot import 'nomodule'"),
        ("owntask:NOTHING", "must be a lossml.proxy.Task"),
        ("owntask:broken", "failed with KeyError: 'images'; python -c"),
    ],
)
def test_what_is_no_task_is_refused(name, message):
    """A missing module or attribute, or something else, gets its sentence."""
    with pytest.raises(UsageError, match=message):
        load_task(TaskSpec(name))


def simple(classes=2, **changes):
    split = Split(torch.zeros(8, 2), torch.tensor([0, 1] * 4))
    values = {"train": split, "validation": split, "heldout": split, "steps": 16, "batch_size": 4, **changes}
    return Task("t", classes, network=lambda: torch.nn.Linear(2, 2), **values)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "at least 2"),
        ({"steps": 17}, "multiple of 16"),
        ({"steps": 0}, "multiple of 16"),
        ({"batch_size": 9}, "larger than the training split"),
        ({"train": Split(torch.zeros(8, 2), torch.tensor([0, 2] * 4))}, "holds class 2"),
        ({"heldout": Split(torch.zeros(3, 2), torch.tensor([0, -1, 0]))}, "holds class -1"),
        ({"validation": Split(torch.zeros(3, 2), torch.tensor([0]))}, "3 inputs and 1 targets"),
        ({"train": Split(torch.zeros(4, 2), torch.full((4, 3, 3), IGNORED))}, "every pixel of its train split"),
        ({"validation": Split(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))}, "0 inputs"),
    ],
)
def test_a_task_that_cannot_be_trained_on_is_refused(changes, message):
    """Steps, batch size, classes and lengths are checked when a task is built."""
    with pytest.raises(DataError, match=message):
        simple(**changes)


def test_augmentation_keeps_shape_and_is_seeded():
    """Flips and shifts move pixels within the image, the same for the same generator."""
    images = torch.arange(2 * 3 * 8 * 8, dtype=torch.uint8).view(2, 3, 8, 8)
    classes = torch.tensor([3, 1])
    one, other = (flip_and_shift(images, classes, torch.Generator().manual_seed(4)) for _ in range(2))
    assert one[0].shape == images.shape
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], classes)
    assert not torch.equal(one[0], flip_and_shift(images, classes, torch.Generator().manual_seed(5))[0])


def test_batches_of_many_networks_are_changed_as_each_alone():
    """What is drawn for each network and done for all is what each one's own call gives, images and masks."""
    images = torch.randint(0, 255, (3, 4, 2, 8, 9), dtype=torch.uint8)
    masks = torch.randint(0, 5, (3, 4, 8, 9))
    drawn = torch.cat([flip_and_shift.draw(1, 4, torch.Generator().manual_seed(k)) for k in range(3)])
    moved, said = flip_and_shift.apply(images, masks, drawn)
    for k in range(3):
        one, mask = flip_and_shift(images[k], masks[k], torch.Generator().manual_seed(k))
        assert torch.equal(moved[k], one)
        assert torch.equal(said[k], mask)


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_pictures_of_every_type_are_mirrored_where_chosen(kind):
    """The chosen half is mirrored and the other is not, whatever numbers pictures are made of."""
    images = torch.randint(0, 255, (40, 2, 8, 9), generator=torch.Generator().manual_seed(1)).to(kind)
    classes, augment = torch.zeros(40, dtype=torch.long), FlipAndShift()
    moved, _ = augment(images, classes, torch.Generator().manual_seed(7))
    (drawn,) = augment.draw(1, 40, torch.Generator().manual_seed(7))
    assert 0 < drawn[:, 0].sum() < 40
    for image, found, (mirror, down, right) in zip(images, moved, drawn.tolist(), strict=True):
        wide = torch.nn.functional.pad(image.flip(-1) if mirror else image, (2, 2, 2, 2))
        assert torch.equal(found, wide[:, down : down + 8, right : right + 9])


def test_images_can_be_shifted_each_by_itself():
    """Where asked, every image goes its own way, mirrored first, black where nothing was."""
    images = torch.randint(1, 255, (5, 2, 8, 9), dtype=torch.uint8)
    augment = FlipAndShift(apart=True)
    moved, _ = augment(images, torch.zeros(5, dtype=torch.long), torch.Generator().manual_seed(7))
    (drawn,) = augment.draw(1, 5, torch.Generator().manual_seed(7))
    assert len({tuple(row) for row in drawn[:, 1:].tolist()}) > 1
    for image, found, (mirror, down, right) in zip(images, moved, drawn.tolist(), strict=True):
        wide = torch.nn.functional.pad(image.flip(-1) if mirror else image, (2, 2, 2, 2))
        assert torch.equal(found, wide[:, down : down + 8, right : right + 9])


def test_a_mask_moves_with_its_image():
    """A mask still says what its image shows after a flip and a shift; what came in from outside is ignored."""
    masks = torch.arange(1, 1 + 6 * 8 * 9).view(6, 8, 9)
    images = masks.unsqueeze(1).float()
    for seed in range(8):
        moved, said = flip_and_shift(images, masks, torch.Generator().manual_seed(seed))
        assert torch.equal(said == IGNORED, moved[:, 0] == 0)
        assert torch.equal(torch.where(said == IGNORED, 0, said).float(), moved[:, 0])
    assert (said != masks).any()


@pytest.mark.parametrize("options", [{"label_noise": 0.1}, {"long_tail": 2.0}])
def test_masks_take_no_label_noise_and_no_tail(options):
    """What acts on samples of one class is refused for images with masks."""
    task = simple(**dict.fromkeys(("train", "validation", "heldout"), masked()))
    assert task.pixels == 9
    assert task.prior == pytest.approx((2 / 3, 1 / 3))
    with pytest.raises(UsageError, match="need one class each"):
        corrupted(task, options.get("label_noise", 0.0), options.get("long_tail", 1.0), 0)


def masked():
    row = torch.tensor([0, 0, 1, IGNORED, IGNORED, IGNORED, 0, 0, 1])
    return Split(torch.zeros(8, 2), row.view(1, 3, 3).repeat(8, 1, 1))


def test_a_spec_travels_to_workers():
    """A task's description is plain data."""
    spec = TaskSpec("digits", label_noise=0.2)
    assert pickle.loads(pickle.dumps(spec)) == spec
