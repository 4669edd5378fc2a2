"""Writing a run's report: the run read, its best losses described, one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lossml.backend.load import Named
from lossml.card import inspect
from lossml.program import parse
from lossml.report.run_page import Described, run_page
from lossml.search import folder
from lossml.search.reading import RunRecord, find_run, foremost, load_run
from lossml.search.records import Trial

NAME = "report.html"
CARDS = 3
CLASSES, MOST, MOST_SHARED = 10, 1_000, 100  # of a card: usual, and most for losses of samples and of images


def write_report(
    run: str | Path | None = None,
    output: str | Path | None = None,
    *,
    cards: int = CARDS,
    listener: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write what a run found as one HTML file that needs nothing from anywhere.

    Args:
        run: its folder, or its name in runs/; the latest where left out.
        output: the file; report.html in the run's folder where left out.
        cards: how many of the best losses are described.
        listener: hears what is being done, in words.

    Returns:
        Where the report is.

    Raises:
        UsageError: where there is no such run, or the file cannot be written.
    """
    record = load_run(find_run(None if run is None else str(run)))
    path = record.path / NAME if output is None else Path(output).expanduser()
    best = foremost(record, cards)
    described = []
    for place, trial in enumerate(best, 1):
        listener(f"describing loss {place} of {len(best)}: trial {trial.number}")
        described.append(Described(trial, inspect(_loss(trial), classes=classes_of(record))))
    folder.write_atomically(path, run_page(record, described))
    return path


def _loss(trial: Trial) -> Named:
    return Named(parse(trial.program), trial.scale)


def classes_of(record: RunRecord) -> int:
    """Return the number of classes at which a run's losses are described: the task's, as far as a card goes."""
    task: Any = record.provenance.get("task")
    match task:
        case {"classes": int(classes), "pixels": int(pixels)}:
            return min(max(2, classes), MOST if pixels == 1 else MOST_SHARED)
    return CLASSES
