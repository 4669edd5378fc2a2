"""Harder training splits: noisy labels and long tails, both seeded and on the training split only."""

from dataclasses import replace

import torch
from torch import Tensor

from lossml.errors import UsageError
from lossml.proxy.task import Split, Task


def flip_labels(targets: Tensor, classes: int, share: float, generator: torch.Generator) -> Tensor:
    """Give `share` of the samples another class, uniformly chosen (symmetric label noise)."""
    chosen = torch.randperm(len(targets), generator=generator)[: round(share * len(targets))]
    shift = torch.randint(1, classes, (len(chosen),), generator=generator)
    noisy = targets.clone()
    noisy[chosen] = (targets[chosen] + shift) % classes
    return noisy


def long_tail(split: Split, classes: int, ratio: float, generator: torch.Generator) -> Split:
    """Thin the classes out exponentially: the last has 1/ratio of the first's samples (Cui et al. 2019)."""
    counts = torch.bincount(split.targets, minlength=classes)
    largest = int(counts.max())
    order = torch.randperm(len(split), generator=generator)
    kept: list[Tensor] = []
    for c in range(classes):
        wanted = max(1, round(largest * ratio ** (-c / (classes - 1))))
        kept.append(order[split.targets[order] == c][:wanted])
    index = torch.cat(kept).sort().values
    return Split(split.inputs[index], split.targets[index])


def corrupted(task: Task, label_noise: float, tail: float, seed: int) -> Task:
    """Return the task with a long-tailed and then noisy training split.

    Raises:
        UsageError: for masks, whose pixels are no samples to flip or thin out.
    """
    if task.pixels > 1 and (label_noise > 0.0 or tail > 1.0):
        raise UsageError(f"{task.name} has a mask for each image; label noise and long tails need one class for each")
    generator = torch.Generator().manual_seed(seed)
    train = task.train
    if tail > 1.0:
        train = long_tail(train, task.classes, tail, generator)
    if label_noise > 0.0:
        train = Split(train.inputs, flip_labels(train.targets, task.classes, label_noise, generator))
    return replace(task, train=train, batch_size=min(task.batch_size, len(train)))
