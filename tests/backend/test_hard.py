"""A program written for class numbers is the same loss as the one that reads y."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from lossml import zoo
from lossml.backend import ProgramLoss
from lossml.program import Axes, operations, parse, show
from lossml.program.grammar import classification_grammar, generate, segmentation_grammar
from lossml.program.hard import hard_form
from tests.backend.test_one_meaning import alone, assert_same, batch

PRIOR = torch.tensor([0.1, 0.2, 0.3, 0.4])
SHAPES = {(6, 4): classification_grammar(prior=True, progress=True), (3, 4, 3, 2): segmentation_grammar(prior=True)}


def plain(program, **options):
    """The loss as its text says it, with y."""
    loss = ProgramLoss(program, **options)
    loss._hard, loss._soft = None, loss.program
    return loss


def hard_programs(grammar, seed, count=25):
    rng = random.Random(seed)
    found = (generate(rng, grammar) for _ in range(20 * count))
    return [program for program in found if hard_form(program) is not None][:count]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@settings(max_examples=2)
@given(seed=st.integers(0, 2**32), weighted=st.booleans(), ignored=st.booleans())
def test_the_hard_form_equals_the_program(shape, dtype, reduction, seed, weighted, ignored):
    """Random programs, with class weights and masks: value and logit gradient are those of the form with y."""
    options = {"prior": PRIOR, "weight": torch.tensor([1.0, 0.2, 3.0, 0.5]) if weighted else None}
    programs = [p for p in hard_programs(SHAPES[shape], seed) if reduction != "none" or Axes.SAMPLE in p.type.axes]
    ours = [ProgramLoss(p, reduction=reduction, **options) for p in programs]
    theirs = [plain(p, reduction=reduction, **options) for p in programs]
    logits, target = batch(shape, len(programs), seed, dtype)
    if ignored:
        target.view(-1)[::5] = -100
    assert_same(alone(ours, logits, target), alone(theirs, logits, target), theirs, logits, target)


@pytest.mark.parametrize("size", [30.0, 100.0])
@pytest.mark.parametrize("name", ["ngl", "focal", "label-smoothing", "brier", "bce", "baikal", "asl", "gce"])
def test_confident_answers_lose_nothing(name, size):
    """Right and wrong answers at logits of ±30 and ±100 have the value and gradient of the form with y, in float32."""
    program = zoo.program_of(name)
    assert hard_form(program) is not None
    logits = torch.tensor([[size, -size, 0.0], [-size, size, 1.0], [0.1, 0.0, -size]]).repeat(3, 1).requires_grad_()
    target = torch.arange(3).repeat_interleave(3)
    ours, theirs = (made(program, reduction="none")(logits, target) for made in (ProgramLoss, plain))
    mine, other = (torch.autograd.grad(value.sum(), logits)[0] for value in (ours, theirs))
    counts = theirs.isfinite() & other.isfinite().all(1)  # Baikal divides by p, which is 0 here
    assert counts.all() or name == "baikal"
    torch.testing.assert_close(ours[counts], theirs[counts], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine[counts], other[counts], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("-sum_C(y*logp)", "-logp@y"),
        ("-y*(1 - p)^2*logp", "-(1 - exp(logp@y))^2*logp@y"),
        ("mean_C(exp(1 - p*(1 + y)))", "mean_C(exp(1 - p)) + (exp(1 - p@y*2) - exp(1 - p@y))/C"),
        ("-sum_C((y*0.9 + 0.1/C)*logp)", "-(sum_C(0.1/C*logp) + 0.9*logp@y)"),
        ("sum_C(0.1*p*logp - y*logp)", "sum_C(0.1*exp(logp)*logp) - logp@y"),
        ("-sum_C(y*logp/pi)", "-(logp@y/pi@y)"),
        ("mean_B(sum_X(sum_C(y*p)))", "mean_B(sum_X(p@y))"),
        ("sum_C(-y - -y*p)", "-1 + p@y"),
    ],
)
def test_what_is_left_of_a_program(text, form):
    """Cross-entropy and its kin read one class of a sample; elsewhere what does not depend on y stays."""
    assert show(hard_form(parse(text))) == form


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("p", "reads no target"),
        ("1 - mean_C(sum_B(sum_X(y*p)))", "sums y over pixels"),
        ("max_C(y*p)", "takes a maximum over y"),
        ("(1 - y)/(1 - p)^3", "would add a huge number and take it off again"),
        ("exp(30*z)*(1 - y)", "the same"),
        ("sum_C(y)", "would no longer vary over the samples, and be weighted otherwise"),
        ("sum_C((1 - y)*pi)", "would sum shares of classes, which class weights scale"),
        ("sum_C(y*sum_B(p))", "reads a value per class at the true class"),
        ("sum_C(max(y, p)*p) + mean_X(mean_C(y*(y - 1 + y)))*0", "no longer varies over the pixels"),
    ],
)
def test_some_programs_keep_y(text, reason):
    """What reads y in another way, or would lose digits, is computed as it is written."""
    assert hard_form(parse(text)) is None, reason


def test_soft_labels_take_the_program_as_written():
    """Probabilities that are one-hot give what class numbers give; others what torch gives."""
    loss = ProgramLoss("-sum_C(y*logp)")
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(loss(logits, F.one_hot(target, 3).float()), loss(logits, target))
    soft = torch.rand(5, 3, generator=torch.Generator().manual_seed(1)).softmax(1)
    torch.testing.assert_close(loss(logits, soft), F.cross_entropy(logits, soft))


def test_a_form_reads_no_target():
    """No form of a random program holds y, and most programs have a form."""
    rng = random.Random(1)
    forms = [hard_form(generate(rng, classification_grammar())) for _ in range(300)]
    found = [form for form in forms if form is not None]
    assert len(found) > 150
    assert all("y" not in operations(form) for form in found)


def test_a_sum_of_shares_stays_one_where_exponentials_would_forget_it():
    """A logarithm that is positive only as the classes' p add up to one is built, and has the value of its text."""
    text = "sum_C(p*(exp(sum_C(p - logp)) - log(sum_C(p*rsqrt1p(y)))))"
    logits = torch.tensor([[0.3, -0.2, 0.1], [1.0, 0.0, -1.0]])
    target = torch.tensor([0, 2])
    torch.testing.assert_close(ProgramLoss(text)(logits, target), plain(text)(logits, target))
