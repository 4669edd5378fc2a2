"""Harder training splits: few labels, noisy labels and long tails, all seeded and on the training split only."""

from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor

from lossml.errors import DataError, UsageError
from lossml.proxy.task import Split, Task


def flip_labels(targets: Tensor, classes: int, share: float, generator: torch.Generator) -> Tensor:
    """Give `share` of the samples another class, uniformly chosen (symmetric label noise)."""
    chosen = _chosen(targets, share, generator)
    shift = torch.randint(1, classes, (len(chosen),), generator=generator)
    noisy = targets.clone()
    noisy[chosen] = (targets[chosen] + shift) % classes
    return noisy


def flip_to_next(targets: Tensor, classes: int, share: float, generator: torch.Generator) -> Tensor:
    """Give `share` of the samples the class after their own, the last class the first (pair noise, Han et al. 2018).

    Wrong labels agree with one another: from a share of one half on nothing tells them from right ones.
    """
    chosen = _chosen(targets, share, generator)
    noisy = targets.clone()
    noisy[chosen] = (targets[chosen] + 1) % classes
    return noisy


def _chosen(targets: Tensor, share: float, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(targets), generator=generator)[: round(share * len(targets))]


FLIPS = MappingProxyType({"symmetric": flip_labels, "asymmetric": flip_to_next})
"""The kinds of label noise."""


def few(split: Split, classes: int, size: int, generator: torch.Generator) -> Split:
    """Keep `size` samples, of every class as many as its share rounds to, but none left out while there is room.

    Samples are taken in turn from the classes, each at the pace of its share (systematic sampling).

    Raises:
        DataError: where there are fewer samples.
    """
    if size > len(split):
        raise DataError(f"train_size is {size}; the training split has {len(split)} samples, give at most that")
    order = torch.randperm(len(split), generator=generator)
    shuffled = split.targets[order]
    counts = torch.bincount(shuffled, minlength=classes)
    pace = torch.empty(len(split), dtype=torch.float64)
    for c in range(classes):
        pace[shuffled == c] = (torch.arange(int(counts[c]), dtype=torch.float64) + 0.5) / max(1, int(counts[c]))
    index = order[pace.argsort(stable=True)[:size]].sort().values
    return Split(split.inputs[index], split.targets[index])


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


def corrupted(
    task: Task, label_noise: float, tail: float, seed: int, *, kind: str = "symmetric", size: int = 0
) -> Task:
    """Return the task with a smaller, then long-tailed, then noisy training split.

    Args:
        task: whose validation and held-out split stay as they are.
        label_noise: share of wrong training labels.
        tail: imbalance ratio; 1 for none.
        seed: of what is chosen.
        kind: of noise, a key of FLIPS.
        size: of the training split before the tail is cut; 0 for all of it.

    Raises:
        UsageError: for masks, whose pixels are no samples to flip or thin out.
    """
    if task.pixels > 1 and (label_noise > 0.0 or tail > 1.0 or size):
        raise UsageError(f"{task.name} has a mask for each image; noise, tails and a training size need one class each")
    generator = torch.Generator().manual_seed(seed)
    train = few(task.train, task.classes, size, generator) if size else task.train
    if tail > 1.0:
        train = long_tail(train, task.classes, tail, generator)
    if label_noise > 0.0:
        train = Split(train.inputs, FLIPS[kind](train.targets, task.classes, label_noise, generator))
    return replace(task, train=train, batch_size=min(task.batch_size, len(train)))
