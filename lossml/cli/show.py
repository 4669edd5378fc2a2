"""`lossml show`."""

import click

from lossml.cli.common import console, print_json


@click.command("show")
@click.argument("run", required=False)
@click.option("--count", type=click.IntRange(1), default=10, show_default=True, help="How many trials are listed.")
@click.option("--json", "as_json", is_flag=True, help="Write everything as JSON to standard output.")
def command(run: str | None, count: int, as_json: bool) -> None:
    """Show the best losses and the verdict of a run: RUN, or the latest."""
    from rich.text import Text

    from lossml.report import tables
    from lossml.search.reading import find_run, load_run

    record = load_run(find_run(run))
    if as_json:
        print_json(record)
        return
    out = console()
    out.print(Text(f"{record.path}: {record.recipe.dataset}, {len(record.trials)} of {record.recipe.budget} trials"))
    if record.verdict is not None:
        out.print(tables.verdict_view(record.verdict))
    else:
        out.print(Text(f"No verdict yet; lossml search --resume {record.path} goes on.", style="yellow"))
    if record.tasks:
        out.print(tables.tasks(record.tasks, record.recipe.objective))
    out.print(tables.states(record.trials))
    out.print(tables.rejected(record.rejections))
    out.print(tables.rungs(record.summary))
    if record.summary.control is not None:
        out.print(tables.control(record.summary.control, record.recipe.aim))
    out.print(tables.leaderboard(record.trials, record.recipe, count))
    out.print(tables.front(record.summary, record.recipe.aim))
    out.print(tables.failures(record.trials))
