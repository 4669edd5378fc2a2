"""Losses that are no programs and in no kept library: against naive loops and the papers' definitions."""

import math

import pytest
import torch
from torch.nn import functional

from lossml import zoo
from lossml.backend import ForeignLoss, foreign_scale
from lossml.backend.contenders import BiTempered, BoundaryCrossEntropy, HardestCrossEntropy, signed_distances
from lossml.errors import UsageError

OURS = ["ohem", "bi-tempered", "boundary"]


def batch(*shape, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape[0], classes, *shape[1:], generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, shape, generator=generator)


def test_ohem_is_the_mean_over_the_hard():
    """By a loop: every pixel below 0.7, and no void one."""
    logits, target = batch(2, 5, 6)
    target[0, 0] = -100
    probability = logits.softmax(1)
    each = [
        -math.log(float(probability[b, target[b, i, j], i, j]))
        for b in range(2)
        for i in range(5)
        for j in range(6)
        if target[b, i, j] >= 0
    ]
    hard = [loss for loss in each if loss > -math.log(0.7)]
    assert float(HardestCrossEntropy()(logits, target)) == pytest.approx(sum(hard) / len(hard))


def test_ohem_keeps_a_sixteenth_where_all_is_easy():
    """The largest losses, however small."""
    target = torch.arange(32) % 4
    logits = 6.0 * functional.one_hot(target, 4).double()
    logits[5, target[5]] = 5.0
    logits[9, target[9]] = 4.0
    each = functional.cross_entropy(logits, target, reduction="none")
    assert float(HardestCrossEntropy()(logits, target)) == pytest.approx(float(each[[5, 9]].mean()))


def tempered(scores, t2):
    """Solve for the normaliser by bisection."""
    low, high = max(scores), max(scores) + 1e6
    for _ in range(200):
        middle = (low + high) / 2
        total = sum((1 + (1 - t2) * (s - middle)) ** (1 / (1 - t2)) for s in scores)
        low, high = (middle, high) if total > 1 else (low, middle)
    return [(1 + (1 - t2) * (s - low)) ** (1 / (1 - t2)) for s in scores]


def test_bi_tempered_is_the_papers_definition():
    """Tempered softmax by bisection, then the Bregman divergence of the tempered logarithm."""
    logits, target = batch(5)
    target[2] = -100
    t1, t2, total = 0.8, 1.2, []
    for scores, right in zip(logits.tolist(), target.tolist(), strict=True):
        if right < 0:
            continue
        p = tempered(scores, t2)
        logarithm = (p[right] ** (1 - t1) - 1) / (1 - t1)
        total.append(-logarithm - (1 - sum(q ** (2 - t1) for q in p)) / (2 - t1))
    assert float(BiTempered(t1, t2)(logits, target)) == pytest.approx(sum(total) / len(total), rel=1e-6)


def test_bi_tempered_has_the_right_gradient():
    """The normaliser is found without gradient; numerical differences agree with the one given back."""
    logits, target = batch(4)
    assert torch.autograd.gradcheck(lambda z: BiTempered()(z, target), logits.requires_grad_())


def distance(picture, c, at):
    """Find the nearest pixel of the other kind by trying all."""
    inside = picture[at] == c
    others = [
        (i, j) for i in range(picture.shape[0]) for j in range(picture.shape[1]) if (picture[i, j] == c) != inside
    ]
    nearest = min(math.dist(at, other) for other in others)
    return 1 - nearest if inside else nearest


def test_distances_to_a_boundary_are_signed():
    """Negative within, by trying all pixels; zero everywhere for a class that is not there."""
    picture = torch.zeros(6, 7, dtype=torch.int64)
    picture[2:5, 1:4] = 1
    found = signed_distances(picture.unsqueeze(0), 3)[0]
    for c in (0, 1):
        for at in [(0, 0), (2, 1), (3, 2), (4, 6), (5, 5)]:
            assert float(found[c][at]) == pytest.approx(distance(picture, c, at))
    assert not found[2].any()


def test_the_boundary_loss_adds_little_to_cross_entropy():
    """Cross-entropy plus 0.01 of the mean probability times distance."""
    logits, target = batch(2, 6, 6)
    expected = functional.cross_entropy(logits, target)
    expected += 0.01 * (logits.softmax(1) * signed_distances(target, 4)).sum(1).mean()
    assert float(BoundaryCrossEntropy()(logits, target)) == pytest.approx(float(expected))


@pytest.mark.parametrize("name", OURS)
def test_what_is_ignored_changes_nothing(name):
    """Logits where the target is void have no gradient; a batch of void alone has loss and gradient zero."""
    loss = ForeignLoss(zoo.FOREIGN[name], 2.0)
    logits, target = batch(2, 6, 6)
    target[:, :2] = -100
    logits.requires_grad_()
    loss(logits, target).backward()
    assert not logits.grad[:, :, :2].any()
    assert logits.grad[:, :, 2:].abs().max() > 0
    logits.grad = None
    nothing = loss(logits, torch.full_like(target, -100))
    nothing.backward()
    assert nothing.item() == 0.0
    assert not logits.grad.any()


@pytest.mark.parametrize("name", OURS)
def test_its_scale_gives_it_cross_entropys_gradient(name):
    """At a fresh network's logits OHEM and the boundary's are cross-entropy's, the tempered one's are smaller."""
    assert 0.9 < foreign_scale(zoo.FOREIGN[name], 11, 3072) < 4.0


def test_a_boundary_needs_masks():
    """Samples with one class each have no neighbours."""
    with pytest.raises(UsageError, match="needs a task with masks"):
        foreign_scale(zoo.FOREIGN["boundary"], 10)
