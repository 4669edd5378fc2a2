"""Optimum, gradient scale, safety and nearest loss against closed forms, torch alone, and a published analysis."""

import math

import pytest
import torch
from torch.nn import functional as F

from lossml.backend import ProgramLoss
from lossml.card.advice import advice
from lossml.card.nearest import nearest
from lossml.card.optimum import optimum
from lossml.card.safety import safety
from lossml.card.scale import scale
from lossml.card.subject import read_subject
from lossml.errors import UsageError
from lossml.program import parse
from lossml.zoo import program_of

NGL = read_subject("ngl")
ALPHA = 2.4092


@pytest.mark.parametrize(("classes", "expected"), [(2, 0.566), (10, 0.391), (100, 0.362), (1000, 0.359)])
def test_the_optimum_of_ngl(classes, expected):
    """To three digits, as an analysis of the formula gives it; a certain answer costs more than the even one."""
    found = optimum(NGL, classes)
    assert round(found.probability, 3) == expected
    assert found.certain_costs_more


def ngl_norm(classes):
    """The norm of NGL's logit gradient at even logits, by hand: softmax's own derivative times that of each term."""
    p = 1 / classes
    slope = {
        y: (
            -(1 + y) * math.exp(ALPHA - p * (1 + y))
            - math.sin(math.cos(math.sin(p))) * math.sin(math.sin(p)) * math.cos(p)
        )
        / classes
        for y in (0, 1)
    }
    mean = p * (slope[1] + (classes - 1) * slope[0])
    return math.hypot(p * (slope[1] - mean), math.sqrt(classes - 1) * p * (slope[0] - mean))


@pytest.mark.parametrize(("classes", "expected"), [(10, "7.7e-02"), (100, "1.1e-03"), (1000, "1.1e-05")])
def test_the_gradient_of_ngl_at_the_start(classes, expected):
    """As published to two digits, and by hand to six."""
    found = scale(NGL, classes).start.size
    assert f"{found:.1e}" == expected
    assert found == pytest.approx(ngl_norm(classes), rel=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_the_optimum_implies_label_smoothing(classes):
    """Label smoothing implies itself; Baikal's optimum is one over the root of C; cross-entropy wants certainty."""
    assert optimum(read_subject("label-smoothing"), classes).smoothing == pytest.approx(0.1, abs=1e-5)
    assert optimum(read_subject("baikal"), classes).probability == pytest.approx(classes**-0.5, abs=1e-5)
    assert optimum(read_subject("ce"), classes).probability == 1.0


def test_an_optimum_with_a_rival_is_found():
    """A loss that rewards one strong rival has its optimum there, not where all others are equal."""
    found = optimum(read_subject("sum_C(y*(p - 0.7)^2) - 0.5*sum_C((1 - y)*p^2)"), 5)
    assert found.probability == pytest.approx(0.4, abs=1e-4)  # of (p - 0.7)^2 - 0.5 (1 - p)^2, one rival taking 1 - p
    assert found.rival == pytest.approx(1 - found.probability, abs=1e-4)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_cross_entropys_gradient_in_the_three_states(classes):
    """Its gradient is the answer less the label."""
    found = scale(read_subject("ce"), classes)
    rest = 0.01 / (classes - 1)
    assert found.start.size == pytest.approx(math.sqrt(1 - 1 / classes))
    assert found.wrong.size == pytest.approx(math.hypot(1 - rest, 0.99, math.sqrt(classes - 2) * rest))
    assert found.right.size == pytest.approx(math.hypot(0.01, math.sqrt(classes - 1) * rest))
    assert found.start.against == found.wrong.against == found.right.against == pytest.approx(1.0)


def said(name, numbers=(10, 1000)):
    subject = read_subject(name)
    found = advice([scale(subject, c) for c in numbers], [optimum(subject, c) for c in numbers], safety(subject, 10))
    return " ".join(one.text for one in found if one.level == "warning"), " ".join(one.text for one in found)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ngl", ["SGD at cross-entropy's learning rate stalls", "0.0815 and 1.11e-05", "12.3 and 90,200", "epsilon"]),
        ("mae", ["stalls", "gives up what is certainly wrong"]),
        ("baikal", ["explode", "In float32 it fails from logits of 30"]),
        ("sum_C(y*logp)", ["pushes the true class down"]),
        ("-30*sum_C(y*logp)", ["diverges", "30 at 10 and 1,000 classes"]),
    ],
)
def test_what_will_fail_in_training_is_said(name, words):
    """Where it will stall, explode, diverge or go astray, the card warns and says what to do."""
    warnings, _ = said(name)
    for word in words:
        assert word in warnings


def test_a_loss_without_gradient_starts_nothing():
    """It is warned of, and it has no optimum."""
    subject = read_subject("sum_C(y)")
    assert "no gradient where all logits are equal (10 classes)" in advice([scale(subject, 10)], [], ())[0].text
    for constant in (subject, read_subject("p - y")):  # the second is 0 up to rounding
        with pytest.raises(UsageError, match="same value for all answers"):
            optimum(constant, 10)


def test_cross_entropy_has_no_warning():
    """A sound loss gets its learning rate said and nothing else."""
    warnings, everything = said("ce")
    assert warnings == ""
    assert "about cross-entropy's learning rates: the gradient at the start is 1 at 10 and 1,000 classes" in everything


def test_under_confidence_is_said():
    """The probability at which a learned sample ends is named."""
    assert "ends at p = 0.391 and 0.359 at 10 and 1,000 classes" in said("ngl")[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sum_C(y*(1/p))", "the slope of 1/p is not finite"),
        ("sum_C(y*exp(-2*logp))", "exp(-2*logp) is not finite"),
        ("sum_C(y*exp(exp(-z)))", "exp(exp(-z)) is not finite"),
    ],
)
def test_what_overflows_is_named(text, why):
    """The first part that is not finite, or whose slope is not; ProgramLoss itself fails there and not before."""
    found = safety(read_subject(text), 10)[0]
    assert found.finite is False
    assert why in found.why
    low = torch.zeros(10)
    for size, finite in ((found.fails_from / 4, True), (found.fails_from, False)):
        leaf = (size * torch.eye(10)[1] - size * torch.eye(10)[0] + low).requires_grad_()
        loss = ProgramLoss(parse(text))(leaf[None], torch.tensor([0]))
        loss.backward()
        assert bool(leaf.grad.isfinite().all() & loss.isfinite()) is finite


@pytest.mark.parametrize("name", ["ce", "focal", "gce", "label-smoothing", "sce", "ngl"])
def test_a_safe_loss_is_finite_in_every_precision(name):
    """Logits up to 1e4 in float32, bfloat16 and float16."""
    assert [row.finite for row in safety(read_subject(name), 10)] == [True, True, True]


def test_where_a_gradient_vanishes_is_said():
    """MAE's gradient at a wrong answer underflows, cross-entropy's never does."""
    mae, ce = (safety(read_subject(name), 10)[0] for name in ("mae", "ce"))
    logits = torch.full((1, 10), 0.0)
    logits[0, 1] = mae.vanishes_from
    loss = ProgramLoss(program_of("mae"))
    leaf = logits.requires_grad_()
    loss(leaf, torch.tensor([0])).backward()
    assert leaf.grad.abs().max() == 0
    assert ce.vanishes_from is None


def test_the_nearest_known_loss_has_its_parameter_fitted():
    """A user's smoothed cross-entropy is label smoothing with that epsilon, wholly explained."""

    def own(logits, target):
        return F.cross_entropy(logits, target, label_smoothing=0.31)

    found = nearest(read_subject(own), 10)
    assert found.equal is not None
    assert found.equal.call == "label-smoothing(epsilon=0.31)"
    assert found.equal.explained == pytest.approx(1.0, abs=1e-9)


def test_a_published_loss_is_itself_and_a_new_one_is_nobody():
    """Names go to the loss as published; a program of our own is near to something, but equal to nothing."""
    assert nearest(read_subject("mae"), 10).equal.call == "mae"
    assert nearest(read_subject("-3*y*logp"), 10).equal.call == "ce"
    assert nearest(read_subject("focal(gamma=3)"), 10).equal.call == "focal(gamma=3)"
    found = nearest(read_subject("-sum_C(y*logp) + 0.3*sum_C(y*exp(-p))"), 10)
    assert found.equal is None
    assert 0.9 < found.nearest.explained < 1.0


def test_a_segmentation_loss_is_compared_on_images():
    """Losses that read several pixels are known too."""
    assert nearest(read_subject("dice"), 4).equal.call == "dice"
