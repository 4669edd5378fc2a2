"""Hall-of-fame files of PySR: columns Complexity, Loss and Equation, read into our language.

An equation's variables must be the language's terminals (y, p, logp, ...): PySR takes their names
from the columns of its data. Julia's operators are read as what they mean where they are defined;
an equation that the types do not allow, such as a logarithm of what may be negative, is left out
with the reason. Nothing is ever evaluated.
"""

import csv
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from lossml.errors import ProgramError, UsageError
from lossml.program import Node, apply, constant, parse

LARGEST = 1_000_000  # characters read of a file
MOST = 1_000  # rows of a file; a hall of fame has one for each complexity
COLUMNS = ("complexity", "loss", "equation")
_JULIA_FLOAT = re.compile(r"(?<=[\d.])f(?=[+-]?\d)")  # 1.0f-5 is a Float32

ONE, ZERO = constant(1.0), constant(0.0)


def _logarithm(base: float) -> Callable[[Node], Node]:
    return lambda a: apply("div", apply("log", a), constant(math.log(base)))


JULIA: Mapping[str, Callable[..., Node]] = MappingProxyType(
    {
        "cube": lambda a: apply("pow", a, constant(3.0)),
        "inv": lambda a: apply("div", ONE, a),
        "neg": lambda a: apply("neg", a),
        "plus": lambda a, b: apply("add", a, b),
        "sub": lambda a, b: apply("sub", a, b),
        "mult": lambda a, b: apply("mul", a, b),
        "div": lambda a, b: apply("div", a, b),
        "pow": lambda a, b: apply("pow", a, b),
        "pow_abs": lambda a, b: apply("pow", apply("abs", a), b),
        "safe_pow": lambda a, b: apply("pow", a, b),
        "safe_log": lambda a: apply("log", a),
        "safe_sqrt": lambda a: apply("sqrt", a),
        "log1p": lambda a: apply("log", apply("add", ONE, a)),
        "log2": _logarithm(2.0),
        "log10": _logarithm(10.0),
        "relu": lambda a: apply("max", a, ZERO),
        "sigmoid": lambda a: apply("div", ONE, apply("add", ONE, apply("exp", apply("neg", a)))),
    }
)
"""Operators of PySR that our language writes otherwise."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that could be read.

    Attributes:
        complexity: as PySR counts it.
        loss: PySR's own, on its data.
        program: the equation.
    """

    complexity: int
    loss: float
    program: Node


@dataclass(frozen=True, slots=True)
class HallOfFame:
    """A file's rows, and why the others could not be read, a sentence each."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]


def read_hall_of_fame(path: str | Path) -> HallOfFame:
    """Read a hall-of-fame file.

    Raises:
        UsageError: where it cannot be read, is no such file, or holds no equation of our language.
    """
    place = Path(path).expanduser()
    found = parse_hall_of_fame(_text_of(place), str(path))
    if not found.entries:
        reason = found.left_out[0] if found.left_out else "it has no rows"
        raise UsageError(
            f"{path} holds no equation that is a loss: {reason}; name the columns of PySR's data y, p, logp"
        )
    return found


def _text_of(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}") from error
    if len(text) > LARGEST:
        raise UsageError(f"{path} is larger than {LARGEST // 1000} kB; no hall of fame is")
    return text


def parse_hall_of_fame(text: str, name: str) -> HallOfFame:
    """Read the text of a hall-of-fame file; `name` is for messages."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    header = [cell.strip().strip('"').lower() for cell in lines[0].split(_delimiter(lines[0]))] if lines else []
    if not set(COLUMNS) <= set(header):
        raise UsageError(f"{name} is no hall of fame: its first line must name Complexity, Loss and Equation")
    if len(lines) > MOST:
        raise UsageError(f"{name} has {len(lines)} lines; at most {MOST} are read")
    places = [header.index(column) for column in COLUMNS]
    return _collected(csv.reader(lines[1:], delimiter=_delimiter(lines[0]), skipinitialspace=True), places, name)


def _delimiter(line: str) -> str:
    return "|" if "|" in line else ","  # PySR's files before version 0.7 have bars


def _collected(rows: Iterable[list[str]], places: list[int], name: str) -> HallOfFame:
    entries: list[Entry] = []
    left_out: list[str] = []
    for number, row in enumerate(rows, 2):
        try:
            entries.append(_entry(row, places))
        except (ProgramError, ValueError, IndexError) as error:
            left_out.append(f"line {number} of {name} is left out: {error}")
    return HallOfFame(tuple(entries), tuple(left_out))


def _entry(row: list[str], places: list[int]) -> Entry:
    if max(places) >= len(row):
        raise ProgramError(f"it has {len(row)} columns")
    complexity, loss, equation = (row[place] for place in places)
    return Entry(int(complexity), float(loss), equation_of(equation))


def equation_of(text: str) -> Node:
    """Read an equation as PySR or Operon writes it; a ProgramError says what in it is no part of our language."""
    return parse(_JULIA_FLOAT.sub("e", text), JULIA)
