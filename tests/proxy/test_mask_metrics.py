"""Metrics of masks equal independent ones, and what each image contributes gives their standard error."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from sklearn import metrics

from lossml.proxy import IGNORED
from lossml.proxy.metrics import Score, score

NAMES = [field.name for field in fields(Score) if field.name not in {"parts", "top5"}]


def batch(images=40, classes=5, seed=0):
    """Images of uneven size and difficulty: void pixels, rare classes and errors differ from one to the next."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.tensor([8.0, 4.0, 2.0, 1.0, 0.3])[:classes]
    targets = torch.multinomial(weights, images * 48, replacement=True, generator=generator).view(images, 6, 8)
    hardness = torch.linspace(0.5, 3.0, images).view(-1, 1, 1, 1)
    logits = torch.randn(images, classes, 6, 8, generator=generator) * hardness
    logits.scatter_add_(1, targets.unsqueeze(1), torch.full((images, 1, 6, 8), 2.0))
    void = torch.rand(images, 6, 8, generator=generator) < torch.linspace(0.0, 0.8, images).view(-1, 1, 1)
    return logits, torch.where(void, IGNORED, targets)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_of_masks_equal_scikit_learn(seed):
    """Over all pixels that count, of all images together."""
    logits, targets = batch(seed=seed)
    found = score(logits, targets)
    counts = targets != IGNORED
    rows, right = logits.movedim(1, -1)[counts], targets[counts].numpy()
    answer = rows.argmax(1).numpy()
    assert found.miou == pytest.approx(metrics.jaccard_score(right, answer, average="macro"))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(right, answer))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(right, answer))
    assert found.nll == pytest.approx(metrics.log_loss(right, rows.double().softmax(1).numpy(), labels=range(5)))
    assert found.ece == pytest.approx(score(rows, targets[counts]).ece)


def test_the_overlap_of_classes_is_that_of_samples_too():
    """A task with one class a sample has the metric as well, and its parts average to it."""
    logits, targets = torch.randn(300, 4, generator=torch.Generator().manual_seed(1)), torch.arange(300) % 4
    found = score(logits, targets, per_sample=True)
    assert found.miou == pytest.approx(metrics.jaccard_score(targets, logits.argmax(1), average="macro"))
    assert found.parts["miou"].mean(dtype=float) == pytest.approx(found.miou, abs=1e-6)


def test_a_class_that_is_neither_there_nor_answered_does_not_count():
    """One that is answered by mistake alone does, with no overlap."""
    targets = torch.tensor([[[0, 0, 1, 1]]])
    logits = 9.0 * torch.nn.functional.one_hot(torch.tensor([[[0, 0, 1, 2]]]), 4).movedim(-1, 1).float()
    assert score(logits, targets).miou == pytest.approx((1.0 + 0.5 + 0.0) / 3)


@pytest.mark.parametrize("name", NAMES)
def test_parts_average_to_the_metric_and_their_spread_is_its_error(name):
    """The standard error from the parts is that of a bootstrap over images."""
    logits, targets = batch(images=60)
    found = score(logits, targets, per_sample=True)
    part = found.parts[name].astype(float)
    assert part.shape == (60,)
    assert part.mean() == pytest.approx(getattr(found, name), abs=1e-6)
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 60, 60) for _ in range(300)]
    resampled = [getattr(score(logits[index], targets[index]), name) for index in drawn]
    assert part.std(ddof=1) / np.sqrt(60) == pytest.approx(np.std(resampled), rel=0.2)
