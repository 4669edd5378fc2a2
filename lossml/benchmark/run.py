"""Comparing any losses on a proxy task: the plan is written before anything trains."""

from collections.abc import Sequence
from pathlib import Path

from lossml import backend
from lossml.benchmark import plan as plans
from lossml.benchmark.entrant import Entrant, check_entrants, program_text
from lossml.benchmark.tables import write_results
from lossml.proxy import TaskSpec, Trainer
from lossml.search import folder as folders
from lossml.search.compare import compare
from lossml.search.events import Listener, silent
from lossml.search.records import as_json
from lossml.search.results import Comparison, Design
from lossml.search.trainings import Store, contenders


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
        UsageError: for fewer than two losses or two of one label; RunError for a folder of another plan,
            or in which another benchmark is running.
    """
    check_entrants(entrants)
    with Trainer(spec, backend.stack, device=device, workers=workers) as trainer:
        _write_plan(spec, entrants, design, folder)
        with folders.held(folder):
            task = as_json(trainer.facts)
            folders.check_device(folder, trainer.device)
            folders.check_tasks(folder, [task])
            folders.provenance(folder, device=trainer.device, workers=trainer.workers, task=task)
            losses = contenders([(e.label, e.program, -1) for e in entrants], trainer.facts.prior, trainer.facts.pixels)
            comparison = compare(trainer, losses, design, Store(folder / folders.JOURNAL, design.objective), listener)
            write_results(folder, comparison)
    return comparison


def _write_plan(spec: TaskSpec, entrants: Sequence[Entrant], design: Design, folder: Path) -> None:
    losses = {e.label: program_text(e.program) for e in entrants}
    task = {key: value for key, value in as_json(spec).items() if (key, value) != ("network", "auto")}
    plans.hold(folder, {"task": task, "losses": losses, "design": as_json(design)})
