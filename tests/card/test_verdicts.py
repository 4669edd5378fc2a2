"""The verdicts of a card against the literature, and its best answers against closed forms.

Sources of the table:

- cross-entropy and the Brier score are strictly proper: Gneiting, Raftery (2007), Strictly proper scoring rules,
  prediction, and estimation, JASA 102, sections 3 and 4. What is strictly proper is calibrated.
- cross-entropy is convex in the logits: log-sum-exp less a linear function, Boyd, Vandenberghe (2004), Convex
  optimization, section 3.1.5; label smoothing adds linear functions to the same.
- MAE is symmetric and bounded, cross-entropy and the Brier score are not symmetric: Ghosh, Kumar, Sastry (2017), Robust
  loss functions under label noise for deep neural networks, AAAI, arXiv:1712.09482.
- GCE is bounded, and symmetric for q = 1 alone: Zhang, Sabuncu (2018), arXiv:1805.07836, section 3.
- MAE and GCE are calibrated: Mao, Mohri, Zhong (2023), Cross-entropy loss functions: theoretical analysis and
  applications, ICML, arXiv:2304.07288 (comp-sum losses). Neither is proper, as their best answers below show.
- the focal loss is calibrated and not strictly proper: Charoenphakdee et al. (2021), On focal loss for class-posterior
  probability estimation: a theoretical perspective, CVPR, arXiv:2011.09172.
- the reverse part of SCE is symmetric, its other part is cross-entropy, neither symmetric nor bounded: Wang et al.
  (2019), arXiv:1908.06112.
- label smoothing's best answer is the smoothed shares: Szegedy et al. (2016), arXiv:1512.00567; smoothing keeps
  their order, so it is calibrated and not proper.
- NGL has no published analysis. Its p lies in [0, 1], so it is bounded; a bounded convex function is constant, so it is
  not convex. Exchanging the probabilities p < q of two classes with shares a > b changes the expected loss by
  (a - b) (g(q) - g(p)), where g(p) = exp(alpha - 2p) - exp(alpha - p) falls until p = log 2 and is lower at 1 - p than
  at p < 1/2: the more frequent class has the higher probability, so it is calibrated.
"""

import math

import pytest
import torch
from torch import nn

from lossml.card import consistency, shape
from lossml.card.simplex import best_answers
from lossml.card.subject import read_subject

#                   proper, calibrated, symmetric, convex, bounded
LITERATURE = {
    "ce": ("yes", "yes", "no", "yes", "no"),
    "mae": ("no", "yes", "yes", "no", "yes"),
    "gce": ("no", "yes", "no", "no", "yes"),
    "focal": ("no", "yes", "no", "no", "no"),
    "brier": ("yes", "yes", "no", "no", "yes"),
    "ngl": ("no", "yes", "no", "no", "yes"),
    "sce": ("no", "yes", "no", "no", "no"),
    "label-smoothing": ("no", "yes", "no", "yes", "no"),
}


def verdicts(what, classes=10):
    subject = read_subject(what)
    bests = best_answers(subject)
    bounds = shape.bounded(subject, classes)
    claims = (
        consistency.proper(subject, bests),
        consistency.calibrated(subject, bests),
        shape.symmetric(subject, classes),
        shape.convex(subject, bounds, 3),
        bounds,
    )
    return tuple(claim.verdict for claim in claims)


@pytest.mark.parametrize("name", LITERATURE)
def test_the_verdicts_are_those_of_the_literature(name):
    """Proper, calibrated, symmetric, convex, bounded: each as the papers above prove it."""
    assert verdicts(name) == LITERATURE[name]


def test_the_multiclass_hinge_is_convex_and_not_calibrated():
    """Tewari, Bartlett (2007), On the consistency of multiclass classification methods, JMLR 8."""
    assert verdicts(nn.MultiMarginLoss()) == ("no", "no", "no", "yes", "no")


def test_a_loss_that_seeks_a_wrong_class_is_not_calibrated():
    """Cross-entropy with its sign turned has the wrong class as its best answer, and no least value."""
    assert verdicts("sum_C(y*logp)") == ("no", "no", "no", "no", "no")


def gce(shares):
    powers = [share ** (1 / 0.3) for share in shares]  # the best answer of (1 - p^q)/q is the shares to the 1/(1 - q)
    return [power / sum(powers) for power in powers]


def smoothed(shares):
    return [0.9 * share + 0.1 / len(shares) for share in shares]


@pytest.mark.parametrize(("name", "closed"), [("gce", gce), ("label-smoothing", smoothed), ("brier", list)])
def test_the_best_answer_to_uncertain_labels_is_that_of_the_closed_form(name, closed):
    """Found by search to six digits, at every share of labels inside the simplex."""
    for best in best_answers(read_subject(name)):
        if min(best.shares) > 0:
            assert best.answer == pytest.approx(closed(best.shares), abs=1e-6)


def test_the_best_answer_of_the_focal_loss_gives_back_the_shares():
    """By the transformation of Charoenphakdee et al. (2021) from the answer to the shares of the labels."""

    def weight(p, gamma=2.0):
        return p / ((1 - p) ** gamma - gamma * (1 - p) ** (gamma - 1) * p * math.log(p))

    for best in best_answers(read_subject("focal")):
        if min(best.shares) > 0:
            weights = [weight(p) for p in best.answer]
            assert [w / sum(weights) for w in weights] == pytest.approx(best.shares, abs=1e-5)


def test_the_sum_over_labels_of_gce_lies_where_its_authors_say():
    """Zhang, Sabuncu (2018): between (C - C^(1 - q))/q and (C - 1)/q."""
    found = shape.symmetric(read_subject("gce"), 10).finding
    low, high = (float(word) for word in found.split("add up to ")[1].split(";")[0].split(" to "))
    assert (10 - 10**0.3) / 0.7 - 0.05 <= low <= high <= 9 / 0.7 + 0.05  # written with three digits


def test_a_counterexample_to_convexity_can_be_checked_by_hand():
    """The logits it names, evaluated by torch alone, lie as it says."""
    subject = read_subject("brier")
    finding = shape.convex(subject, shape.bounded(subject, 10), 3).finding
    one, other = (
        torch.tensor([float(v) for v in part.split(")")[0].split(", ")], dtype=torch.float64)
        for part in finding.split("(")[1:3]
    )

    def brier(logits):
        return float((logits.softmax(0) - torch.tensor([1.0, 0.0, 0.0])).square().sum())

    assert brier((one + other) / 2) > (brier(one) + brier(other)) / 2


def test_a_counterexample_to_calibration_can_be_checked_by_hand():
    """The hinge's level answer costs no more than its best one, by torch alone."""
    loss = nn.MultiMarginLoss(reduction="none")
    best = min(best_answers(read_subject(loss)), key=lambda one: one.gap)
    logits = torch.tensor([best.answer, best.wrong], dtype=torch.float64).log()
    risks = [sum(s * float(loss(z[None], torch.tensor([k]))) for k, s in enumerate(best.shares)) for z in logits]
    assert risks[1] == pytest.approx(risks[0], abs=1e-6)
    assert max(best.wrong) > best.wrong[best.shares.index(max(best.shares))] - 1e-6


@pytest.mark.parametrize(
    ("name", "kind"), [("mae", "interval"), ("ngl", "interval"), ("dice", "interval"), ("ce", "sampled")]
)
def test_a_bound_is_proven_where_intervals_prove_it(name, kind):
    """Bounded losses by interval arithmetic; an unbounded one shows how it grows."""
    claim = shape.bounded(read_subject(name), 10)
    assert claim.method.kind == kind


@pytest.mark.parametrize("name", ["dice", "jaccard"])
def test_overlaps_are_judged_on_images(name):
    """Soft overlaps are not proper: their best answers to uncertain labels are more certain (Bertels et al. 2021)."""
    subject = read_subject(name)
    bests = best_answers(subject)
    assert consistency.proper(subject, bests).verdict == "no"
    assert "over-confident" in consistency.confidence(subject, bests).finding
    assert shape.symmetric(subject, 10).verdict == "unknown"
