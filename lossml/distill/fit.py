"""Constants: fitted by Levenberg-Marquardt on the logit gradient, many programs at once, then rounded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lossml.backend.batch import Schedule, schedule
from lossml.backend.probe import schedule_gradients
from lossml.distill.points import Points, disagreement, judge, judge_gradients
from lossml.distill.shape import constants, numbered, with_constants
from lossml.errors import ProgramError
from lossml.program import Node

STEPS = 6
MOST = 8  # constants of a program that is fitted
NUDGE = 1e-6  # relative step of a finite difference; float64 has 1e-16
DAMPING = (1e-6, 2.0)  # exponents of ten between which the tries of a step are spread
DIGITS = (0, 1, 2, 3, 4)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One evaluation of K programs in R copies, laid out once; each copy has constants of its own.

    Attributes:
        plan: its constants are numbered, and are replaced by values in that order.
        counts: number of constants of each program.
        copies: R.
    """

    plan: Schedule
    counts: tuple[int, ...]
    copies: int

    def gradients(self, values: Tensor, points: Points) -> Tensor:
        """Evaluate with constants (K, R, MOST); gives weighted, flat gradients (K, R, D)."""
        flat = [x for k, n in enumerate(self.counts) for row in values[k].tolist() for x in row[:n]]
        plan = replace(self.plan, constants=tuple(flat[int(place)] for place in self.plan.constants))
        found = schedule_gradients(plan, points.probe.logits, points.probe)
        return (found * points.weight).flatten(1).view(len(self.counts), self.copies, -1)


def layout(programs: Sequence[Node]) -> Layout:
    """Lay out programs with at most MOST constants each."""
    counts = tuple(len(constants(program)) for program in programs)
    copies = 1 + max(counts)
    marked: list[Node] = []
    place = 0
    for program, count in zip(programs, counts, strict=True):
        for _ in range(copies):
            marked.append(numbered(program, place))
            place += count
    return Layout(schedule(marked), counts, copies)


def fitted(programs: Sequence[Node], points: Points, steps: int = STEPS) -> list[Node]:
    """Fit the constants of programs to the target.

    Args:
        programs: each with 1 to MOST constants.
        points: where they are compared.
        steps: of Levenberg-Marquardt; each costs two evaluations for every constant and one more.

    Returns:
        The programs with better constants where such were found; those whose types allow no better are left out.
    """
    if not programs:
        return []
    plan = layout(programs)
    start = torch.zeros(len(programs), MOST, dtype=torch.float64)
    for k, program in enumerate(programs):
        start[k, : plan.counts[k]] = torch.tensor(constants(program), dtype=torch.float64)
    values = start
    for _ in range(steps):
        values = _stepped(plan, values, points)
    return list(_rebuilt(programs, plan.counts, values))


def _rebuilt(programs: Sequence[Node], counts: Sequence[int], values: Tensor) -> Iterator[Node]:
    for program, count, row in zip(programs, counts, values.tolist(), strict=True):
        for digits in (6, 3):  # a long and a rounded form: rounding can put 0.9999999 back to the 1 that types need
            try:
                yield with_constants(program, [float(f"{x:.{digits}g}") for x in row[:count]])
            except ProgramError:
                continue


def _stepped(plan: Layout, values: Tensor, points: Points) -> Tensor:
    """Take one damped Gauss-Newton step, the damping chosen among as many as there are copies."""
    nudges = NUDGE * values.abs().clamp_min(1e-2)
    probes = values.unsqueeze(1).repeat(1, plan.copies, 1)
    moved = torch.arange(plan.copies - 1)
    probes[:, 1 + moved, moved] += nudges[:, moved]
    gradients = plan.gradients(probes, points)
    steps = _steps(gradients, nudges[:, : plan.copies - 1], points)
    tries = values.unsqueeze(1).repeat(1, plan.copies, 1)
    tries[:, :, : plan.copies - 1] += steps.nan_to_num(0.0, 0.0, 0.0)
    found = judge_gradients_flat(plan.gradients(tries, points), points)
    before = judge_gradients_flat(gradients[:, :1], points)
    best = found.min(1)
    chosen = tries[torch.arange(len(tries)), best.indices]
    return torch.where((best.values < before[:, 0]).unsqueeze(1), chosen, values)


def judge_gradients_flat(flat: Tensor, points: Points) -> Tensor:
    """Return the disagreement, whatever the sign, of weighted gradients (K, R, D); 1 where not finite."""
    sizes = flat.norm(dim=-1, keepdim=True)
    rows = flat / sizes
    apart = (rows - (rows @ points.unit).unsqueeze(-1) * points.unit).norm(dim=-1)
    return apart.nan_to_num(1.0, 1.0, 1.0)


def _steps(gradients: Tensor, nudges: Tensor, points: Points) -> Tensor:
    """Solve for the constants' steps, one per damping: (K, R, R - 1).

    The scale is an unknown beside the constants: the residual is unit - scale * gradient, with
    the best scale, and its derivatives are the gradient and scale * d gradient / d constant.
    """
    base = gradients[:, :1]
    scale = (base @ points.unit).unsqueeze(-1) / base.square().sum(-1, keepdim=True)
    slopes = scale * (gradients[:, 1:] - base) / nudges.unsqueeze(-1)
    columns = torch.cat([base, slopes], 1).nan_to_num(0.0, 0.0, 0.0)
    residual = (points.unit - (scale * base).squeeze(1)).nan_to_num(0.0, 0.0, 0.0)
    lengths = columns.norm(dim=-1).clamp_min(1e-30)
    columns = columns / lengths.unsqueeze(-1)
    normal = columns @ columns.transpose(1, 2)
    right = columns @ residual.unsqueeze(-1)
    copies = gradients.shape[1]
    damping = torch.logspace(*DAMPING, copies, dtype=torch.float64).view(1, -1, 1, 1)
    system = normal.unsqueeze(1) + damping * torch.eye(copies, dtype=torch.float64)
    solved = torch.linalg.solve(system, right.unsqueeze(1).expand(-1, copies, -1, -1))
    return (solved.squeeze(-1) / lengths.unsqueeze(1))[:, :, 1:]


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


__all__ = ["fitted", "judge_gradients", "rounded"]
