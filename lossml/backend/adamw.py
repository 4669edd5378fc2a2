"""AdamW (Loshchilov, Hutter 2019) on many parameter sets at once, and the learning rate over a training.

Elementwise, so that a set that diverges leaves the others alone. torch.optim would do the same and
imports a compiler to do it, seconds on every start.
"""

import math

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.99), 1e-8
WARM_UP = 0.05  # share of full training


def rate(progress: float) -> float:
    """Return the share of the peak learning rate: linear warm-up, then cosine to zero over full training."""
    if progress < WARM_UP:
        return (progress + 1e-3) / (WARM_UP + 1e-3)
    return 0.5 * (1.0 + math.cos(math.pi * (progress - WARM_UP) / (1.0 - WARM_UP)))


@torch.no_grad()
def step_(
    parameters: Tensor,
    moments: tuple[Tensor, Tensor],
    gradient: Tensor,
    count: int | Tensor,
    lr: Tensor | float,
    weight_decay: float = 0.0,
) -> None:
    """Go one step down, in place.

    Args:
        parameters: any shape.
        moments: momentum and variance, of the same shape, zero at the start.
        gradient: of the same shape.
        count: steps done, this one included; a tensor (), where the function is compiled once for all steps.
        lr: learning rate of this step, broadcast against the parameters.
        weight_decay: decoupled.
    """
    momentum, variance = moments
    momentum.lerp_(gradient, 1.0 - BETAS[0])
    variance.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1.0 - BETAS[1])
    size = (variance / (1.0 - BETAS[1] ** count)).sqrt_().add_(EPSILON)
    parameters.mul_(1.0 - lr * weight_decay)
    parameters.sub_(lr / (1.0 - BETAS[0] ** count) * (momentum / size))
