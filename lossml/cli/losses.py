"""`lossml losses`."""

import click

from lossml.cli.common import console, print_json


@click.command("losses")
@click.option("--json", "as_json", is_flag=True, help="Write the list as JSON to standard output.")
def command(as_json: bool) -> None:
    """List the published losses that can be used by name."""
    from lossml import zoo

    entries = list(zoo.ENTRIES.values())
    if as_json:
        rows = ({"name": e.name, "kind": e.kind, "formula": e.text(), "source": e.source} for e in entries)
        print_json(list(rows))
        return
    from lossml.report.tables import zoo_table

    console().print(zoo_table(entries))
