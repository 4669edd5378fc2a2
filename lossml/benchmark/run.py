"""Comparing any losses on a task by full training: the plan is written before anything trains."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lossml import backend
from lossml.errors import RunError, UsageError
from lossml.program import Node, show
from lossml.proxy import TaskSpec, Trainer
from lossml.search import folder as folders
from lossml.search.compare import Comparison, compare
from lossml.search.events import Listener, silent
from lossml.search.records import as_json
from lossml.search.trainings import Design, Store, contenders
from lossml.zoo import Foreign

PLAN, RESULT = "plan.json", "result.json"


@dataclass(frozen=True, slots=True)
class Entrant:
    """A loss to compare: what people call it, and its program, or a loss that is none."""

    label: str
    program: Node | Foreign


def benchmark(
    spec: TaskSpec,
    entrants: Sequence[Entrant],
    design: Design,
    folder: Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    listener: Listener = silent,
) -> Comparison:
    """Compare losses on a task; the first is the reference.

    A folder that holds the same plan is gone on with: no training is done twice.

    Args:
        spec: the task.
        entrants: at least two, of different labels.
        design: seeds, learning rates, objective.
        folder: where plan, trainings and results go.
        device: as for a search.
        workers: as for a search.
        listener: hears how far it is.

    Raises:
        UsageError: for fewer than two losses or two of one label; RunError for a folder of another plan.
    """
    labels = [entrant.label for entrant in entrants]
    if len(labels) < 2 or len(set(labels)) < len(labels):
        raise UsageError(f"the losses are {', '.join(labels)}; give at least two, each once, the reference first")
    with Trainer(spec, backend.stack, device=device, workers=workers) as trainer:
        _write_plan(spec, entrants, design, folder)
        folders.provenance(folder, device=trainer.device, workers=trainer.workers)
        losses = contenders([(e.label, e.program, -1) for e in entrants], trainer.facts.prior, trainer.facts.pixels)
        comparison = compare(trainer, losses, design, Store(folder / folders.JOURNAL, design.objective), listener)
    folders.write_atomically(folder / RESULT, json.dumps(as_json(comparison), indent=2) + "\n")
    for name, text in tables(comparison).items():
        folders.write_atomically(folder / name, text)
    return comparison


def _write_plan(spec: TaskSpec, entrants: Sequence[Entrant], design: Design, folder: Path) -> None:
    losses = {e.label: show(e.program) if isinstance(e.program, Node) else e.program.name for e in entrants}
    plan = json.dumps({"task": as_json(spec), "losses": losses, "design": as_json(design)}, indent=2) + "\n"
    path = folder / PLAN
    if path.exists() and path.read_text() != plan:
        raise RunError(f"{folder} holds another plan; choose another --output, or give the options it was made with")
    folders.write_atomically(path, plan)


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


def tables(comparison: Comparison) -> dict[str, str]:
    """Write a comparison as files: result.csv and result.md."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *_cells(comparison)])
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *_cells(comparison)]
    markdown = "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
    return {"result.csv": text.getvalue(), "result.md": markdown}
