"""`lossml benchmark`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lossml.cli.common import console, loss_named, print_json
from lossml.search.recipe import NOISE_KINDS

if TYPE_CHECKING:
    from lossml.program import Node
    from lossml.zoo import Foreign

_COMMA = re.compile(r",(?![^(]*\))")  # not inside parentheses


@click.command("benchmark")
@click.argument("task")
@click.option("--losses", help="The first is the reference.  [the baselines of a search on TASK]")
@click.option("--seeds", type=click.IntRange(2), default=5, show_default=True, help="Paired seeds.")
@click.option("--learning-rates", default="0.3,1,3", show_default=True, help="Multiples every loss is tuned over.")
@click.option(
    "--label-noise", type=click.FloatRange(0.0, 0.95), default=0.0, help="Share of training labels made wrong."
)
@click.option(
    "--label-noise-kind",
    type=click.Choice(NOISE_KINDS),
    default="symmetric",
    show_default=True,
    help="Wrong labels: any, or the next.",
)
@click.option("--train-size", type=click.IntRange(0), default=0, help="Labelled training samples; 0 for all.")
@click.option("--long-tail", type=click.FloatRange(1.0), default=1.0, help="Imbalance ratio of the training split.")
@click.option("--objective", help="What is compared.  [the objective of a search on TASK]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Shifts all seeds.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("-o", "--output", help="Folder for plan, trainings and tables.  [benchmark-TASK]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--workers", type=click.IntRange(0), help="Processes; 0 trains in this one.")
@click.option("--data-root", help="Folder of the data sets.  [LOSSML_DATA, or a cache]")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
def command(
    task: str,
    losses: str | None,
    seeds: int,
    learning_rates: str,
    label_noise: float,
    label_noise_kind: str,
    train_size: int,
    long_tail: float,
    objective: str | None,
    seed: int,
    run: str | None,
    output: str | None,
    device: str,
    workers: int | None,
    data_root: str | None,
    as_json: bool,
) -> None:
    """Compare losses on TASK by full training, with tuned learning rates and paired seeds."""
    from lossml.benchmark import Entrant, benchmark
    from lossml.proxy import TaskSpec
    from lossml.report.live import LiveView, PlainView
    from lossml.report.tables import comparison_table
    from lossml.search.recipe import make_recipe
    from lossml.search.trainings import Design

    given = {} if objective is None else {"objective": objective}
    recipe = make_recipe({"dataset": task, "long_tail": long_tail, **given})
    names = recipe.baselines if losses is None else [name.strip() for name in _COMMA.split(losses) if name.strip()]
    entrants = [Entrant(name, _loss(name, run)) for name in names]
    design = Design(seeds, _rates(learning_rates), recipe.objective, seed=seed)
    folder = Path(output or f"benchmark-{re.sub(r'[^A-Za-z0-9.]+', '-', task)}")
    screen = console(stderr=True)
    try:
        with (LiveView if screen.is_terminal and not as_json else PlainView)(screen) as view:
            spec = TaskSpec(task, data_root, label_noise, long_tail, noise_kind=label_noise_kind, train_size=train_size)
            found = benchmark(spec, entrants, design, folder, device=device, workers=workers, listener=view)
    except KeyboardInterrupt:
        click.echo("Stopped. What is trained is kept; the same command goes on.", err=True)
        sys.exit(130)
    if as_json:
        print_json(found)
        return
    console().print(comparison_table(found))
    console().print(f"Plan, trainings and tables: {folder}", markup=False)


def _loss(name: str, run: str | None) -> "Node | Foreign":
    from lossml import zoo

    return zoo.contender(name) if name in zoo.FOREIGN else loss_named(name, run)[0]


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no list of numbers such as 0.3,1,3", param_hint="--learning-rates"
        ) from error
    if not all(0 < rate < 1e6 for rate in rates):
        raise click.BadParameter(f"{text!r} holds a number that is not positive", param_hint="--learning-rates")
    return rates
