"""Many programs at once mean what each means alone."""

import pytest
import torch

from lossml.backend import ProgramLoss, stack
from lossml.errors import UsageError

TEXTS = (
    "-sum_C(y*logp)",
    "-y*logp",
    "mean_C(exp(2.4092 - p*(1 + y)) - cos(cos(sin(p))))",
    "(1 - sum_C(y*p)^0.7)/0.7",
    "1 - mean_C((2*sum_B(sum_X(y*p)) + 1)/(sum_B(sum_X(p)) + sum_B(sum_X(y)) + 1))",
    "mean_B(sum_X(-y*log(1-p)))",
    "sum_C(y*logp)/sum_C(logp)",
    "max(p, y)*C + z*t",
    "-y*log(p*pi)",
    "3",
    "max_C(p)",
    "exp(exp(exp(exp(y/p))))",
)


def inputs(shape, dtype, ignored):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(len(TEXTS), *shape, generator=generator, dtype=dtype).requires_grad_()
    target = torch.randint(0, shape[1], (len(TEXTS), shape[0], *shape[2:]), generator=generator)
    if ignored:
        target[:, ::2] = -100
    return logits, target


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"ignore_index": None}, {"weight": torch.tensor([1.0, 2.0, 0.5, 0.1, 3.0])}])
def test_stacked_losses_equal_each_alone(shape, dtype, options):
    """A stack of losses gives each loss's own value and gradient, with masks, weights and scales."""
    logits, target = inputs(shape, dtype, ignored=options.get("ignore_index", -100) is not None)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.3, 0.1])
    losses = [ProgramLoss(text, scale=1.0 + k, prior=prior, **options) for k, text in enumerate(TEXTS)]
    together = stack(losses)(logits, target)
    alone = torch.stack([loss(logits[k], target[k]) for k, loss in enumerate(losses)])
    torch.testing.assert_close(together, alone, equal_nan=True)
    ours, theirs = (torch.autograd.grad(v[:-1].sum(), logits)[0][:-1] for v in (together, alone))
    torch.testing.assert_close(ours, theirs)


def test_a_loss_that_is_not_finite_does_not_touch_its_neighbours():
    """The gradients of a program that overflows stay its own."""
    logits = (torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0)) * 50).requires_grad_()
    target = torch.zeros(2, 4, dtype=torch.long)
    losses = stack([ProgramLoss("exp(exp(exp(1/p)))"), ProgramLoss("-y*logp")])(logits, target)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert not gradient[0].isfinite().all()
    assert gradient[1].isfinite().all()


def test_progress_reaches_every_program():
    """set_progress on a stack sets t for all."""
    losses = stack([ProgramLoss("-t*y*logp"), ProgramLoss("-y*logp")])
    losses.set_progress(0.5)
    logits, target = torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)
    first, second = losses(logits, target)
    torch.testing.assert_close(first, second / 2)


def test_losses_that_do_not_go_together_are_refused():
    """Nothing, other reductions and other weights are refused with a sentence."""
    with pytest.raises(UsageError, match="at least one"):
        stack([])
    with pytest.raises(UsageError, match="share"):
        stack([ProgramLoss("-y*logp"), ProgramLoss("-y*logp", reduction="sum")])
    with pytest.raises(UsageError, match="share"):
        stack([ProgramLoss("-y*logp"), ProgramLoss("-y*logp", weight=torch.ones(3))])
