"""What tests of the machines compare with: random logits, and what the batched evaluator makes of them on tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lossml.backend import runtime
from lossml.backend.batch import run, schedule
from lossml.backend.interpret import Inputs
from lossml.backend.weighting import weights_of
from lossml.program import Node

PRIOR = torch.tensor([0.4, 0.3, 0.1, 0.15, 0.05], dtype=torch.float64)
KINKS = (  # programs with ties and kinks, and with what underflows
    "max(p, p)*y",
    "min(y, p)",
    "max_C(z*y)*p",
    "abs(p - p)*y",
    "(p*y)^0.7",
    "sqrt(p)*y",
    "logabs(y - p)",
    "log(1-p)*y",
)
Results = tuple[Tensor, Tensor]  # losses (K,) and logit gradients (K, B, C)


def points(
    count: int, dtype: torch.dtype, spread: float = 2.0, samples: int = 7, classes: int = 5
) -> tuple[Tensor, Tensor]:
    """Logits (count, samples, classes) and class numbers (count, samples); the same in every precision."""
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(count, samples, classes, generator=generator, dtype=torch.float64).to(dtype) * spread
    return logits, torch.randint(0, classes, (count, samples), generator=generator)


def on_tensors(
    programs: Sequence[Node], logits: Tensor, target: Tensor, progress: float, ignore_index: int | None = None
) -> Results:
    leaf = logits.unsqueeze(3).clone().requires_grad_()
    y, mask = runtime.one_hot(target.unsqueeze(2), leaf, ignore_index)
    inputs = Inputs(leaf, y, weights_of(y, mask, None), PRIOR.to(leaf.dtype), progress)
    losses = run(schedule(programs), inputs)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True, materialize_grads=True)
    return losses.detach(), gradient.squeeze(3)


def alike(ours: Results, theirs: Results, tolerance: float, smallest: float = 1e-6) -> Tensor:
    """Say of each program whether two results agree, gradients relative to their size or the smallest that counts."""
    sizes = theirs[1].abs().flatten(1).amax(1).nan_to_num(0.0, 0.0).clamp_min(smallest).unsqueeze(1)
    pairs = (
        (ours[0].unsqueeze(1), theirs[0].unsqueeze(1)),
        (ours[1].flatten(1) / sizes, theirs[1].flatten(1) / sizes),
    )
    rows = [torch.isclose(a.double(), b.double(), tolerance, tolerance, equal_nan=True).all(1).cpu() for a, b in pairs]
    return rows[0] & rows[1]
