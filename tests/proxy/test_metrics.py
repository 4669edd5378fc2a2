"""Every metric equals an independent one."""

import numpy as np
import pytest
import torch
from sklearn import metrics

from lossml.proxy.metrics import expected_calibration_error, score


def batch(samples=500, classes=7, seed=0, spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, classes, generator=generator) * spread, torch.randint(
        0, classes, (samples,), generator=generator
    )


def naive_ece(probability, targets, bins=15):
    total = 0.0
    confidence, answer = probability.max(1), probability.argmax(1)
    for k in range(bins):
        inside = (confidence > k / bins) & (confidence <= (k + 1) / bins)
        if inside.any():
            gap = abs((answer[inside] == targets[inside]).mean() - confidence[inside].mean())
            total += gap * inside.mean()
    return total


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learn(seed):
    """Accuracy, balanced accuracy and log loss are scikit-learn's; the calibration error a naive loop's."""
    logits, targets = batch(seed=seed, spread=0.5 + seed)
    probability = logits.double().softmax(1).numpy()
    found = score(logits, targets, per_sample=True)
    answer = probability.argmax(1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(targets, answer))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(targets, answer))
    assert found.nll == pytest.approx(metrics.log_loss(targets, probability), rel=1e-6)
    assert found.ece == pytest.approx(naive_ece(probability, targets.numpy()), abs=1e-6)
    assert found.parts["accuracy"].tolist() == (answer == targets.numpy()).tolist()
    for name, part in found.parts.items():
        assert part.shape == (500,)
        assert part.mean(dtype=float) == pytest.approx(getattr(found, name), abs=1e-6)


def test_a_class_that_does_not_occur_does_not_count():
    """Balanced accuracy averages over the classes that are there."""
    logits = torch.eye(4)[[0, 1, 1]] * 10
    assert score(logits, torch.tensor([0, 1, 0])).balanced_accuracy == pytest.approx(0.75)
    assert score(logits, torch.tensor([0, 1, 0])).parts == {}


def test_perfect_calibration_has_no_error():
    """Where confidence equals accuracy in each bin the error is zero, and overconfidence is the gap."""
    confidence = torch.tensor([0.75] * 4)
    assert expected_calibration_error(confidence, torch.tensor([True, True, True, False])) == pytest.approx(0.0)
    assert expected_calibration_error(torch.ones(4), torch.zeros(4, dtype=torch.bool)) == pytest.approx(1.0)
    assert np.isfinite(expected_calibration_error(torch.zeros(2), torch.ones(2, dtype=torch.bool)))
