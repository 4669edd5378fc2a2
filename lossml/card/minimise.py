"""The least value of a function of two or three numbers, from a point of a grid: a stencil that strides and shrinks.

No slope is needed: a loss may have kinks, and far from its optimum none at all.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

STENCIL = (-2.0, -1.0, 0.0, 1.0, 2.0)
FIRST = 0.5  # logits
ROUNDS = 32  # enough to stride ten logits and to shrink to 1e-7

Function = Callable[[Tensor], Tensor]


def stencil(free: int, width: int) -> Tensor:
    """Return the offsets (S, width) of a stencil in the first `free` coordinates."""
    moves = torch.tensor(list(product(STENCIL, repeat=free)), dtype=torch.float64)
    return torch.cat([moves, moves.new_zeros(len(moves), width - free)], 1)


def zoomed(
    function: Function, start: Tensor, free: int, allowed: Callable[[Tensor], Tensor] = lambda points: points
) -> tuple[Tensor, Tensor]:
    """Walk to the least value near each start.

    Args:
        function: from points (M, S, D) to values (M, S), of M functions side by side.
        start: (M, D).
        free: how many of the first coordinates move.
        allowed: moves points (M, S, D) to where they may be.

    Returns:
        The best points (M, D) and their values (M,).
    """
    moves, best = stencil(free, start.shape[1]), start
    edge = moves.abs().amax(1) == max(STENCIL)
    values = function(best.unsqueeze(1)).squeeze(1)
    step = values.new_full((len(start), 1, 1), FIRST)
    for _ in range(ROUNDS):
        points = allowed(best.unsqueeze(1) + step * moves)
        found, where = function(points).nan_to_num(nan=torch.inf).min(1)
        better = found < values
        best = torch.where(better.unsqueeze(1), points[torch.arange(len(points)), where], best)
        values = torch.where(better, found, values)
        step = step * torch.where(better & edge[where], 1.5, 0.5).view(-1, 1, 1)
    return best, values
