"""`lossml inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lossml.cli.common import BEST, best_of, console, print_json
from lossml.cli.formula import Loss

if TYPE_CHECKING:
    from lossml.backend.load import Named


@click.command("inspect")
@click.argument("loss", type=Loss())
@click.option("--classes", type=click.IntRange(2, 1_000), default=10, show_default=True, help="Number of classes.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("--json", "as_json", is_flag=True, help="Write the card as JSON to standard output.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="File to write the card to, with plots.")
def command(loss: str, classes: int, run: str | None, as_json: bool, html: Path | None) -> None:
    """Say what LOSS will do, before it is trained.

    LOSS is "best", a name, an expression, a file that `lossml export` wrote, or module:attribute for a
    PyTorch loss of your own: an nn.Module or a function of (logits, target).
    """
    from lossml.card import inspect

    card = inspect(_best(run) if loss == BEST else loss, classes=classes)
    if html is not None:
        from lossml.report.card_page import card_page
        from lossml.search.folder import write_atomically

        write_atomically(html.expanduser(), card_page(card))
        click.echo(f"Wrote {html}: the card of {card.name}.", err=True)
    if as_json:
        print_json(card)
    elif html is None:
        from lossml.report.card import card_view

        console().print(card_view(card), soft_wrap=False)


def _best(run: str | None) -> "Named":
    from lossml.backend.load import Named

    found, _ = best_of(run)
    return Named(found.program, found.scale)
