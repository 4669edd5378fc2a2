"""Rewriting programs: turning their sign, numbering and setting their constants, making them shorter."""

from collections.abc import Iterator, Sequence

from lossml.errors import ProgramError
from lossml.program import Node, apply, constant, nodes, replace, show, terminal
from lossml.program.grammar import PREDICTION
from lossml.program.tree import CONST, fold, rebuild, with_args

Skeleton = tuple[object, ...]
LEAVES = ("y", "p", "logp")


def negated(node: Node) -> Node:
    """Write the negative of a program as shortly as its form allows."""
    if node.op == "neg":
        return node.args[0]
    if node.op == "sub":
        return apply("sub", node.args[1], node.args[0])
    if node.op == CONST:
        return constant(-node.value)
    if node.op == "add" and CONST in (node.args[0].op, node.args[1].op):
        first, second = node.args if node.args[0].op == CONST else node.args[::-1]
        return apply("sub", negated(first), second)
    if node.op in {"mul", "div", "sum_C", "mean_C", "sum_B", "mean_B"}:
        return _negated_part(node)
    return apply("neg", node)


def _negated_part(node: Node) -> Node:
    turned = [negated(arg) for arg in node.args]
    place = min(range(len(turned)), key=lambda i: turned[i].size - node.args[i].size)
    try:
        return apply(node.op, *(turned[i] if i == place else arg for i, arg in enumerate(node.args)))
    except ProgramError:  # a bound that only the other sign keeps
        return apply("neg", node)


def tidied(tree: Node) -> Node:
    """Write -a - c as -c - a, which is the same number and a node shorter."""
    if not any(_is_untidy(node) for _, node in nodes(tree)):
        return tree
    return rebuild(tree, lambda node, args: _tidied(with_args(node, args)))


def _is_untidy(node: Node) -> bool:
    return node.op == "sub" and node.args[0].op == "neg" and node.args[1].op == CONST


def _tidied(node: Node) -> Node:
    return apply("sub", negated(node.args[1]), node.args[0].args[0]) if _is_untidy(node) else node


def skeleton(tree: Node) -> Skeleton:
    """Return the program without its numbers: equal for programs that differ in constants alone."""
    return fold(tree, lambda node, args: (node.op, *args))


def constants(tree: Node) -> list[float]:
    """Return the values of the constants, from left to right."""
    return [node.value for _, node in nodes(tree) if node.op == CONST]


def with_constants(tree: Node, values: Sequence[float]) -> Node:
    """Give a program other constants, left to right; a ProgramError where the types do not fit."""
    left = iter(values)

    def visit(node: Node) -> Node:
        if node.op == CONST:
            return constant(next(left))
        return apply(node.op, *[visit(arg) for arg in node.args]) if node.args else node

    return visit(tree)


def numbered(tree: Node, first: int) -> Node:
    """Give each constant a number of its own from `first` on, unchecked: only for laying out an evaluation."""
    left = iter(range(first, first + tree.size))

    def visit(node: Node) -> Node:
        if node.op == CONST:
            return Node(CONST, (), float(next(left)), node.type, 1, 1)
        return Node(node.op, tuple(visit(arg) for arg in node.args), 0.0, node.type, node.size, node.depth)

    return visit(tree)


def shorter_forms(tree: Node) -> Iterator[Node]:
    """Yield every program that comes of leaving something out: a part replaced by one of its parts, or by a leaf."""
    for path, node in nodes(tree):
        try:
            parts = list(_smaller(node))
        except ProgramError:  # a sign that the types do not allow
            continue
        for part in parts:
            try:
                yield replace(tree, path, part)
            except ProgramError:
                continue


def _smaller(node: Node) -> Iterator[Node]:
    if not node.args:
        return
    for arg in node.args:
        yield arg
        yield from arg.args
    yield constant(1.0)
    if node.size > 2:
        yield from (terminal(name) for name in LEAVES)
        if node.op == "sub":
            yield negated(node.args[1])
        if node.op in {"mul", "div"}:
            yield apply(node.op, negated(node.args[0]), negated(node.args[1]))


def reads_prediction(tree: Node) -> bool:
    """Say whether a program reads the prediction at all."""
    return any(node.op in PREDICTION for _, node in nodes(tree))


def order(tree: Node) -> tuple[int, int, str]:
    """Order programs from short to long, the same on every machine."""
    text = show(tree)
    return tree.size, len(text), text
