"""`lossml data`."""

import click

from lossml.cli.common import console, print_json


@click.command("data")
@click.option("--data-root", help="Folder of the data sets.  [LOSSML_DATA, or a cache]")
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON to standard output.")
def command(data_root: str | None, as_json: bool) -> None:
    """List the data sets: what is there and how to get the rest."""
    from lossml.benchmark import sources
    from lossml.proxy import datasets_status

    rows = [*datasets_status(data_root), *sources.status(data_root)]
    if as_json:
        print_json(rows)
        return
    from lossml.report.tables import data_table

    console().print(data_table(rows))
