"""The small programs that a distillation begins with: all of a few nodes, each value once."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product

import torch

from lossml.backend import make_probe, runtime
from lossml.backend.interpret import Inputs, evaluate
from lossml.backend.weighting import weights_of
from lossml.errors import ProgramError
from lossml.program import Axes, Node, apply, constant, terminal

LEAVES = ("p", "logp", "log1mp", "z", "y")
UNARY = ("exp", "square", "log", "sqrt", "abs", "tanh", "sin", "cos", "rsqrt1p")
BINARY = ("add", "sub", "mul", "div")
GUESS, SMALL_GUESS = 1.1, 0.01  # factors and summands from which fits begin: near the program without them
ONE = constant(1.0)


@lru_cache(maxsize=8)
def factors(classes: int) -> tuple[Node, ...]:
    """List what a program can be multiplied, divided or increased by: functions of one terminal, with a constant."""
    leaves = [terminal(name) for name in LEAVES]
    first = _distinct([*leaves, *(node for leaf in leaves for node in _functions(leaf))], classes)
    powers = [*_made("pow", [terminal("p"), _complement(terminal("p"))], [constant(GUESS)])]
    exponentials = [apply("exp", part) for part in _made("mul", [constant(GUESS), constant(-GUESS)], leaves[:1])]
    return (*first, *powers, *exponentials, apply("add", ONE, terminal("y")), constant(GUESS), constant(SMALL_GUESS))


@lru_cache(maxsize=8)
def small_programs(classes: int) -> tuple[Node, ...]:
    """List the small losses: functions, products of two, and what the target's y makes of them."""
    leaves = [terminal(name) for name in LEAVES]
    parts = [part for part in factors(classes) if part.type.axes]
    pairs = [node for op in BINARY for node in _made(op, parts, leaves)]
    second = [node for part in parts for node in _functions(part)]
    everything = _distinct([*parts, *pairs, *second], classes)
    marked = _made("mul", [terminal("y")], [part for part in everything if part.size <= 5])
    sums = _made("sum_C", [part for part in everything if Axes.CLASS in part.type.axes and part.size <= 3], None)
    return (*everything, *marked, *(apply("log", s) for s in sums if _takes_log(s)))


def _takes_log(node: Node) -> bool:
    return node.type.interval.low >= 0 and node.type.interval.low_open


def _complement(node: Node) -> Node:
    return apply("sub", ONE, node)


def _functions(node: Node) -> Iterator[Node]:
    yield _complement(node)
    yield from _made("neg", [node], None)
    for op in UNARY:
        yield from _made(op, [node], None)


def _made(op: str, left: Sequence[Node], right: Sequence[Node] | None) -> list[Node]:
    found: list[Node] = []
    for args in product(left) if right is None else product(left, right):
        try:
            found.append(apply(op, *args))
        except ProgramError:
            continue
    return found


def _distinct(programs: Sequence[Node], classes: int) -> list[Node]:
    """Keep the first program of each value at the probe."""
    probe = make_probe(classes)
    y, _ = runtime.one_hot(probe.target, probe.logits, None)
    inputs = Inputs(probe.logits, y, weights_of(y, None, None), probe.prior)
    met: set[bytes] = set()
    found: list[Node] = []
    for program in programs:
        value = evaluate(program, inputs).float()
        key = bytes(torch.round(value * 1e4).to(torch.int64).numpy().tobytes())
        if bool(value.isfinite().all()) and key not in met:
            met.add(key)
            found.append(program)
    return found
