"""What a GPU compiles, compiled for this CPU: the same numbers, whole and in half precision."""

import pytest
import torch
from torch.nn import functional

from lossml.backend import adamw
from lossml.proxy import Split, Task
from lossml.proxy.augment import FlipAndShift
from lossml.proxy.batched import Batched
from lossml.proxy.networks import PooledConv
from lossml.proxy.passes import compiled_for_one_shape
from lossml.proxy.train import _moved, initial

pytestmark = pytest.mark.slow
FILTERS = torch.randn(24, 3, 2, 2, generator=torch.Generator().manual_seed(2)) / 4
LABELS = torch.arange(64) % 4


def pictures(count):
    return torch.randint(0, 255, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def gradient(*, bfloat16, compiled):
    split = Split(pictures(64), LABELS)
    network = lambda: PooledConv(4, FILTERS, (16, 16, 16))  # noqa: E731 - it stands for a task's network
    task = Task("images", 4, split, split, split, network, steps=16, bfloat16=bfloat16)
    batched, state = Batched(task), initial(task, 0)
    flat = state.parameters.unsqueeze(0).requires_grad_()
    buffers = {name: buffer.unsqueeze(0) for name, buffer in state.buffers.items()}
    logits = compiled_for_one_shape(batched.logits) if compiled else batched.logits
    loss = functional.cross_entropy(logits(flat, buffers, split.inputs.unsqueeze(0), training=True)[0], LABELS)
    return torch.autograd.grad(loss, flat)[0]


def apart(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_a_compiled_network_has_the_gradient_of_its_operations():
    """In half precision the large network's compiled gradient is as near to the exact one as that of its operations."""
    exact = gradient(bfloat16=False, compiled=False)
    plain = apart(gradient(bfloat16=True, compiled=False), exact)
    assert 0.0 < apart(gradient(bfloat16=True, compiled=True), exact) < 2 * plain < 1.0


def test_compiled_batches_are_the_batches():
    """Samples are collected, mirrored and shifted to the same bytes, one network's or several's."""
    images, generator = pictures(50), torch.Generator().manual_seed(1)
    for count, augment in ((1, FlipAndShift(apart=True)), (3, FlipAndShift())):
        index = torch.randint(0, 50, (count, 20), generator=generator)
        drawn = torch.stack([augment.draw(1, 20, generator) for _ in range(count)])[:, 0]
        given = images, LABELS[:50], index, augment, drawn
        ours, theirs = compiled_for_one_shape(_moved)(*given), _moved(*given)
        assert all(torch.equal(*pair) for pair in zip(ours, theirs, strict=True))


def test_the_compiled_optimizer_takes_the_same_steps():
    """Compiled once, with a count that is a tensor, AdamW goes where it goes with numbers."""
    generator = torch.Generator().manual_seed(3)
    begin = torch.randn(2, 100, generator=generator)
    ours, theirs = ([begin.clone(), torch.zeros(2, 100), torch.zeros(2, 100)] for _ in range(2))
    for count in range(1, 6):
        slope, lr = torch.randn(2, 100, generator=generator), torch.tensor([[0.1], [0.01]]) * count
        adamw.step_(theirs[0], (theirs[1], theirs[2]), slope, count, lr, 0.05)
        step = compiled_for_one_shape(adamw.step_)
        step(ours[0], (ours[1], ours[2]), slope, torch.tensor(float(count)), lr, 0.05)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(ours[0], begin, atol=0.1)
