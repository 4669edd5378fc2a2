"""The batched evaluator: many programs, each on its own logits, without a Python loop over programs.

A schedule is laid out once: nodes of all programs that do the same (operation, axes, height above
the leaves) are rows of one tensor operation. What a group reads it gathers from the rows of
earlier groups. The cost in calls grows with the variety of the programs, not with their number.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend.interpret import Inputs, read_terminal, reduce
from lossml.backend.ops import AGGREGATES, ELEMENTWISE
from lossml.backend.weighting import Weights, choose
from lossml.program.primitives import OPERATIONS
from lossml.program.tree import CONST, Node, fold
from lossml.program.types import Axes

Row = tuple[str, int]  # (the pool that holds it, its row there)
SHARED = {"C", "t", "pi"}  # terminals equal for all programs


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one pool; `start` is the first where they are consecutive, which needs no copy, else -1."""

    pool: str
    rows: Tensor
    start: int


@dataclass(frozen=True, slots=True)
class Gather:
    """Rows collected from several pools: concatenated pool by pool, then put in order."""

    parts: tuple[Part, ...]
    order: Tensor | None


@dataclass(frozen=True, slots=True)
class Group:
    """One tensor operation on many nodes; its result is the pool `name`."""

    name: str
    op: str
    axes: Axes
    args: tuple[Gather, ...]
    programs: Tensor


@dataclass(frozen=True, slots=True)
class Root:
    """Programs whose values vary over the same axes, reduced together."""

    axes: Axes
    programs: Tensor
    rows: Gather


@dataclass(frozen=True, slots=True)
class Schedule:
    """The laid-out evaluation of K programs."""

    count: int
    constants: tuple[float, ...]
    groups: tuple[Group, ...]
    roots: tuple[Root, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A node of one program that waits for its place in a group."""

    program: int
    node: Node
    args: tuple[Row, ...]


class _Layout:
    """Collects nodes level by level; a leaf while a schedule is built."""

    def __init__(self, programs: Sequence[Node]) -> None:
        self.constants: dict[float, int] = {}
        self.groups: list[Group] = []
        self.rows: list[dict[Node, Row]] = [{} for _ in programs]
        self.waiting: dict[tuple[int, str, tuple[Axes, ...]], list[tuple[int, Node]]] = defaultdict(list)
        for index, program in enumerate(programs):
            fold(program, lambda node, heights, k=index: self._enter(k, node, heights))
        for key in sorted(self.waiting, key=lambda k: (k[0], k[1], tuple(a.value for a in k[2]))):
            self._lay(key, self.waiting[key])

    def _enter(self, program: int, node: Node, heights: tuple[int, ...]) -> int:
        height = 1 + max(heights, default=-1)
        if node in self.rows[program]:
            return height
        if heights:
            self.rows[program][node] = ("", -1)  # its place is known once its group is laid
            key = (height, node.op, tuple(a.type.axes for a in node.args))
            self.waiting[key].append((program, node))
        else:
            self.rows[program][node] = self._leaf(program, node)
        return height

    def _leaf(self, program: int, node: Node) -> Row:
        if node.op == CONST:
            return CONST, self.constants.setdefault(node.value, len(self.constants))
        return node.op, 0 if node.op in SHARED else program

    def _lay(self, key: tuple[int, str, tuple[Axes, ...]], members: list[tuple[int, Node]]) -> None:
        entries = [_Entry(k, node, tuple(self.rows[k][a] for a in node.args)) for k, node in members]
        entries.sort(key=lambda entry: entry.args[0])  # so that the first argument needs no reordering
        # The name depends on the group alone: what stands beside a program must not reorder its sums.
        name = f"{key[0]:02d} {key[1]} {[axes.value for axes in key[2]]}"
        for place, entry in enumerate(entries):
            self.rows[entry.program][entry.node] = (name, place)
        gathers = tuple(gather(rows) for rows in zip(*(entry.args for entry in entries), strict=True))
        programs = torch.tensor([entry.program for entry in entries])
        self.groups.append(Group(name, key[1], entries[0].node.args[0].type.axes, gathers, programs))


def gather(rows: Sequence[Row]) -> Gather:
    """Plan how rows of several pools come together in the given order."""
    by_pool: dict[str, list[int]] = defaultdict(list)
    places: dict[str, list[int]] = defaultdict(list)
    for place, (pool, row) in enumerate(rows):
        by_pool[pool].append(row)
        places[pool].append(place)
    parts = tuple(Part(pool, torch.tensor(found), _start(found)) for pool, found in by_pool.items())
    came = [place for pool in by_pool for place in places[pool]]
    order = None if came == sorted(came) else torch.tensor(came).argsort()
    return Gather(parts, order)


def _start(rows: Sequence[int]) -> int:
    return rows[0] if list(rows) == list(range(rows[0], rows[0] + len(rows))) else -1


def schedule(programs: Sequence[Node]) -> Schedule:
    """Lay out the evaluation of K >= 1 programs."""
    layout = _Layout(programs)
    by_axes: dict[Axes, list[int]] = defaultdict(list)
    for index, program in enumerate(programs):
        by_axes[program.type.axes].append(index)
    roots = tuple(
        Root(axes, torch.tensor(members), gather([layout.rows[k][programs[k]] for k in members]))
        for axes, members in by_axes.items()
    )
    return Schedule(len(programs), tuple(layout.constants), tuple(layout.groups), roots)


def _to(part: Gather, device: torch.device) -> Gather:
    parts = tuple(Part(one.pool, one.rows.to(device), one.start) for one in part.parts)
    return Gather(parts, None if part.order is None else part.order.to(device))


def moved(plan: Schedule, device: torch.device) -> Schedule:
    """Return the schedule with its indices on a device."""
    groups = tuple(
        Group(g.name, g.op, g.axes, tuple(_to(a, device) for a in g.args), g.programs.to(device)) for g in plan.groups
    )
    roots = tuple(Root(r.axes, r.programs.to(device), _to(r.rows, device)) for r in plan.roots)
    return Schedule(plan.count, plan.constants, groups, roots)


def _select(pool: Tensor, part: Part) -> Tensor:
    count = len(part.rows)
    if pool.shape[0] == 1:
        return pool if count == 1 else pool.expand(count, *pool.shape[1:])
    if part.start < 0:
        return pool.index_select(0, part.rows)
    return pool if count == pool.shape[0] else pool.narrow(0, part.start, count)


class _Pools:
    """The values computed so far, by pool; terminals are read when first asked for."""

    def __init__(self, plan: Schedule, inputs: Inputs) -> None:
        self.inputs = inputs
        constants = inputs.logits.new_tensor(plan.constants or (0.0,)).view(-1, 1, 1, 1)
        self.values: dict[str, Tensor] = {CONST: constants}

    def read(self, pool: str) -> Tensor:
        if pool not in self.values:
            value = read_terminal(pool, self.inputs)
            self.values[pool] = value.reshape(1, 1, -1, 1) if pool in SHARED else value
        return self.values[pool]

    def collect(self, wanted: Gather) -> Tensor:
        parts = [_select(self.read(part.pool), part) for part in wanted.parts]
        together = parts[0] if len(parts) == 1 else torch.cat(parts)
        return together if wanted.order is None else together.index_select(0, wanted.order)


def _rows_of(weight: Tensor | None, programs: Tensor) -> Tensor | None:
    return weight if weight is None or weight.dim() < 4 else weight.index_select(0, programs)


def _compute(group: Group, pools: _Pools) -> Tensor:
    args = [pools.collect(part) for part in group.args]
    if group.op in ELEMENTWISE:
        return ELEMENTWISE[group.op].function(*args)
    aggregate = AGGREGATES[group.op]
    weight = pools.inputs.weights[choose(group.axes, OPERATIONS[group.op].removes)]
    return aggregate.function(args[0], _rows_of(weight, group.programs), aggregate.dim)


def _weights_for(weights: Weights, programs: Tensor) -> Weights:
    return Weights(_rows_of(weights.mask, programs), _rows_of(weights.sample, programs), weights.class_weight)


def run(plan: Schedule, inputs: Inputs) -> Tensor:
    """Evaluate all programs of a schedule.

    Args:
        plan: the schedule of K programs.
        inputs: tensors with a leading axis K: logits and y (K, B, C, N), masks (K, B, 1, N).

    Returns:
        The mean loss of each program on its own logits, shape (K,).
    """
    pools = _Pools(plan, inputs)
    for group in plan.groups:
        pools.values[group.name] = _compute(group, pools)
    losses = [
        reduce(pools.collect(root.rows), root.axes, _weights_for(inputs.weights, root.programs), "mean")
        for root in plan.roots
    ]
    if len(losses) == 1:
        return losses[0]
    return torch.cat(losses).index_select(0, torch.cat([root.programs for root in plan.roots]).argsort())
