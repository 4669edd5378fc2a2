"""Tables of trials, comparisons, losses and data sets; pure functions from records to renderables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lossml.report.words import ABOUT_TASKS, TASKS, last_score, reached, task_rows
from lossml.search.objective import written
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, State, Trial
from lossml.search.results import Comparison, Row, Transfer, Verdict, points
from lossml.search.summary import Agreement, Control, Summary
from lossml.search.yardstick import TaskSeen
from lossml.zoo import Entry

if TYPE_CHECKING:
    from lossml.proxy import DataStatus  # brings torch, which whoever shows a run need not wait for

STYLES = {"better": "bold green", "worse": "red", "failed": "red", "reference": "dim"}


def _table(*columns: str, title: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for name in columns:
        table.add_column(name)
    return table


def leaders(trials: Sequence[Trial], objective: str) -> list[Trial]:
    """Order trials as a leaderboard does: who got further first, then by score."""
    living = [trial for trial in trials if trial.metrics]
    return sorted(living, key=lambda t: (-len(t.metrics), -t.scores(objective)[-1], t.number))


def leaderboard(trials: Sequence[Trial], recipe: Recipe, count: int = 10) -> RenderableType:
    """Show the best trials: number, fidelity reached, score on the search-validation split, formula."""
    table = _table("trial", "trained", recipe.aim, "origin", "loss")
    table.columns[0].justify = table.columns[1].justify = table.columns[2].justify = "right"
    table.columns[4].overflow = "ellipsis"
    table.columns[4].no_wrap = True
    table.columns[4].ratio = 1
    table.expand = True
    for trial in leaders(trials, recipe.aim)[:count]:
        table.add_row(
            str(trial.number),
            reached(trial, recipe),
            last_score(trial, recipe.aim),
            Text(trial.operator, overflow="ellipsis", no_wrap=True),
            Text(trial.program),
        )
    return table if table.rows else Text("No trial has been trained yet.", style="dim")


def tasks(found: Sequence[TaskSeen], objective: str) -> RenderableType:
    """Show what was trained on each task of a search, and how the best over all does there."""
    table = _table(*TASKS, title=f"tasks of the search: {objective}, on the search-validation split")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in task_rows(found, objective):
        table.add_row(*map(Text, row))
    return Group(table, Text(ABOUT_TASKS, style="dim")) if table.rows else Text()


def states(trials: Sequence[Trial]) -> Text:
    """Count trials by what became of them."""
    found = [(state.value, sum(t.state is state for t in trials)) for state in State]
    return Text("trials     " + ", ".join(f"{count} {name}" for name, count in found if count))


def rejected(reasons: Mapping[str, int]) -> Text:
    """Count what was rejected untrained, by reason."""
    total = sum(reasons.values())
    parts = ", ".join(f"{count} {name.lower().replace('_', ' ')}" for name, count in reasons.items())
    return Text(f"rejected   {total} without training" + (f": {parts}" if parts else ""))


def front(found: Summary, objective: str) -> RenderableType:
    """Show the front of score against length: what each further node buys."""
    table = _table("size", objective, "trial", "loss", title="best for its length, on the search-validation split")
    for column in table.columns[:3]:
        column.justify = "right"
    for point in found.front:
        table.add_row(str(point.size), written(point.score, objective), str(point.trial), Text(point.program))
    return table if table.rows else Text()


def rungs(found: Summary) -> RenderableType:
    """Say how each rung agrees with full training, and warn where the lowest does not."""
    lines = [Text(_rung(one)) for one in found.rungs]
    return Group(*lines, *([Text(found.warning, style="yellow")] if found.warning else []))


def _rung(one: Agreement) -> str:
    start = f"rung {one.rung}/{FULL}".ljust(11)
    if one.correlation is None:
        return f"{start}too few trials trained to the end, or all alike, to compare it with full training"
    value, low, high = one.correlation.value, one.correlation.low, one.correlation.high
    return (
        f"{start}rank correlation with full training {value:.2f} [{low:.2f}, {high:.2f}], "
        f"over the {one.trials} trials the pruner let through"
    )


def control(one: Control, objective: str) -> Text:
    """Say what the control trained and how far it came, on the data that both selected on."""
    score, other = ("none" if value is None else written(value, objective) for value in one.scores)
    return Text(
        f"control    random search: {one.trials} trials, {one.trained[1]:.1f} full trainings against "
        f"{one.trained[0]:.1f}; best {objective} {other} against {score}, on the search-validation split"
    )


def failures(trials: Sequence[Trial]) -> RenderableType:
    """List why trials failed."""
    table = _table("trial", "failed because", "loss")
    for trial in trials:
        if trial.state is State.FAILED:
            table.add_row(str(trial.number), Text(trial.reason), Text(trial.program))
    return table if table.rows else Text()


def comparison_table(comparison: Comparison) -> RenderableType:
    """Show a comparison: held-out scores, differences to the reference with intervals, verdicts."""
    objective = comparison.design.objective
    reference = comparison.rows[0].contender.label
    table = _table("loss", "lr", objective, f"against {reference}", "interval", "p", "nll", "ece", "verdict")
    for column in table.columns[1:8]:
        column.justify = "right"
    for row in comparison.rows:
        table.add_row(*_cells(row, comparison))
    return Group(table, Text(comparison_caption(comparison), style="dim"))


def _cells(row: Row, comparison: Comparison) -> list[RenderableType]:
    design = comparison.design
    label = row.contender.label
    if row.contender.known and row.contender.known != label:
        label = f"{label} = {row.contender.known}"
    if row.verdict == "failed":
        return [Text(label), "", "", "", "", "", "", "", Text(f"failed: {row.reason}", style="red")]
    mean = f"{written(row.mean, design.objective)} ± {written(row.spread, design.objective)}"
    nll, ece = (sum(getattr(m, name) for m in row.metrics) / len(row.metrics) for name in ("nll", "ece"))
    between: list[RenderableType] = ["", "", ""]
    if row.difference is not None:
        unit = points(row.difference, design).split()[0]
        ends = f"[{points(row.low, design).split()[0]}, {points(row.high, design).split()[0]}]"
        between = [unit, Text(ends), f"{row.p:.2g}"]
    verdict = Text(row.verdict, style=STYLES.get(row.verdict, ""))
    return [Text(label), f"{row.lr:g}", mean, *between, f"{nll:.3f}", f"{100 * ece:.1f}", verdict]


def comparison_caption(comparison: Comparison) -> str:
    """Say how the contenders were compared."""
    design = comparison.design
    return (
        f"{design.seeds} paired seeds, {comparison.samples} held-out samples; ± is the spread over seeds. Intervals "
        f"and p are corrected for their number, found and known losses apart (Holm, {design.alpha:g}). "
        "Two trainings of the reference differ by "
        f"{written(comparison.noise, design.objective)} (one standard deviation)."
    )


def verdict_view(verdict: Verdict) -> RenderableType:
    """Show the claim first, then the table it rests on, and the tables of other tasks."""
    elsewhere = [part for one in verdict.transfers for part in _elsewhere(one)]
    return Group(Text(verdict.sentence, style="bold"), comparison_table(verdict.comparison), *elsewhere)


def _elsewhere(one: Transfer) -> list[RenderableType]:
    return [Text(), Text(f"On {one.task}. {corrected_row(one)}"), comparison_table(one.comparison)]


def corrected_row(one: Transfer) -> str:
    """Say which row of another task's table is corrected for the number of those tasks."""
    return f"The row of {one.winner.contender.label} is corrected for the number of other tasks."


def zoo_table(entries: Sequence[Entry]) -> RenderableType:
    """List losses with parameters, meaning and source."""
    table = _table("name", "parameters", "what it is", "source")
    for entry in entries:
        parameters = ", ".join(f"{name}={p.default:g}" for name, p in entry.parameters.items())
        table.add_row(Text(entry.name, style="bold"), Text(parameters), Text(entry.meaning), Text(entry.source))
    return table


def data_table(rows: "Sequence[DataStatus]") -> RenderableType:
    """List data sets: there or not, where, how to get them."""
    table = _table("data set", "there", "where", "how to get it")
    for row in rows:
        there = Text("yes", style="green") if row.present else Text("no", style="yellow")
        table.add_row(row.name, there, Text(row.place, overflow="fold"), Text(row.how))
    return table
