"""What may be generated: typed random programs.

Types guide generation instead of filtering it. Intervals are grouped into a few sorts; for every
operation the table of productions says which sorts of arguments certainly give which sort of
result. It is derived from the operations' own bounds, so a new operation needs no line here.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from types import MappingProxyType

from lossml.errors import ProgramError
from lossml.program import interval as iv
from lossml.program.interval import Interval
from lossml.program.primitives import OPERATIONS, TERMINALS
from lossml.program.tree import Node, apply, constant, operations, terminal

SORTS = (iv.UNIT, iv.POSITIVE, iv.NEGATIVE, iv.NON_NEGATIVE, iv.REAL)  # narrow ones first
PREDICTION = frozenset({"p", "logp", "log1mp", "z", "s", "logs", "log1ms"})
COMPLEMENT = "1-"  # the production 1 - x, which keeps a probability a probability
CONSTANT = "const"
EXPONENTS = (0.5, 0.7, 1.5, 2.0, 3.0, 4.0, -1.0, -0.5)
TRIES = 50

Weights = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """What may be generated, and how often.

    Attributes:
        terminals: names, and "const", with weights.
        operations: names with weights; "1-" is the complement 1 - x.
        max_size: most nodes of a program.
        max_depth: most levels of a program.
        typical_size: mean number of nodes of a generated program.
    """

    terminals: Weights
    operations: Weights
    max_size: int = 40
    max_depth: int = 12
    typical_size: int = 10

    def allows(self, program: Node) -> bool:
        """Say whether a program is within the limits and reads the prediction and the target."""
        if program.size > self.max_size or program.depth > self.max_depth:
            return False
        used = operations(program)
        return "y" in used and not PREDICTION.isdisjoint(used)


@dataclass(frozen=True, slots=True)
class Production:
    """An operation and sorts of arguments that certainly give the sort asked for."""

    op: str
    args: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a sort can be made of, with weights."""

    productions: tuple[Production, ...]
    production_weights: tuple[float, ...]
    leaves: tuple[str, ...]
    leaf_weights: tuple[float, ...]


_TERMINALS: Weights = (("y", 3.0), ("p", 3.0), ("logp", 1.5), ("log1mp", 0.7), ("z", 0.5), ("C", 0.3), (CONSTANT, 2.0))
_PRIOR, _PROGRESS = 1.5, 0.7
_OPERATIONS: Weights = (
    ("add", 3.0),
    ("sub", 3.0),
    ("mul", 5.0),
    ("div", 1.5),
    ("pow", 1.0),
    ("neg", 2.0),
    (COMPLEMENT, 2.0),
    ("square", 1.5),
    ("exp", 1.0),
    ("log", 0.7),
    ("sqrt", 0.5),
    ("abs", 0.7),
    ("sin", 0.2),
    ("cos", 0.2),
    ("tanh", 0.4),
    ("rsqrt1p", 0.3),
    ("logabs", 0.2),
    ("max", 0.5),
    ("min", 0.5),
    ("sum_C", 2.0),
    ("mean_C", 0.5),
    ("max_C", 0.2),
    ("sum_B", 0.05),
    ("mean_B", 0.1),
)


def classification_grammar(*, prior: bool = False, progress: bool = False) -> Grammar:
    """Return the grammar of classification: everything but pixels and sigmoids.

    Args:
        prior: whether programs may read pi, which says something where classes are uneven.
        progress: whether programs may read t, and so change while a network trains.
    """
    return Grammar(_terminals(prior=prior, progress=progress), _OPERATIONS)


def segmentation_grammar(*, prior: bool = False, progress: bool = False) -> Grammar:
    """Return the grammar of segmentation: aggregates over pixels and images as well; see `classification_grammar`."""
    pixels: Weights = (("sum_X", 1.5), ("mean_X", 0.5), ("sum_B", 0.5))
    others = (row for row in _OPERATIONS if row[0] != "sum_B")
    return Grammar(_terminals(prior=prior, progress=progress), (*others, *pixels))


def _terminals(*, prior: bool, progress: bool) -> Weights:
    return (*_TERMINALS, *((("pi", _PRIOR),) if prior else ()), *((("t", _PROGRESS),) if progress else ()))


@lru_cache(maxsize=16)
def choices(grammar: Grammar) -> Mapping[Interval, Choices]:
    """Derive, for every sort, what it can be made of."""
    return MappingProxyType({sort: _choices(grammar, sort) for sort in SORTS})


def _choices(grammar: Grammar, sort: Interval) -> Choices:
    rows = [(p, w / len(made)) for op, w in grammar.operations if (made := _productions(op, sort)) for p in made]
    leaves = [(name, weight) for name, weight in grammar.terminals if _leaf_fits(name, sort)]
    return Choices(
        tuple(p for p, _ in rows), tuple(w for _, w in rows), tuple(n for n, _ in leaves), tuple(w for _, w in leaves)
    )


def _leaf_fits(name: str, sort: Interval) -> bool:
    return name == CONSTANT or TERMINALS[name].type.interval in sort


def _productions(op: str, sort: Interval) -> tuple[Production, ...]:
    """List the widest sorts of arguments for which the result is certainly of the sort."""
    if op == COMPLEMENT:
        return (Production(op, (iv.UNIT,)),) if iv.UNIT in sort else ()
    operation = OPERATIONS[op]
    rows: list[tuple[Interval, ...]] = []
    for args in product(SORTS, repeat=operation.arity):
        bound = operation.bound(*args)
        if bound is not None and bound in sort:
            rows.append(args)
    return tuple(Production(op, row) for row in rows if not any(_wider(other, row) for other in rows))


def _wider(one: tuple[Interval, ...], other: tuple[Interval, ...]) -> bool:
    return one != other and all(b in a for a, b in zip(one, other, strict=True))


def sort_of(node: Node) -> Interval:
    """Return the narrowest sort that holds a node's values."""
    return next(sort for sort in SORTS if node.type.interval in sort)


def random_constant(rng: random.Random, sort: Interval = iv.REAL) -> Node:
    """Draw a constant of a sort: mostly small round numbers, else log-uniform over 0.05 to 20."""
    if sort == iv.UNIT:
        return constant(round(rng.uniform(0.02, 0.98), 2))
    size = float(rng.choice((1, 1, 2, 2, 3, 0.5))) if rng.random() < 0.5 else float(f"{20 ** rng.uniform(-1, 1):.2g}")
    negative = sort == iv.NEGATIVE or (sort == iv.REAL and rng.random() < 0.3)
    return constant(-size if negative else size)


def random_leaf(rng: random.Random, grammar: Grammar, sort: Interval = iv.REAL) -> Node:
    """Draw a terminal or constant of a sort."""
    here = choices(grammar)[sort]
    name = rng.choices(here.leaves, here.leaf_weights)[0]
    return random_constant(rng, sort) if name == CONSTANT else terminal(name)


def grow(rng: random.Random, grammar: Grammar, size: int, sort: Interval = iv.REAL, depth: int = 10) -> Node:
    """Grow a random expression.

    Args:
        rng: where chance comes from.
        grammar: what may be used.
        size: about how many nodes it has.
        sort: one of SORTS; the values lie in it.
        depth: most levels.

    Raises:
        ProgramError: rarely, where a bound computed in floating point just misses its sort.
    """
    here = choices(grammar)[sort]
    if size < 2 or depth < 3 or not here.productions:
        return random_leaf(rng, grammar, sort)
    made = rng.choices(here.productions, here.production_weights)[0]
    return _grown(rng, grammar, size - 1, made, depth - 1)


def _grown(rng: random.Random, grammar: Grammar, size: int, made: Production, depth: int) -> Node:
    first, *rest = made.args
    if not rest:
        return _unary(made.op, grow(rng, grammar, size, first, depth))
    if made.op == "pow":
        return apply("pow", grow(rng, grammar, size - 1, first, depth), _exponent(rng, rest[0]))
    left = rng.randint(1, max(1, size - 1))
    return apply(
        made.op, grow(rng, grammar, left, first, depth), grow(rng, grammar, max(1, size - left), rest[0], depth)
    )


def _exponent(rng: random.Random, sort: Interval) -> Node:
    return constant(rng.choice([e for e in EXPONENTS if e in sort]))


def _unary(op: str, arg: Node) -> Node:
    if op == COMPLEMENT:
        return apply("sub", constant(1.0), arg)
    removed = OPERATIONS[op].removes
    if removed and removed not in arg.type.axes:
        arg = apply("mul", terminal("p"), arg)  # p varies over everything and keeps the sign
    return apply(op, arg)


def generate(rng: random.Random, grammar: Grammar) -> Node:
    """Generate a random loss: it reads the target and the prediction and keeps the grammar's limits."""
    for _ in range(TRIES):
        size = min(grammar.max_size - 4, 3 + int(rng.expovariate(1.0 / max(1, grammar.typical_size - 3))))
        try:
            program = grow(rng, grammar, size, depth=grammar.max_depth - 2)
        except ProgramError:  # bounds that round to an end the sort leaves out
            continue
        if grammar.allows(program):
            return program
    return apply("mul", terminal("y"), random_prediction(rng, grammar))


def random_prediction(rng: random.Random, grammar: Grammar) -> Node:
    """Draw a terminal that reads the prediction."""
    names = [(name, weight) for name, weight in grammar.terminals if name in PREDICTION]
    return terminal(rng.choices([n for n, _ in names], [w for _, w in names])[0])
