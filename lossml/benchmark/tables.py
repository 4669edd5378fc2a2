"""A comparison as text: CSV, Markdown, LaTeX, and sentences with the power of the design."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from lossml.search import folder as folders
from lossml.search.objective import gap, written
from lossml.search.records import as_json
from lossml.search.results import Comparison, Row

RESULT = "result.json"
_COLUMNS = ("loss", "lr", "mean", "spread", "difference", "low", "high", "p", "verdict", "nll", "ece", "program")


def _cells(comparison: Comparison) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in comparison.rows:
        nll, ece = (sum(getattr(m, name) for m in row.metrics) / max(1, len(row.metrics)) for name in ("nll", "ece"))
        numbers = (row.mean, row.spread, row.difference, row.low, row.high)
        shown = ["" if value is None else f"{value:.5f}" for value in numbers]
        tail = [f"{row.p:.3g}", row.verdict, f"{nll:.4f}", f"{ece:.4f}", row.contender.program]
        rows.append([row.contender.label, f"{row.lr:g}", *shown, *tail])
    return rows


def as_csv(comparison: Comparison) -> str:
    """Write a comparison as CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *_cells(comparison)])
    return text.getvalue()


def as_markdown(comparison: Comparison) -> str:
    """Write a comparison as a Markdown table, with what it means below."""
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *_cells(comparison)]
    table = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
    return f"{table}\n{' '.join(sentences(comparison))}\n"


def as_latex(comparison: Comparison) -> str:
    """Write a comparison as a LaTeX table of booktabs."""
    objective = comparison.design.objective
    rows = [[_escaped(cell) for cell in _short_cells(row, objective)] for row in comparison.rows]
    heads = [_escaped(head) for head in ("loss", objective, "difference", "interval", "p", "NLL", "ECE (%)")]
    body = "".join(f"{' & '.join(row)} \\\\\n" for row in rows)
    notes = "".join(f"% {line}\n" for line in sentences(comparison))
    return (
        f"{notes}\\begin{{tabular}}{{lrrrrrr}}\n\\toprule\n{' & '.join(heads)} \\\\\n\\midrule\n{body}\\bottomrule\n"
        "\\end{tabular}\n"
    )


def _short_cells(row: Row, objective: str) -> list[str]:
    if row.verdict == "failed":
        return [row.contender.label, "failed", "", "", "", "", ""]
    nll, ece = (sum(getattr(m, name) for m in row.metrics) / len(row.metrics) for name in ("nll", "ece"))
    value = f"{written(row.mean, objective)} ± {written(row.spread, objective)}"
    between = ["", "", ""]
    if row.difference is not None:
        difference, low, high = (gap(x, objective).split()[0] for x in (row.difference, row.low, row.high))
        between = [difference, f"[{low}, {high}]", f"{row.p:.2g}"]
    return [row.contender.label, value, *between, f"{nll:.3f}", f"{100 * ece:.1f}"]


_SPECIAL = {"\\": r"\textbackslash{}", "±": r"$\pm$", "^": r"\^{}", "~": r"\~{}", **{c: f"\\{c}" for c in "&%$#_{}"}}


def _escaped(cell: str) -> str:
    return "".join(_SPECIAL.get(sign, sign) for sign in cell)


def sentences(comparison: Comparison) -> list[str]:
    """Say what a comparison means, loss by loss, and what it could have seen."""
    design, reference = comparison.design, comparison.rows[0].contender.label
    noise = gap(comparison.noise, design.objective).lstrip("+")
    how = "tuned on the validation split" if len(design.learning_rates) > 1 else "not tuned"
    setting = (
        f"{design.objective} over {design.seeds} paired seeds on {comparison.samples} held-out samples, learning rates "
        f"{how}; intervals and p corrected by Holm for the number of losses "
        f"(level {design.alpha:g}). Two trainings of {reference} differ by {noise} (one standard deviation)."
    )
    return [setting, *(_sentence(row, comparison) for row in comparison.rows if row.difference is not None)]


def _sentence(row: Row, comparison: Comparison) -> str:
    objective, reference = comparison.design.objective, comparison.rows[0].contender.label
    interval = gap(row.difference or 0.0, objective, (row.low, row.high))
    if row.verdict != "no difference":
        return f"{row.contender.label} is {row.verdict} than {reference}: {interval}, p = {row.p:.2g}."
    seen = gap(row.detectable, objective).lstrip("+")
    return (
        f"{row.contender.label}: no difference to {reference} found, {interval}; this design sees {seen} four times "
        f"out of five; {_needed(row, objective)}."
    )


def _needed(row: Row, objective: str) -> str:
    if not row.difference:
        return "the one observed is exactly 0"
    size = gap(abs(row.difference), objective).lstrip("+")
    return f"to see {size} {f'you need {row.needed} seeds' if row.needed else 'the held-out split is too small'}"


FORMATS: Mapping[str, Callable[[Comparison], str]] = MappingProxyType(
    {"csv": as_csv, "markdown": as_markdown, "latex": as_latex}
)


def write_results(folder: Path, comparison: Comparison) -> None:
    """Write a comparison into a folder as JSON, CSV, Markdown and LaTeX."""
    folders.write_atomically(folder / RESULT, json.dumps(as_json(comparison), indent=2) + "\n")
    for ending, write in (("csv", as_csv), ("md", as_markdown), ("tex", as_latex)):
        folders.write_atomically(folder / f"result.{ending}", write(comparison))
