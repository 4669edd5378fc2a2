"""ProgramLoss behaves as torch's own losses do."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn import functional as F

from lossml.backend import ProgramLoss
from lossml.errors import UsageError

CE = "-sum_C(y*logp)"
DICE = "1 - mean_C((2*sum_B(sum_X(y*p)) + 1)/(sum_B(sum_X(p)) + sum_B(sum_X(y)) + 1))"


def batch(shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, target


def gradient(loss, logits):
    return torch.autograd.grad(loss.sum(), logits)[0]


@pytest.mark.parametrize("shape", [(7, 5), (3, 5, 4, 6), (2, 3, 8)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("text", [CE, "-y*logp"])
def test_cross_entropy_equals_torch(shape, reduction, weighted, ignored, text):
    """Cross-entropy written in the language equals torch's for every shape, reduction, weight and mask."""
    logits, target = batch(shape)
    if ignored:
        target.view(-1)[::3] = 255
    weight = torch.rand(shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64) if weighted else None
    ours = ProgramLoss(text, reduction=reduction, weight=weight, ignore_index=255)(logits, target)
    theirs = F.cross_entropy(logits, target, reduction=reduction, weight=weight, ignore_index=255)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(ours, logits), gradient(theirs, logits), rtol=1e-12, atol=1e-12)


def test_soft_targets_equal_torch():
    """Probabilities as targets give torch's cross-entropy with probabilities."""
    logits, _ = batch((6, 4))
    soft = torch.rand(6, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).softmax(1)
    torch.testing.assert_close(ProgramLoss(CE)(logits, soft), F.cross_entropy(logits, soft))


@pytest.mark.parametrize("size", [30.0, 100.0])
def test_a_confidently_wrong_answer_still_teaches(size):
    """At logits of ±30 and ±100 on the wrong side the gradient of cross-entropy is finite and one."""
    logits = torch.tensor([[size, -size, 0.0]], requires_grad=True)
    pushed = gradient(ProgramLoss(CE)(logits, torch.tensor([1])), logits)
    torch.testing.assert_close(pushed, torch.tensor([[1.0, -1.0, 0.0]]))


@pytest.mark.parametrize("size", [0.0, 3.0, 30.0, 100.0])
def test_log_one_minus_p_is_stable(size):
    """log(1-p) stays finite and exact where p rounds to 1."""
    logits = torch.tensor([[size, 0.0, -1.0]], requires_grad=True)
    value = ProgramLoss("-y*log(1-p)")(logits, torch.tensor([0]))
    exact = -torch.logsumexp(logits[:, 1:].double(), 1) + torch.logsumexp(logits.double(), 1)
    torch.testing.assert_close(value.double(), exact[0], rtol=1e-6, atol=1e-6)
    assert gradient(value, logits).isfinite().all()


def test_everything_ignored_is_zero_not_nan():
    """A batch in which nothing counts gives a loss of 0 with a gradient of 0, not NaN."""
    logits, target = batch((4, 3))
    loss = ProgramLoss(CE)(logits, torch.full_like(target, -100))
    assert loss.item() == 0.0
    assert gradient(loss, logits).abs().max() == 0.0


def test_targets_of_small_integers_mean_what_they_say():
    """-100, the ignored class, is not 156 in eight bits: a target of any integer type counts as int64 does."""
    logits = torch.randn(4, 200, generator=torch.Generator().manual_seed(3))
    target = torch.tensor([156, 3, 156, 199])
    loss = ProgramLoss(CE)
    torch.testing.assert_close(loss(logits, target.to(torch.uint8)), F.cross_entropy(logits, target))
    torch.testing.assert_close(loss(logits, target.to(torch.int16)), F.cross_entropy(logits, target))


def test_masked_pixels_do_not_enter_class_aggregates():
    """Dice over an image with ignored pixels equals Dice over the other pixels alone."""
    logits, target = batch((1, 3, 2, 8))
    masked = target.clone()
    masked[..., 4:] = 255
    ours = ProgramLoss(DICE, ignore_index=255)(logits, masked)
    torch.testing.assert_close(ours, ProgramLoss(DICE)(logits[..., :4], target[..., :4]))


def test_class_weights_weigh_per_class_values():
    """With class weights Dice is the weighted mean of the classes' Dice."""
    logits, target = batch((2, 3, 4, 4))
    weight = torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)
    p, y = logits.softmax(1), F.one_hot(target, 3).movedim(-1, 1)
    per_class = 1 - (2 * (p * y).sum((0, 2, 3)) + 1) / (p.sum((0, 2, 3)) + y.sum((0, 2, 3)) + 1)
    ours = ProgramLoss(DICE, weight=weight)(logits, target)
    torch.testing.assert_close(ours, (per_class * weight).sum() / weight.sum())


def test_image_aggregates_are_masked_per_image():
    """A mean over pixels counts each image's own valid pixels."""
    logits, target = batch((2, 3, 5))
    target[0, 3:] = -100
    ours = ProgramLoss("mean_X(sum_C(-y*logp))", reduction="none")(logits, target)
    own = [F.cross_entropy(logits[i : i + 1], target[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(ours, torch.stack(own))


def test_prior_and_progress_are_read():
    """The terminal pi reads the class shares and t the training progress."""
    logits, target = batch((5, 3))
    prior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    adjusted = ProgramLoss("-sum_C(y*(z + log(pi))) + log(sum_C(exp(z)*pi))", prior=prior)(logits, target)
    torch.testing.assert_close(adjusted, F.cross_entropy(logits + prior.log(), target))
    scheduled = ProgramLoss("-t*y*logp")
    scheduled.set_progress(0.25)
    torch.testing.assert_close(scheduled(logits, target), 0.25 * F.cross_entropy(logits, target))


@pytest.mark.parametrize("prior", [None, torch.tensor([0.5, 0.5, 0.0]), torch.ones(1, 3)])
def test_a_prior_that_cannot_be_one_is_refused(prior):
    """Missing, with a class that never comes (its logarithm is not finite), or of another shape."""
    with pytest.raises(UsageError, match="prior"):
        ProgramLoss("-sum_C(y*(logp + log(pi)))", prior=prior)


@pytest.mark.parametrize("progress", [-0.1, 1.5, float("nan")])
def test_progress_outside_its_range_is_refused(progress):
    """An epoch number given for a share does not pass silently."""
    with pytest.raises(UsageError, match="from 0 to 1"):
        ProgramLoss("-t*y*logp").set_progress(progress)


def test_half_precision_is_computed_in_float32():
    """Under autocast and for bfloat16 logits the loss is computed in float32."""
    logits, target = batch((6, 4), torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ProgramLoss(CE)(logits, target)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, F.cross_entropy(logits, target))
    assert ProgramLoss(CE)(logits.bfloat16(), target).dtype == torch.float32


def test_pickle_copy_and_state_dict_keep_the_loss():
    """Pickle, deepcopy, torch.save and state_dict keep formula, weights and scale."""
    logits, target = batch((6, 3), torch.float32)
    loss = ProgramLoss("(p-y)^2", weight=torch.tensor([1.0, 2.0, 3.0]), scale=2.5)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    restored = ProgramLoss(CE, weight=torch.ones(3))
    restored.load_state_dict(torch.load(file, weights_only=True))
    for same in (pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), restored):
        torch.testing.assert_close(same(logits, target), loss(logits, target))
    assert "(p - y)^2" in repr(loss)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: ProgramLoss("p +"), "position 3"),
        (lambda: ProgramLoss(CE, reduction="avg"), "'avg'"),
        (lambda: ProgramLoss(DICE, reduction="none"), "no value per sample"),
        (lambda: ProgramLoss("-y*log(pi)"), "prior"),
        (lambda: ProgramLoss(CE)(torch.zeros(3), torch.zeros(3)), r"\(B, C\)"),
        (lambda: ProgramLoss(CE)(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long)), r"expected \(3,\)"),
        (lambda: ProgramLoss(CE)(torch.zeros(3, 2), torch.zeros(3, 3)), r"expected \(3, 2\)"),
        (lambda: ProgramLoss(CE)(torch.zeros(3, 2), torch.tensor([0, 1, 2])), "class 2"),
        (lambda: ProgramLoss(CE)(torch.zeros(3, 2), torch.tensor([0, 1, -1])), "class -1"),
    ],
)
def test_wrong_use_is_a_sentence(build, says):
    """Wrong arguments are refused with what was given and what is expected."""
    with pytest.raises(UsageError, match=says):
        build()


def test_gradcheck():
    """The gradient of a program with every kind of aggregate is its derivative."""
    text = "max_C(p)*0.1 + sum_C((p-y)^2) + mean_B(sum_X(log(1-p)*y))^2*0.1 + abs(tanh(z)) + rsqrt1p(z) + logabs(p)*y"
    logits, target = batch((3, 4, 2))
    assert torch.autograd.gradcheck(lambda x: ProgramLoss(text)(x, target), logits)


@pytest.mark.parametrize("text", ["(1 - p^0.7)*y", "(1 - sum_C(y*p)^0.3)/0.3", "-y*sqrt(p)"])
def test_a_power_of_an_underflown_probability_has_a_gradient(text):
    """Where p rounds to zero, p^q gives the gradient zero that it has, not NaN."""
    logits = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    found = gradient(ProgramLoss(text)(logits, torch.tensor([1])), logits)
    assert torch.equal(found, torch.zeros(1, 3))
