"""`lossml inspect`."""

from typing import TYPE_CHECKING, Any

import click

from lossml.cli.common import console, loss_named, print_json

if TYPE_CHECKING:
    from lossml.program import Node

CLASSES = (2, 10, 100, 1000)


@click.command("inspect")
@click.argument("loss")
@click.option("--classes", type=click.IntRange(2, 10_000), default=10, show_default=True, help="Number of classes.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("--json", "as_json", is_flag=True, help="Write what was found as JSON to standard output.")
def command(loss: str, classes: int, run: str | None, as_json: bool) -> None:
    """Say what is known of LOSS: "best", a name, an expression, or a file."""
    program, _, origin = loss_named(loss, run)
    facts = {"origin": origin, **_facts(program, classes)}
    if as_json:
        print_json(facts)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        table.add_row(Text(name, style="bold"), Text(str(value)))
    console().print(table)


def _facts(program: "Node", classes: int) -> dict[str, Any]:
    from lossml import algebra
    from lossml.backend import gradient_scale, make_probe, screen
    from lossml.program import show
    from lossml.search.known import known_as, same_loss

    (screened,) = screen([program], make_probe(classes))
    short = algebra.shorten(program, same=lambda a, b: same_loss(a, b, classes))
    scales = {c: float(gradient_scale([program], c)[0]) for c in CLASSES}
    return {
        "formula": show(program),
        "shorter": show(short) if short != program else "none found",
        "size": f"{program.size} nodes on {program.depth} levels",
        "LaTeX": algebra.latex(program),
        "dL/dp": algebra.derivative(program) or "not found in time",
        "known as": known_as(program, classes) or "no loss of the zoo",
        "screens": screened.rejection.value if screened.rejection else f"passes at {classes} classes",
        "gradient": ", ".join(f"{1 / scale:.3g} at {c} classes" for c, scale in scales.items())
        + " (at the start, cross-entropy is 1)",
    }
