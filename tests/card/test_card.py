"""The card as a whole: of programs, of a user's own PyTorch losses, of losses that read more than a sample."""

import dataclasses
import time

import pytest
import torch
from torch import nn

import lossml
from lossml.backend.load import Named
from lossml.card import Card
from lossml.card.subject import read_subject
from lossml.errors import UsageError


@pytest.fixture(scope="module")
def ngl():
    return lossml.inspect("ngl")


def test_a_card_is_an_immutable_value(ngl):
    """What was found cannot be changed, and is found again."""
    assert isinstance(ngl, Card)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ngl.name = "ce"
    again = lossml.inspect("ngl")
    assert dataclasses.replace(again, formula=None) == dataclasses.replace(ngl, formula=None)


def test_a_card_takes_a_moment():
    """Under three seconds of processor time after import, of which sympy's own process is no part."""
    began = time.process_time()
    lossml.inspect("ngl(alpha=2.5)")
    assert time.process_time() - began < 3.0


def test_every_claim_names_its_method(ngl):
    """No verdict without how it was found, and with how many points where it was sampled."""
    for claim in ngl.claims.values():
        assert claim.method.kind in {"exact", "interval", "sampled"}
        assert claim.method.points > 0 or claim.method.kind != "sampled"
        assert str(claim.method).startswith(("exact", "interval arithmetic", "sampled"))
        assert claim.finding


def test_the_formula_is_written_in_all_its_forms(ngl):
    """Text, LaTeX, size; a shorter form where there is one."""
    assert ngl.formula.text == "mean_C(exp(2.4092 - p*(1 + y)) - cos(cos(sin(p))))"
    assert (ngl.formula.size, ngl.formula.depth) == (14, 7)
    assert ngl.formula.latex.startswith(r"\frac{1}{C} \sum_{c}")
    assert ngl.formula.screens == ""


def test_the_plots_show_what_the_loss_does(ngl):
    """The matched path ends at the optimum, the plain one has hardly moved; the walk ends at the best answer."""
    assert ngl.learning.matched.y[-1] == pytest.approx(ngl.optima[1].probability, abs=0.01)
    assert ngl.learning.plain.y[10] < ngl.learning.matched.y[10]
    assert ngl.learning.reference.y[-1] > 0.99
    assert ngl.map.walk[0] == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert "(0.423, 0.309, 0.268)" in ngl.confidence.finding
    assert ngl.map.walk[-1] == pytest.approx((0.423, 0.309, 0.268), abs=0.005)
    assert len(ngl.map.values) == len(ngl.map.answers) == 25 * 26 // 2


def test_the_curves_start_as_cross_entropy_does(ngl):
    """Scaled to cross-entropy's gradient, the slope at the even answer is cross-entropy's."""
    tenth = ngl.curves.true_slope.x.index(0.1)
    assert ngl.curves.true_slope.y[tenth] == pytest.approx(ngl.curves.reference[2].y[tenth], rel=1e-6)
    assert ngl.curves.reference[2].y[tenth] == pytest.approx(-0.9)
    assert ngl.curves.true.y[tenth] == pytest.approx(0.0, abs=1e-12)


def test_a_pytorch_loss_gets_the_card_of_its_formula(own):
    """Whatever a loss is written in, optimum, verdicts and figures are the same."""
    theirs, ours = lossml.inspect(f"{own}:Focal"), lossml.inspect("focal")
    assert theirs.formula is None
    assert [c.verdict for c in theirs.claims.values()] == [c.verdict for c in ours.claims.values()]
    assert theirs.kin.equal.call == "focal"
    for a, b in zip(theirs.scales, ours.scales, strict=True):
        assert a.start.size == pytest.approx(b.start.size)
        assert a.wrong.against == pytest.approx(b.wrong.against)
    assert [o.probability for o in theirs.optima] == [o.probability for o in ours.optima]
    assert [row.finite for row in theirs.safety] == [True, True, True]


def test_a_function_needs_no_vectorising(own):
    """A function that looks at its values is evaluated scene by scene, with the same values as one that does not."""
    logits, labels = torch.randn(5, 1, 4, 1, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0]).view(5, 1, 1)
    found = read_subject(f"{own}:looks_at_values", 4).value(logits, labels)
    assert found.shape == (5,)
    torch.testing.assert_close(found, read_subject("ce").value(logits, labels))


def test_what_a_loss_does_not_take_is_left_out(own):
    """Class weights of ten classes: the card is drawn at ten classes, and says what is missing."""
    card = lossml.inspect(f"{own}:weighted")
    assert [o.classes for o in card.optima] == [10]
    assert card.proper.verdict == "unknown"
    assert any(line.startswith("3 classes: ") for line in card.left_out)


def test_a_loss_of_few_classes_is_described_at_them(own):
    """Class weights of four classes: nothing is asked of it at ten."""
    card = lossml.inspect(nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0])), classes=4)
    assert card.curves is not None
    assert card.symmetric.verdict == "unknown"  # its mean divides by the weights of the batch, which thus share it


@pytest.mark.parametrize(
    ("name", "words"),
    [("detached", "returns a float"), ("noisy", "remove what is random"), ("nothere", "has no 'nothere'")],
)
def test_what_is_no_loss_gets_a_sentence(own, name, words):
    """As everywhere: what was given, and what to do."""
    with pytest.raises(UsageError, match=words):
        lossml.inspect(f"{own}:{name}")


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss,
        nn.functional.cross_entropy,
        lossml.parse("-y*logp"),
        lossml.load("ce", scale=1.0),
        Named(lossml.parse("-2*y*logp"), 0.5),
    ],
)
def test_modules_functions_and_programs_can_be_given_as_they_are(loss):
    """In Python nothing needs a name; a scale counts."""
    logits = torch.tensor([[1.0, 2.0, 4.0]], dtype=torch.float64)
    found = read_subject(loss, 3).value(logits.view(1, 1, 3, 1), torch.tensor([[[1]]]))
    assert float(found) == pytest.approx(float(nn.functional.cross_entropy(logits, torch.tensor([1]))))


@pytest.mark.parametrize(
    ("loss", "classes", "words"), [("ce", 1, "2 to 1000"), ("ce", 1001, "2 to 1000"), ("dice", 200, "most 100")]
)
def test_the_number_of_classes_has_a_range(loss, classes, words):
    """Outside it, a sentence."""
    with pytest.raises(UsageError, match=words):
        lossml.inspect(loss, classes=classes)


def test_a_segmentation_loss_has_a_sensible_card():
    """Dice: pixels share one loss, a certain answer is best, its gradient falls with the classes, it is bounded."""
    card = lossml.inspect("dice")
    assert card.shared == "pixels"
    assert [o.probability for o in card.optima] == [1.0, 1.0, 1.0]
    assert [o.classes for o in card.optima] == [2, 10, 100]
    assert card.bounded.verdict == "yes"
    assert card.convex.verdict == "no"
    assert card.symmetric.verdict == "unknown"
    assert card.scales[0].start.against > card.scales[1].start.against > card.scales[2].start.against


def test_a_loss_that_reads_progress_is_shown_over_training():
    """From cross-entropy at the start to MAE at the end, whose gradient is a tenth of it at ten classes."""
    card = lossml.inspect("sum_C(y*(t*(1 - p) - (1 - t)*logp))")
    assert [m.progress for m in card.moments] == [0.0, 0.3, 0.7, 1.0]
    assert card.moments[0].start == pytest.approx(1.0)
    assert card.moments[-1].start == pytest.approx(0.1)
    assert card.symmetric.verdict == "yes"  # the verdicts are those of the end of training


def test_a_loss_that_reads_the_prior_is_shown_at_uneven_classes():
    """Logit adjustment's best answer to even labels is one over the shares of the classes (Menon et al. 2021)."""
    found = lossml.inspect("logit-adjustment").prior
    assert found.shares == pytest.approx((1 / 6, 2 / 6, 3 / 6))
    assert found.answer == pytest.approx((6 / 11, 3 / 11, 2 / 11), abs=1e-5)
    balanced = lossml.inspect("balanced-ce").prior
    assert balanced.pull[0] == pytest.approx(3 * balanced.pull[2])


def test_a_loss_of_sigmoids_is_judged_by_its_sigmoids():
    """Binary cross-entropy of each class is proper: the best sigmoids are the shares of the labels."""
    card = lossml.inspect("bce")
    assert card.proper.verdict == "yes"
    assert card.calibrated.verdict == "yes"
    assert card.confidence.verdict == "yes"


@pytest.mark.parametrize("text", ["sum_C(y)", "sum_C(y*exp(exp(exp(z))))", "sum_C(y*abs(z))/C", "C*t", "-max_C(y*p)"])
def test_odd_losses_have_a_card_too(text):
    """No gradient, overflow, kinks, no prediction: a card says so and never fails."""
    card = lossml.inspect(text)
    assert set(card.claims) == {"proper", "calibrated", "as certain as labels", "symmetric", "bounded", "convex"}


def test_a_card_leaves_the_loss_as_it_was():
    """A user's module keeps its precision, its mode and its gradients."""
    loss = nn.Sequential(nn.Identity())

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.weight = loss, nn.Parameter(torch.ones(1))

        def forward(self, logits, target):
            return self.weight[0] * nn.functional.cross_entropy(self.inner(logits), target)

    module = Own()
    lossml.inspect(module, classes=3)
    assert module.training
    assert module.weight.dtype == torch.float32
    assert module.weight.grad is None
