"""Tasks of which it is known what there is to find, each drawn anew from Fashion-MNIST: for `false_discoveries.py`.

A task is an attribute of this module, such as `shuffled_17`: kind, and number of the draw. Every draw has its own
training, validation and held-out images, from the 60,000 that are meant for training; the other 10,000 serve as the
held-out split of `true_...`, by which the true difference of two losses on that draw is measured. Images are averaged
over squares of 4 x 4 pixels, and a network of 16 hidden units learns them in 384 steps of 16 samples: long enough to
learn wrong labels by heart.

    shuffled_N    every label, of all three splits, drawn at random: no loss is right more often than one in ten
    noisyP_N      P% of the training labels wrong, noisy0_N as they are
"""

import re
from collections.abc import Callable
from functools import cache, partial

import torch
from torch.nn import functional

from lossml.proxy import Split, Task, TaskSpec
from lossml.proxy.corrupt import corrupted
from lossml.proxy.data import read
from lossml.proxy.networks import MLP

SIZES = (256, 500, 3000)  # training, validation, held-out
CLASSES, HIDDEN, STEPS, BATCH, RATE, GROUP = 10, 16, 384, 16, 3e-2, 128


@cache
def images(*, train: bool) -> Split:
    """Read all images, averaged to 49 numbers, each number centred and of spread 1 over the training images."""
    split = read("fashion-mnist", None, train=train)
    flat = functional.avg_pool2d(split.inputs.float(), 4).flatten(1)
    base = (
        flat if train else functional.avg_pool2d(read("fashion-mnist", None, train=True).inputs.float(), 4).flatten(1)
    )
    return Split((flat - base.mean(0)) / base.std(0).clamp_min(1.0), split.targets)


def drawn(number: int) -> list[Split]:
    """Draw the three splits of a task; the same number gives the same draw."""
    pool = images(train=True)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(number))
    return [Split(pool.inputs[index], pool.targets[index]) for index in order[: sum(SIZES)].split(SIZES)]


def shuffled(split: Split, number: int) -> Split:
    """Draw each label anew, all classes alike: independent of the image and of one another."""
    generator = torch.Generator().manual_seed(number)
    return Split(split.inputs, torch.randint(CLASSES, (len(split),), generator=generator))


def make(kind: str, noise: float, number: int, *, true: bool = False) -> Task:
    """Make a task of its kind and number."""
    splits = drawn(number)
    if kind == "shuffled":
        splits = [shuffled(split, 3 * number + k) for k, split in enumerate(splits)]
    if true:
        splits[2] = images(train=False)
    network = partial(MLP, splits[0].inputs.shape[1], HIDDEN, CLASSES)
    task = Task(kind, CLASSES, *splits, network=network, steps=STEPS, batch_size=BATCH, learning_rate=RATE, group=GROUP)
    return corrupted(task, noise, 1.0, number)


def __getattr__(name: str) -> Callable[[], Task]:
    """Give the task of a name."""
    found = re.fullmatch(r"(true_)?(shuffled|noisy)(\d*)_(\d+)", name)
    if found is None:
        raise AttributeError(name)
    return partial(make, found[2], float(found[3] or 0) / 100, int(found[4]), true=bool(found[1]))


def spec(kind: str, number: int, *, true: bool = False) -> TaskSpec:
    """Name a task as a person would."""
    return TaskSpec(f"null_tasks:{'true_' * true}{kind}_{number}")
