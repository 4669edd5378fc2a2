"""Constants: fitted by Levenberg-Marquardt on the logit gradient, many programs at once, then rounded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from lossml.backend.batch import Schedule, schedule
from lossml.backend.probe import schedule_gradients
from lossml.distill.points import Points, disagreement, judge
from lossml.distill.shape import constants, numbered, with_constants
from lossml.errors import ProgramError
from lossml.program import Node

STEPS = 6
MOST = 8  # constants of a program that is fitted
NUDGE = 1e-6  # relative step of a finite difference; float64 has 1e-16
TRIES = (  # (damping, length) of a step; a program with few constants takes the first few
    (1e-9, 1.0),
    (1e-9, 2.0),
    (1e-9, 0.5),
    (1e-3, 1.0),
    (1e-9, 4.0),
    (1e-1, 1.0),
    (1e-3, 3.0),
    (1.0, 1.0),
    (1e-1, 3.0),
)
FEWEST = 4  # tries
DIGITS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One evaluation of K programs in R copies, laid out once; each copy has constants of its own.

    Attributes:
        plan: its constants are numbered, and are replaced by values in that order.
        counts: number of constants of each program.
        free: (K, N) which constants can move, N the largest count.
        copies: R, at least N + 1.
    """

    plan: Schedule
    counts: tuple[int, ...]
    free: Tensor
    copies: int

    def gradients(self, values: Tensor, points: Points) -> Tensor:
        """Evaluate with constants (K, R, N); gives weighted, flat gradients (K, R, D)."""
        flat = [x for k, n in enumerate(self.counts) for row in values[k].tolist() for x in row[:n]]
        plan = replace(self.plan, constants=tuple(flat[int(place)] for place in self.plan.constants))
        found = schedule_gradients(plan, points.probe.logits, points.probe)
        return (found * points.weight).flatten(1).view(len(self.counts), self.copies, -1)


def layout(programs: Sequence[Node]) -> Layout:
    """Lay out programs that have constants."""
    counts = tuple(len(constants(program)) for program in programs)
    copies = max(FEWEST, 1 + max(counts))
    marked: list[Node] = []
    place = 0
    for program, count in zip(programs, counts, strict=True):
        for _ in range(copies):
            marked.append(numbered(program, place))
            place += count
    return Layout(schedule(marked), counts, _padded([_movable(program) for program in programs]), copies)


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    width = max(len(row) for row in rows)
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows], dtype=torch.float64)


def _movable(program: Node) -> list[float]:
    """Say of each constant, 1 or 0, whether its types let it move both ways: the 1 of log(1 - p) cannot."""
    values = constants(program)
    return [float(all(_fits(program, _moved(values, k, f)) for f in (0.99, 1.01))) for k in range(len(values))]


def _moved(values: Sequence[float], place: int, factor: float) -> list[float]:
    return [x * factor if k == place else x for k, x in enumerate(values)]


def _fits(program: Node, values: Sequence[float]) -> bool:
    try:
        with_constants(program, values)
    except ProgramError:
        return False
    return True


def fitted(programs: Sequence[Node], points: Points, steps: int = STEPS) -> list[Node]:
    """Fit the constants of programs to the target.

    Args:
        programs: each with 1 to MOST constants.
        points: where they are compared.
        steps: of Levenberg-Marquardt.

    Returns:
        The programs with the constants found, where their types allow those.
    """
    if not programs:
        return []
    plan = layout(programs)
    values = _padded([constants(program) for program in programs])
    for _ in range(steps):
        values = _stepped(plan, values, points)
    return list(_rebuilt(programs, plan.counts, values))


def _rebuilt(programs: Sequence[Node], counts: Sequence[int], values: Tensor) -> Iterator[Node]:
    for program, count, row in zip(programs, counts, values.tolist(), strict=True):
        shortened = ([float(f"{x:.{digits}g}") for x in row[:count]] for digits in (6, 2))
        usable = (values for values in shortened if _fits(program, values))  # 0.9998 - p may be negative, 1 - p not
        yield from (with_constants(program, values) for values in islice(usable, 1))


def _stepped(plan: Layout, values: Tensor, points: Points) -> Tensor:
    """Take one step: the best of several dampings and lengths, or none."""
    width = values.shape[1]
    nudges = NUDGE * values.abs().clamp_min(1e-2) * plan.free
    copies = values.unsqueeze(1).repeat(1, plan.copies, 1)
    moved = torch.arange(width)
    nudged = copies.clone()
    nudged[:, 1 + moved, moved] += nudges
    gradients = plan.gradients(nudged, points)
    tries = copies + _steps(gradients[:, : 1 + width], nudges, plan.copies, points).nan_to_num(0.0, 0.0, 0.0)
    before = judge_gradients_flat(gradients[:, :1], points)[:, 0]
    best = judge_gradients_flat(plan.gradients(tries, points), points).min(1)
    chosen = tries[torch.arange(len(tries)), best.indices]
    return torch.where((best.values < before).unsqueeze(1), chosen, values)


def judge_gradients_flat(flat: Tensor, points: Points) -> Tensor:
    """Return the disagreement, whatever the sign, of weighted gradients (K, R, D); 1 where not finite."""
    sizes = flat.norm(dim=-1, keepdim=True)
    rows = flat / sizes
    apart = (rows - (rows @ points.unit).unsqueeze(-1) * points.unit).norm(dim=-1)
    return apart.nan_to_num(1.0, 1.0, 1.0)


def _steps(gradients: Tensor, nudges: Tensor, copies: int, points: Points) -> Tensor:
    """Solve for the constants' steps, one per try: (K, R, N).

    The scale is an unknown beside the constants: the residual is unit - scale * gradient, with
    the best scale, and its derivatives are the gradient and scale * d gradient / d constant.
    """
    base = gradients[:, :1]
    scale = (base @ points.unit).unsqueeze(-1) / base.square().sum(-1, keepdim=True)
    slopes = scale * (gradients[:, 1:] - base) / nudges.unsqueeze(-1)  # 0/0 for a constant that is not free
    columns = torch.cat([base, slopes], 1).nan_to_num(0.0, 0.0, 0.0)
    residual = (points.unit - (scale * base).squeeze(1)).nan_to_num(0.0, 0.0, 0.0)
    lengths = columns.norm(dim=-1).clamp_min(1e-30)
    columns = columns / lengths.unsqueeze(-1)
    normal = columns @ columns.transpose(1, 2)
    right = columns @ residual.unsqueeze(-1)
    damping, length = torch.tensor(TRIES[:copies], dtype=torch.float64).T.unsqueeze(-1)
    system = normal.unsqueeze(1) + damping.unsqueeze(-1) * torch.eye(columns.shape[1], dtype=torch.float64)
    solved = torch.linalg.solve(system, right.unsqueeze(1).expand(-1, copies, -1, -1))
    return (length * solved.squeeze(-1) / lengths.unsqueeze(1))[:, :, 1:]


def rounded(program: Node, points: Points, allowed: float) -> Node:
    """Round constants one by one to the fewest digits that keep the disagreement at or below `allowed`."""
    for place in range(len(constants(program))):
        options = list(_roundings(program, place))
        if options:
            found = disagreement(judge(options, points).rows, points).tolist()
            program = next((o for o, d in zip(options, found, strict=True) if d <= allowed), program)
    return program


def _roundings(program: Node, place: int) -> Iterator[Node]:
    values = constants(program)
    for digits in DIGITS:
        short = float(f"{values[place]:.{digits}g}") if digits else float(round(values[place]))
        try:
            yield with_constants(program, [*values[:place], short, *values[place + 1 :]])
        except ProgramError:
            continue
