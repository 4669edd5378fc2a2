"""A task of milliseconds for searches that run whole."""

import pytest

BLOBS = '''
"""Four overlapping clouds of points: a task of one's own."""

from functools import partial

import torch

from lossml.proxy import Split, Task
from lossml.proxy.networks import MLP


def clouds(count, seed):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 4
    centres = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    return Split(centres[targets] + 1.3 * torch.randn(count, 6, generator=generator), targets)


def task():
    splits = (clouds(256, 1), clouds(200, 2), clouds(400, 3))
    network = partial(MLP, 6, 12, 4)
    return Task("clouds", 4, *splits, network=network, steps=64, batch_size=32, learning_rate=1e-2, group=8)


def pairs():
    """Two classes of the same clouds, other points: fewer classes, uneven ones."""
    halves = (clouds(256, 4), clouds(200, 5), clouds(300, 6))
    splits = (Split(one.inputs, (one.targets == 0).long()) for one in halves)
    network = partial(MLP, 6, 12, 2)
    return Task("pairs", 2, *splits, network=network, steps=64, batch_size=32, learning_rate=1e-2, group=8)
'''


@pytest.fixture
def clouds(own_module):
    """The name of a small task, as a person gives it; the working folder is a fresh one."""
    return f"{own_module('clouds_task', BLOBS)}:task"
