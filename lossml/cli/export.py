"""`lossml export`."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lossml.cli.common import loss_named
from lossml.cli.formula import Loss
from lossml.errors import UsageError

if TYPE_CHECKING:
    from lossml.program import Node

FORMATS = ("torch", "triton", "jax", "onnx", "latex", "sympy", "json")
NAMED = ("torch", "triton", "jax")  # formats that hold a class or a function
HEADER = """A loss function, written by LossML {lossml}.

Origin: {origin}
{needs}
Licence: this file may be used, changed and passed on without conditions (0BSD)."""

NEEDS = {
    "torch": "Versions: torch {torch}; it needs torch alone.",
    "triton": "Versions: torch {torch}; it needs torch and triton, and runs as kernels of its own on a GPU.",
    "jax": "It needs jax alone.",
    "onnx": "Versions: written by torch {torch}.",
}


@click.command("export")
@click.argument("loss", type=Loss())
@click.option("--format", "kind", type=click.Choice(FORMATS), default="torch", show_default=True, help="What to write.")
@click.option("-o", "--output", help="File to write; standard output where left out.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("--name", help="Name of the torch or Triton class or JAX function.  [Loss, loss]")
@click.option("--pixel-axes", type=click.IntRange(0, 3), help="Axes of an ONNX graph's logits behind (B, C).")
def command(
    loss: str, kind: str, output: str | None, run: str | None, name: str | None, pixel_axes: int | None
) -> None:
    """Write LOSS: "best", a name such as "focal(gamma=1.5)", an expression, or a file."""
    if kind == "onnx" and output is None:
        raise UsageError("an ONNX model is no text; name its file with -o")
    if pixel_axes is not None and kind != "onnx":
        raise UsageError(f"--pixel-axes is for --format onnx; a loss in {kind} takes logits of any number of axes")
    if name is not None and kind not in NAMED:
        raise UsageError(f"--name is for --format {' or '.join(NAMED)}; a loss in {kind} has no name")
    program, scale, origin = loss_named(loss, run)
    text = _written(kind, program, scale, origin, name, pixel_axes)
    if output is None:
        click.echo(text, nl=False)
        return
    from lossml.search.folder import write_atomically

    write_atomically(Path(output).expanduser(), text)
    click.echo(f"Wrote {output}: {origin}.", err=True)


def _written(
    kind: str, program: "Node", scale: float, origin: str, name: str | None, pixel_axes: int | None
) -> str | bytes:
    if kind in NEEDS:
        from lossml import backend

        header = HEADER.format(lossml=version("lossml"), origin=origin, needs=NEEDS[kind].format(torch=_torch()))
        if kind == "torch":
            return backend.torch_source(program, header=header, name=name or "Loss", scale=scale)
        if kind == "triton":
            return backend.triton_source(program, header=header, name=name or "Loss", scale=scale)
        if kind == "jax":
            return backend.jax_source(program, header=header, name=name or "loss", scale=scale)
        return backend.onnx_model(program, header=header, scale=scale, pixel_axes=pixel_axes)
    if kind == "json":
        return _as_json(program, scale, origin)
    from lossml import algebra

    return f"{algebra.latex(program) if kind == 'latex' else algebra.sympy_text(program)}\n"


def _torch() -> str:
    return version("torch").split("+")[0]


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
