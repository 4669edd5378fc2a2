"""What commands share: consoles, JSON, run folders, losses by name."""

import json
import math
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console

if TYPE_CHECKING:
    from pathlib import Path

    from lossml.program import Node
    from lossml.search.reading import Best

BEST = "best"


def console(*, stderr: bool = False) -> Console:
    """Return a console; wide enough for a table where it is no terminal."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=max(120, made.width))


def interrupt_on_termination() -> None:
    """Take a SIGTERM as Ctrl-C, so that what is open is closed."""
    signal.signal(signal.SIGTERM, _stop)


def _stop(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def print_json(value: object) -> None:
    """Write one JSON document to standard output."""
    from lossml.search.records import as_json

    json.dump(_finite(as_json(value)), sys.stdout, indent=2, allow_nan=False, default=str)
    sys.stdout.write("\n")


def _finite(value: object) -> object:
    """Write numbers that JSON does not have, such as the value of a loss that overflows, as null."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def best_of(run: str | None) -> "tuple[Best, Path]":
    """Return the best loss of a run, warning where it is not confirmed."""
    from lossml.search.reading import best, find_run, load_run

    path = find_run(run)
    found = best(load_run(path))
    if not found.confirmed:
        click.echo(f"Warning: trial {found.trial} of {path}: {found.note}", err=True)
    return found, path


def loss_named(what: str, run: str | None = None) -> "tuple[Node, float, str]":
    """Return the program, scale and origin of a loss: "best", a zoo name, an expression or a file."""
    if what == BEST:
        found, path = best_of(run)
        state = "confirmed" if found.confirmed else "not confirmed"
        return found.program, found.scale, f"trial {found.trial} of {path} ({state})"
    from lossml.backend.load import read_loss

    named = read_loss(what)
    return named.program, named.scale, "given as " + (what if len(what) < 80 else "an expression")
