"""Sums of two programs: gradients add, so the best weights of every pair follow from inner products alone.

A hundred thousand pairs are weighed in one matrix product; only the most promising are written as
programs and evaluated.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.distill.points import Points
from lossml.distill.shape import negated
from lossml.errors import ProgramError
from lossml.program import Axes, Node, apply, constant

EACH = 4  # pairs taken for every size
PARALLEL = 1e-6  # pairs closer than this are one loss: their weights mean nothing


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """Programs and their gradients at the search's points: rows of length 1, and the lengths they had."""

    programs: Sequence[Node]
    rows: Tensor
    sizes: Tensor


def sums(left: Terms, right: Terms, points: Points, classes: int, most: int) -> Iterator[Node]:
    """Yield the best sums of a left and a right program, few for each size up to `most` nodes."""
    if not left.programs or not right.programs:
        return
    a, b = (left.rows @ points.unit).unsqueeze(1), (right.rows @ points.unit).unsqueeze(0)
    between = left.rows @ right.rows.T
    apart = (1.0 - between.square()).clamp_min(PARALLEL)
    explained = (a.square() + b.square() - 2.0 * a * b * between) / apart
    explained = torch.where(1.0 - between.square() > PARALLEL, explained, -1.0)
    sizes = _sizes(left.programs).unsqueeze(1) + _sizes(right.programs).unsqueeze(0)
    for i, j in _best(explained, sizes, most):
        weight_a = (a[i, 0] - between[i, j] * b[0, j]) / apart[i, j] / left.sizes[i]
        weight_b = (b[0, j] - between[i, j] * a[i, 0]) / apart[i, j] / right.sizes[j]
        yield from weighted_sum(left.programs[i], right.programs[j], float(weight_a), float(weight_b), classes)


def _sizes(programs: Sequence[Node]) -> Tensor:
    return torch.tensor([program.size for program in programs])


def _best(explained: Tensor, sizes: Tensor, most: int) -> Iterator[tuple[int, int]]:
    columns = explained.shape[1]
    for size in range(2, most):
        found = torch.where(sizes == size, explained, -1.0).flatten()
        top = found.topk(min(EACH, len(found)))
        for value, place in zip(top.values.tolist(), top.indices.tolist(), strict=True):
            if value > 0:
                yield divmod(place, columns)


def weighted_sum(one: Node, other: Node, weight: float, other_weight: float, classes: int) -> Iterator[Node]:
    """Write weight * one + other_weight * other, up to scale, with one constant or none.

    A term that does not vary over the classes is counted once by itself, but for every class where
    it is added to one that does.
    """
    if Axes.CLASS in one.type.axes and Axes.CLASS not in other.type.axes:
        other_weight /= classes
    if Axes.CLASS in other.type.axes and Axes.CLASS not in one.type.axes:
        weight /= classes
    if not weight or not other_weight:
        return
    for ratio in dict.fromkeys((1.0, float(f"{abs(other_weight / weight):.4g}"))):
        try:
            yield _signed_sum(one, _times(ratio, other), weight > 0, other_weight > 0)
        except ProgramError:
            continue


def _times(ratio: float, node: Node) -> Node:
    return node if ratio == 1.0 else apply("mul", constant(ratio), node)


def _signed_sum(one: Node, other: Node, plus: bool, other_plus: bool) -> Node:  # noqa: FBT001 - two signs
    if one.op == "neg":
        return _signed_sum(one.args[0], other, not plus, other_plus)
    if other.op == "neg":
        return _signed_sum(one, other.args[0], plus, not other_plus)
    if plus:
        return apply("add" if other_plus else "sub", one, other)
    return apply("sub", other, one) if other_plus else negated(apply("add", one, other))
