"""Reading a loss that a person names: a zoo name, an expression, or a file."""

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lossml import zoo
from lossml.backend.module import ProgramLoss
from lossml.backend.source import FORMULA, SCALE
from lossml.errors import ProgramError, UsageError
from lossml.program import Node, parse
from lossml.program.text import MAX_TEXT
from lossml.resources import is_file

LARGEST_FILE = 16 * MAX_TEXT  # bytes; an exported module is a formula and some runtime


@dataclass(frozen=True, slots=True)
class Named:
    """A program and the factor it was saved with."""

    program: Node
    scale: float = 1.0


def read_loss(what: str) -> Named:
    """Read a zoo name such as "focal(gamma=1.5)", an expression, or a file.

    A file holds an expression, or is a module written by `lossml export`. Nothing in it is run:
    its "Formula:" line is parsed.

    Raises:
        UsageError: where it is none of these, with what is closest.
    """
    if _head(what) in zoo.names():
        return Named(zoo.program_of(what))
    if _names_file(what):
        return _from_file(Path(what))
    return Named(_expression(what))


def read_program(what: str) -> Node:
    """Read the program of a loss; see `read_loss`."""
    return read_loss(what).program


def load(what: str, **options: Any) -> ProgramLoss:  # noqa: ANN401 - ProgramLoss's own arguments
    """Load a loss by zoo name, expression or file, ready for training.

    Args:
        what: "gce", "focal(gamma=1.5)", "-sum_C(y*logp)", or a file that `lossml export` wrote.
        **options: of `ProgramLoss`: reduction, weight, ignore_index, prior, scale.

    Raises:
        UsageError: where `what` is no known name, no expression and no file.
    """
    found = read_loss(what)
    return ProgramLoss(found.program, **{"scale": found.scale, **options})


def _head(what: str) -> str:
    return what.split("(", 1)[0].strip()


def _names_file(what: str) -> bool:
    """A file is meant by its ending or by a path sign that no expression holds, or because it is there."""
    if len(what) > 1_000 or "\0" in what:
        return False
    return (
        what.endswith((".py", ".txt", ".loss"))
        or what.startswith(("." + os.sep, ".." + os.sep, "~", os.sep))
        or is_file(Path(what))
    )


def _from_file(path: Path) -> Named:
    text = _text_of(path.expanduser())
    lines = text.splitlines()
    formulas = [line[len(FORMULA) :] for line in lines if line.startswith(FORMULA)]
    if formulas:
        scales = [line[len(SCALE) :] for line in lines if line.startswith(SCALE)]
        return Named(parse(formulas[0]), _number(scales[0], path) if scales else 1.0)
    if path.suffix == ".py":
        raise UsageError(f'{path} has no line "{FORMULA}..."; give a file that `lossml export` wrote, or an expression')
    return Named(parse(text.strip()))


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise UsageError(f"{path} is larger than {LARGEST_FILE // 1000} kB; no loss file is")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text file; give an expression or a file that `lossml export` wrote") from error


def _number(text: str, path: Path) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f'{path}: "{SCALE}{text}" is not a number') from error


def _expression(what: str) -> Node:
    try:
        return parse(what)
    except ProgramError as error:
        if not what.replace("-", "").replace("_", "").replace("+", "").isalnum():
            raise
        near = get_close_matches(what, zoo.names(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "; `lossml losses` lists the names"
        raise UsageError(f"{what!r} is neither a known loss, an expression nor a file{hint}") from error
