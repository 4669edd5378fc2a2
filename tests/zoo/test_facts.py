"""What is known of the losses on paper holds for the programs."""

import pytest
import torch

from lossml import zoo
from lossml.backend import ProgramLoss, Rejection, make_probe, screen


def best_probability(name, classes):
    """The target's probability, of all with equal others, at which a loss is lowest."""
    p = torch.linspace(0.0005, 0.9995, 1999, dtype=torch.float64)
    rest = ((1 - p) / (classes - 1)).log()
    logits = rest[:, None].expand(-1, classes).clone()
    logits[:, 0] = p.log()
    losses = ProgramLoss(zoo.program_of(name), reduction="none")(logits, torch.zeros(len(p), dtype=torch.long))
    return float(p[losses.argmin()])


@pytest.mark.parametrize(("classes", "p"), [(2, 0.566), (10, 0.391), (100, 0.362), (1000, 0.359)])
def test_ngl_is_not_a_proper_loss(classes, p):
    """NGL is lowest well below certainty: at 0.39 with ten classes."""
    assert best_probability("ngl", classes) == pytest.approx(p, abs=1e-3)


@pytest.mark.parametrize("name", ["ce", "brier", "gce", "mae", "focal"])
def test_a_loss_that_rewards_certainty_is_lowest_there(name):
    """Cross-entropy and its kin want the target's probability as high as it goes."""
    assert best_probability(name, 10) > 0.999


@pytest.mark.parametrize("name", ["label-smoothing", "sparse-lsr"])
def test_label_smoothing_stops_short_of_certainty(name):
    """Both forms of label smoothing are lowest at 1 - epsilon + epsilon/C."""
    assert best_probability(name, 10) == pytest.approx(0.91, abs=1e-3)


@pytest.mark.parametrize(("classes", "size"), [(10, 7.7e-2), (100, 1.1e-3), (1000, 1.1e-5)])
def test_the_gradient_of_ngl_vanishes_with_the_classes(classes, size):
    """NGL's logit gradient at uniform logits shrinks far below cross-entropy's, which stays about one."""
    norms = {}
    for name in ("ngl", "ce"):
        logits = torch.zeros(1, classes, dtype=torch.float64, requires_grad=True)
        ProgramLoss(zoo.program_of(name))(logits, torch.tensor([0])).backward()
        norms[name] = float(logits.grad.norm())
    assert norms["ngl"] == pytest.approx(size, rel=0.05)
    assert 0.9 < norms["ce"] < 1.1


ONE_LABEL = [name for name in zoo.names() if zoo.entry(name).kind == "classification"]
OVERLAPS = [name for name in zoo.names() if zoo.entry(name).kind == "segmentation"]


@pytest.mark.parametrize("classes", [10, 100])
def test_no_classification_loss_is_rejected(classes):
    """The screens let every published classification loss through, and take no two for one."""
    found = screen([zoo.program_of(name) for name in ONE_LABEL], make_probe(classes))
    assert {n: f.rejection for n, f in zip(ONE_LABEL, found, strict=True) if f.rejection} == {}


def test_no_segmentation_loss_is_rejected():
    """The screens let every published segmentation loss through, on images.

    Each is screened by itself: log-cosh-dice is Dice up to a factor that changes from batch to batch.
    """
    probe = make_probe(11, pixels=64)
    found = {name: screen([zoo.program_of(name)], probe)[0].rejection for name in OVERLAPS}
    assert {name: reason for name, reason in found.items() if reason} == {}


def test_of_the_multi_label_losses_ganetic_is_for_something_else():
    """Binary cross-entropy also teaches one class per sample; GANetic pushes every sigmoid down and is rejected."""
    found = screen([zoo.program_of(name) for name in ("bce", "ganetic")], make_probe(10))
    assert [one.rejection for one in found] == [None, Rejection.SIGN]
