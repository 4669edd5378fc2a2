"""Which values a loss can take at a given number of classes, by interval arithmetic."""

from lossml.program import OPERATIONS, Axes, Node, fold
from lossml.program import interval as iv
from lossml.program.interval import Interval
from lossml.program.tree import CONST

SUMS = {"sum_C", "sum_B", "sum_X"}


def interval_of(program: Node, classes: int, pixels: int) -> Interval:
    """Bound a program's loss for one image of that many pixels.

    The language's own types bound a program for any number of classes, where a sum has no size. Here
    the number is known, so a sum of bounded values is bounded.
    """
    counts = {Axes.CLASS: classes, Axes.BATCH: 1, Axes.PIXEL: pixels}

    def visit(node: Node, args: tuple[Interval, ...]) -> Interval:
        if node.op == "C":
            return iv.of(classes, classes)
        if node.op == CONST or not args:
            return node.type.interval
        found = OPERATIONS[node.op].bound(*args)
        if node.op in SUMS:
            found = times(args[0], counts[OPERATIONS[node.op].removes])
        return node.type.interval if found is None else _narrower(found, node.type.interval)

    whole = fold(program, visit)
    return times(whole, classes) if Axes.CLASS in program.type.axes else whole


def times(values: Interval, count: int) -> Interval:
    """Bound a sum of that many values."""
    return iv.mul(values, iv.of(count, count))


def _narrower(one: Interval, other: Interval) -> Interval:
    """Intersect two bounds of the same values."""
    low, low_open = max((one.low, one.low_open), (other.low, other.low_open))
    high, closed = min((one.high, not one.high_open), (other.high, not other.high_open))
    return iv.of(low, high, low_open=low_open, high_open=not closed)
