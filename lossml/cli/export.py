"""`lossml export`."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lossml.cli.common import loss_named

if TYPE_CHECKING:
    from lossml.program import Node

FORMATS = ("torch", "latex", "sympy", "json")
HEADER = """A loss function, written by LossML {lossml}.

Origin: {origin}
Versions: torch {torch}; it needs torch alone.
Licence: this file may be used, changed and passed on without conditions (0BSD)."""


@click.command("export")
@click.argument("loss")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="torch", show_default=True, help="What to write.")
@click.option("-o", "--output", help="File to write; standard output where left out.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("--name", default="Loss", show_default=True, help="Name of the torch class.")
def command(loss: str, kind: str, output: str | None, run: str | None, name: str) -> None:
    """Write LOSS: "best", a name such as "focal(gamma=1.5)", an expression, or a file."""
    program, scale, origin = loss_named(loss, run)
    text = _written(kind, program, scale, origin, name)
    if output is None:
        click.echo(text, nl=False)
        return
    from lossml.search.folder import write_atomically

    write_atomically(Path(output).expanduser(), text)
    click.echo(f"Wrote {output}: {origin}.", err=True)


def _written(kind: str, program: "Node", scale: float, origin: str, name: str) -> str:
    if kind == "torch":
        from lossml.backend import torch_source

        header = HEADER.format(lossml=version("lossml"), torch=version("torch").split("+")[0], origin=origin)
        return torch_source(program, header=header, name=name, scale=scale)
    if kind == "json":
        return _as_json(program, scale, origin)
    from lossml import algebra

    return f"{algebra.latex(program) if kind == 'latex' else algebra.sympy_text(program)}\n"


def _as_json(program: "Node", scale: float, origin: str) -> str:
    from lossml.program import show, structure_key

    found = {
        "formula": show(program),
        "scale": scale,
        "size": program.size,
        "key": structure_key(program),
        "origin": origin,
        "lossml": version("lossml"),
    }
    return json.dumps(found, indent=2) + "\n"
