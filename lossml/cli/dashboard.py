"""`lossml dashboard`."""

from time import monotonic
from typing import TYPE_CHECKING

import click

from lossml.cli.common import interrupt_on_termination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lossml.search.records import Trial

PATIENCE = 2.0  # seconds between two lines of progress


@click.command("dashboard")
@click.argument("run", required=False)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 for any free one."
)
def command(run: str | None, port: int) -> None:
    """Show a run in optuna-dashboard, with formulas and curves: RUN, or the latest. Ctrl-C stops it."""
    from lossml.search import dashboard

    dashboard.needs_dashboard()
    from lossml.report.trial_plots import trial_plots
    from lossml.report.write import classes_of
    from lossml.search.reading import find_run, load_run

    record = load_run(find_run(run))
    classes, told = classes_of(record), monotonic()

    def draw(trial: "Trial") -> "Mapping[str, str]":
        nonlocal told
        if monotonic() - told > PATIENCE:
            told = monotonic()
            click.echo(f"drawing trial {trial.number} of {len(record.trials)} ...", err=True)
        return trial_plots(trial, classes)

    interrupt_on_termination()
    try:
        dashboard.serve(record, draw, port, lambda address: click.echo(f"{record.path}: {address}  (Ctrl-C stops)"))
    except KeyboardInterrupt:
        click.echo("Stopped. The run is as it was.", err=True)
