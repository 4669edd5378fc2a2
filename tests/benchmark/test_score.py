"""Scores of full training: torchmetrics' numbers, equal to the proxies', whose parts the test of a difference needs."""

import pytest
import torch
from torchmetrics.classification import MulticlassCalibrationError

from lossml.benchmark.score import BinnedCalibration, Scorer
from lossml.proxy.metrics import score

NAMES = ("accuracy", "balanced_accuracy", "nll", "ece", "miou")


def scored(logits, targets, *, masks):
    """Score in batches of odd sizes, out of order."""
    scorer = Scorer(logits.shape[1], torch.device("cpu"), masks=masks)
    for chosen in torch.randperm(len(targets), generator=torch.Generator().manual_seed(1)).split(7):
        scorer.update(logits[chosen], targets[chosen], chosen)
    return scorer.compute()


@pytest.mark.parametrize("shape", [(), (6, 5)])
def test_scores_and_parts_are_those_of_a_whole_split(shape):
    """However it is cut into batches; each part belongs to its sample."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, 8, *shape, generator=generator)
    targets = torch.randint(0, 8, (40, *shape), generator=generator)
    if shape:
        targets[:, 0] = -100
        targets[3] = -100
    found, whole = scored(logits, targets, masks=bool(shape)), score(logits, targets, per_sample=True)
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(getattr(whole, name), abs=1e-5)
        assert found.parts[name] == pytest.approx(whole.parts[name], abs=1e-5)
        assert found.parts[name].mean() == pytest.approx(getattr(found, name), abs=1e-5)


def test_top5_counts_the_five_likeliest():
    """By a naive loop."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(30, 9, generator=generator), torch.randint(0, 9, (30,), generator=generator)
    hits = [
        int(t) in sorted(range(9), key=lambda c: -row[c])[:5] for row, t in zip(logits.tolist(), targets, strict=True)
    ]
    assert scored(logits, targets, masks=False).top5 == pytest.approx(sum(hits) / 30)


def test_the_calibration_error_is_torchmetrics():
    """Binned sums give what keeping every confidence gives."""
    generator = torch.Generator().manual_seed(0)
    logits, targets = 2 * torch.randn(500, 6, generator=generator), torch.randint(0, 6, (500,), generator=generator)
    ours, theirs = BinnedCalibration(), MulticlassCalibrationError(6, n_bins=15, norm="l1")
    for chosen in torch.arange(500).split(123):
        ours.update(logits[chosen], targets[chosen])
        theirs.update(logits[chosen].softmax(1), targets[chosen])
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()), abs=1e-5)
