"""The front of a distillation for people."""

import shlex

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossml.distill import Distilled, Found

EXACT = 1e-6  # a disagreement below this is rounding


def share(value: float) -> str:
    """Write a disagreement as people read it."""
    return "none" if value < EXACT else "100%" if value > 0.995 else f"{100 * value:.2g}%"


def distilled_view(result: Distilled, known: str) -> RenderableType:
    """Show the answer, the front it stands on, and what to do next.

    Args:
        result: of `lossml.distill.distill`.
        known: name of the published loss that the answer equals, "" where there is none.
    """
    return Group(*_answer(result, known), front_table(result), *_next(result))


def front_table(result: Distilled) -> RenderableType:
    """Show the front: size, disagreement at fresh points, formula."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("nodes", justify="right")
    table.add_column("disagreement", justify="right")
    table.add_column("loss", overflow="fold")
    for row in result.front:
        style = "bold green" if row is result.shortest else ""
        table.add_row(Text(str(row.size)), Text(share(row.disagreement)), Text(row.formula), style=style)
    return table


def _answer(result: Distilled, known: str) -> list[Text]:
    if result.shortest is None:
        sentence = f"Nothing within {100 * result.tolerance:g}% was found; the front shows how near each size comes."
        return [Text(sentence, style="bold")]
    return [Text(_sentence(result, result.shortest), style="bold"), *_remarks(result, known)]


def _sentence(result: Distilled, found: Found) -> str:
    if found.size == result.size:
        return f"Nothing shorter was found within {100 * result.tolerance:g}%: {found.formula}  ({found.size} nodes)"
    before = "" if result.size is None else f" instead of {result.size}"
    return f"{found.formula}  ({found.size} nodes{before}, disagreement {share(found.disagreement)})"


def _remarks(result: Distilled, known: str) -> list[Text]:
    rows = [f"Known as {known}."] if known else []
    if result.elsewhere:
        parts = ", ".join(f"{share(value)} at {classes}" for classes, value in result.elsewhere.items())
        rows.append(f"Compared at {result.classes} classes; with other numbers of classes the disagreement is {parts}.")
    if result.screens:
        rows.append(f"A search would reject it: {result.screens}.")
    return [Text(row) for row in rows]


def _next(result: Distilled) -> list[Text]:
    effort = f"{result.evaluated} programs in {result.seconds:.1f} s, engine {result.engine}, seed {result.seed}"
    if result.shortest is None:
        return [Text(effort, style="dim"), Text("Next: a larger --tolerance, a larger --budget or another --seed.")]
    factor = f"Times {result.shortest.scale:.4g} its gradient has the given loss's size."
    command = f"lossml export {shlex.quote(result.shortest.formula)} -o my_loss.py"
    return [Text(f"{factor} {effort}.", style="dim"), Text(f"Next: {command}")]
