"""`lossml report`."""

from time import monotonic

import click

PATIENCE = 2.0  # seconds after which a person wants to know


@click.command("report")
@click.argument("run", required=False)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="File to write.  [report.html in the run's folder]"
)
@click.option(
    "--cards", type=click.IntRange(0, 20), default=3, show_default=True, help="How many losses are described."
)
def command(run: str | None, output: str | None, cards: int) -> None:
    """Write a run as one HTML file to send to a colleague: RUN, or the latest."""
    began = monotonic()

    def say(doing: str) -> None:
        if monotonic() - began > PATIENCE:
            click.echo(f"{doing} ...", err=True)

    from lossml.report.write import write_report

    path = write_report(run, output, cards=cards, listener=say)
    click.echo(
        f"Wrote {path}, {path.stat().st_size / 1e6:.1f} MB; it opens in any browser and needs no network.", err=True
    )
