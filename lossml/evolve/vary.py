"""Variation: typed crossover and mutations. Each gives a new program, or None where it found none that fits."""

import random
from collections.abc import Callable, Iterator

from lossml.errors import ProgramError
from lossml.program import OPERATIONS, Node, Path, apply, constant, nodes, replace
from lossml.program.grammar import Grammar, grow, random_leaf, sort_of
from lossml.program.tree import CONST

TRIES = 8
SPREAD = 0.3  # of a constant's logarithm
NEW_SIZE = 6  # mean nodes of a new subtree

Mutation = Callable[[random.Random, Grammar, Node], Node | None]


def changed(rng: random.Random, grammar: Grammar, tree: Node, change: Callable[[Path, Node], Node]) -> Node | None:
    """Change a random node until the result is well typed, within the limits and another program."""
    places = list(nodes(tree))
    for _ in range(TRIES):
        path, node = rng.choice(places)
        try:
            child = replace(tree, path, change(path, node))
        except ProgramError:
            continue
        if child != tree and grammar.allows(child):
            return child
    return None


def crossover(rng: random.Random, grammar: Grammar, mother: Node, father: Node) -> Node | None:
    """Put a random part of the father in a random place of the mother."""
    parts = [node for _, node in nodes(father)]
    return changed(rng, grammar, mother, lambda _path, _node: rng.choice(parts))


def mutate_subtree(rng: random.Random, grammar: Grammar, tree: Node) -> Node | None:
    """Replace a random part by a new one of the same sort."""

    def change(path: Path, node: Node) -> Node:
        size = 1 + int(rng.expovariate(1.0 / NEW_SIZE))
        return grow(rng, grammar, size, sort_of(node), grammar.max_depth - len(path))

    return changed(rng, grammar, tree, change)


def mutate_point(rng: random.Random, grammar: Grammar, tree: Node) -> Node | None:
    """Replace one operation by another with as many arguments, or one leaf by another."""

    def change(_path: Path, node: Node) -> Node:
        if not node.args:
            return random_leaf(rng, grammar, sort_of(node))
        return apply(rng.choice(_alike(grammar, node.op)), *node.args)

    return changed(rng, grammar, tree, change)


def _alike(grammar: Grammar, op: str) -> list[str]:
    arity = OPERATIONS[op].arity
    names = [name for name, _ in grammar.operations if name in OPERATIONS]
    return [name for name in names if OPERATIONS[name].arity == arity] or [op]


def hoist(rng: random.Random, grammar: Grammar, tree: Node) -> Node | None:
    """Replace a random part by a part of itself: the program gets shorter."""

    def change(_path: Path, node: Node) -> Node:
        parts = [part for path, part in nodes(node) if path]
        return rng.choice(parts) if parts else node

    return changed(rng, grammar, tree, change)


def insert(rng: random.Random, grammar: Grammar, tree: Node) -> Node | None:
    """Put a random operation around a random part."""

    def change(_path: Path, node: Node) -> Node:
        names = [name for name, _ in grammar.operations if name in OPERATIONS]
        op = rng.choice(names)
        others = [random_leaf(rng, grammar)] if OPERATIONS[op].arity == 2 else []
        args = [node, *others]
        rng.shuffle(args)
        return apply(op, *args)

    return changed(rng, grammar, tree, change)


def mutate_constant(rng: random.Random, grammar: Grammar, tree: Node) -> Node | None:
    """Multiply one constant by a log-normal factor; None where the program has none."""
    places = list(_constants(tree))
    if not places:
        return None
    for _ in range(TRIES):
        path, value = rng.choice(places)
        factor = rng.lognormvariate(0.0, SPREAD)
        moved = value * factor if value else rng.gauss(0.0, SPREAD)
        try:
            child = replace(tree, path, constant(float(f"{moved:.3g}")))
        except ProgramError:
            continue
        if child != tree and grammar.allows(child):
            return child
    return None


def _constants(tree: Node) -> Iterator[tuple[Path, float]]:
    for path, node in nodes(tree):
        if node.op == CONST:
            yield path, node.value


MUTATIONS: tuple[tuple[str, Mutation, float], ...] = (
    ("subtree", mutate_subtree, 3.0),
    ("point", mutate_point, 3.0),
    ("insert", insert, 2.0),
    ("hoist", hoist, 2.0),
    ("constant", mutate_constant, 2.0),
)


def mutate(rng: random.Random, grammar: Grammar, tree: Node) -> tuple[str, Node | None]:
    """Apply one of the mutations, drawn by weight; gives its name and the result."""
    name, mutation, _ = rng.choices(MUTATIONS, [weight for _, _, weight in MUTATIONS])[0]
    return name, mutation(rng, grammar, tree)
