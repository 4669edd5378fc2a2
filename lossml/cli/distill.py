"""`lossml distill`."""

from typing import TYPE_CHECKING

import click

from lossml.cli.common import BEST, best_of, console, print_json
from lossml.cli.formula import Loss

if TYPE_CHECKING:
    from lossml.distill import Distilled, Target

ENGINES = ("gp", "operon", "pysr")


@click.command("distill")
@click.argument("loss", type=Loss())
@click.option("--tolerance", type=float, default=0.01, show_default=True, help="Disagreement that is good enough.")
@click.option("--classes", type=click.IntRange(2, 1_000), default=10, show_default=True, help="Number of classes.")
@click.option("--budget", type=int, default=40_000, show_default=True, help="Most programs evaluated.")
@click.option("--time-limit", type=float, help="Seconds after which the search ends.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same result.")
@click.option("--engine", type=click.Choice(ENGINES), default="gp", show_default=True, help="Who proposes programs.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
def command(
    loss: str,
    tolerance: float,
    classes: int,
    budget: int,
    time_limit: float | None,
    seed: int,
    engine: str,
    run: str | None,
    as_json: bool,
) -> None:
    """Find the shortest program that is the same loss as LOSS, to a tolerance.

    LOSS is "best", a name, an expression, a file, or module:attribute for a PyTorch loss of your
    own: an nn.Module or a function of (logits, target).
    """
    from lossml.distill import Limits, distill

    limits = Limits(tolerance, budget, time_limit)
    result = distill(_target(loss, run), limits=limits, classes=classes, seed=seed, engine=engine)
    if as_json:
        print_json(result)
        return
    from lossml.report.distilled import distilled_view

    console().print(distilled_view(result, _known(result)), soft_wrap=True)


def _target(loss: str, run: str | None) -> "Target":
    from lossml.distill import program_target, read_target

    if loss != BEST:
        return read_target(loss)
    found, _ = best_of(run)
    return program_target(found.program, BEST, found.scale)


def _known(result: "Distilled") -> str:
    from lossml.program import parse
    from lossml.search.known import known_as

    return "" if result.shortest is None else known_as(parse(result.shortest.formula), result.classes)
