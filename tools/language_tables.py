"""Write the tables of docs/language.md from the language itself.

    python tools/language_tables.py

tests/test_docs.py compares the page with what this would write.
"""

import re
from itertools import product
from pathlib import Path

from loss_pages import table

from lossml.program import OPERATIONS, TERMINALS, Axes, Operation
from lossml.program import interval as iv
from lossml.program.grammar import SORTS
from lossml.program.interval import Interval

PAGE = Path(__file__).resolve().parent.parent / "docs" / "language.md"
AXES = {Axes.ELEMENT: "element", Axes.CLASS: "class", Axes.SCALAR: "scalar"}
REDUCED = {Axes.CLASS: "classes", Axes.BATCH: "batch", Axes.PIXEL: "pixels"}
PROTECTED = frozenset({"rsqrt1p", "logabs"})


def terminals() -> str:
    """Write the table of terminals."""
    rows = [(f"`{t.name}`", AXES[t.type.axes], str(t.type.interval), t.meaning) for t in TERMINALS.values()]
    return table([("name", "varies over", "values", "meaning"), *rows])


def elementwise() -> str:
    """Write the table of operations on each value by itself."""
    head = ("written", "arity", "arguments", "result", "of (0, 1)", "meaning", "protected")
    return table([head, *(_elementwise(op) for op in OPERATIONS.values() if not op.removes)])


def aggregates() -> str:
    """Write the table of operations along an axis."""
    head = ("written", "arity", "reduces", "result", "of (0, 1)", "meaning")
    return table([head, *(_aggregate(op) for op in OPERATIONS.values() if op.removes)])


def _elementwise(op: Operation) -> tuple[str, ...]:
    protected = "by its meaning" if op.name in PROTECTED else "no"
    rule = op.rule or "any"
    return (f"`{_written(op)}`", str(op.arity), rule, *_results(op), op.meaning, protected)


def _aggregate(op: Operation) -> tuple[str, ...]:
    return (f"`{_written(op)}`", str(op.arity), REDUCED[op.removes], *_results(op), op.meaning)


def _written(op: Operation) -> str:
    if not op.sign:
        return f"{op.name}({', '.join('ab'[: op.arity])})"
    return f"a {op.sign} b" if op.arity > 1 else f"{op.sign}a"


def _results(op: Operation) -> tuple[str, str]:
    """Give the bounds of the result for the widest arguments that are taken, and for arguments in (0, 1)."""
    found = [op.bound(*args) for args in product(SORTS, repeat=op.arity)]
    widest = next(bound for bound in found if bound is not None and _holds(bound, found))
    return str(widest), str(op.bound(*[iv.UNIT] * op.arity))


def _holds(bound: Interval, others: list[Interval | None]) -> bool:
    return all(other is None or other in bound for other in others)


TABLES = {"terminals": terminals, "operations": elementwise, "aggregates": aggregates}


def with_tables(text: str) -> str:
    """Put the tables into the page."""
    for name, write in TABLES.items():
        pattern = rf"(?<=<!-- table of {name} -->\n\n).*?(?=\n\n<!-- end of table -->)"
        text = re.sub(pattern, lambda _, write=write: write(), text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
