"""Comparing losses by full training on a recipe; its statistics and its store are those of every comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lossml.benchmark import plan as plans
from lossml.benchmark.entrant import Entrant, check_entrants, program_text
from lossml.benchmark.recipe import Training
from lossml.benchmark.tables import write_results
from lossml.benchmark.trainer import FullTrainer, Where
from lossml.benchmark.training import precision
from lossml.program import Node, operations
from lossml.search import folder as folders
from lossml.search.compare import compare
from lossml.search.events import Listener, silent
from lossml.search.records import as_json
from lossml.search.results import Comparison, Contender, Design
from lossml.search.trainings import Store, contenders


@dataclass(frozen=True, slots=True)
class Given:
    """What a comparison by a recipe is given besides it.

    Attributes:
        seed: shifts all seeds.
        data_root: folder of the data sets; None for LOSSML_DATA or a cache.
        where: devices and processes.
    """

    seed: int = 0
    data_root: str | None = None
    where: Where = field(default_factory=Where)


def design_of(recipe: Training, seed: int = 0) -> Design:
    """Return how a recipe compares losses."""
    return Design(
        seeds=recipe.seeds,
        learning_rates=recipe.learning_rates,
        objective=recipe.objective,
        alpha=recipe.alpha,
        seed=seed,
        tuning_seeds=recipe.tuning_seeds,
        tuning=recipe.tuning,
    )


def benchmark_recipe(
    recipe: Training, entrants: Sequence[Entrant], folder: Path, given: Given = Given(), listener: Listener = silent
) -> Comparison:
    """Compare losses by full training; the first is the reference.

    A folder that holds the same plan is gone on with: finished trainings are kept, and one that was interrupted goes on
    from its last checkpoint.

    Args:
        recipe: what a training is, and how many there are.
        entrants: at least two, of different labels.
        folder: where plan, trainings and results go.
        given: seeds, data, devices.
        listener: hears how far it is.

    Raises:
        UsageError: for fewer than two losses or two of one label, or where data or devices do not suit the recipe;
            RunError for a folder of another plan, or in which another benchmark is running.
    """
    check_entrants(entrants)
    design = design_of(recipe, given.seed)
    texts = {program_text(e.program): e.label for e in entrants}
    prior = any(isinstance(e.program, Node) and "pi" in operations(e.program) for e in entrants)
    tuning = design.of("tune")
    with FullTrainer(recipe, given.data_root, folder, texts, given.where, prior=prior, tuning=tuning) as trainer:
        losses = _contenders(recipe, entrants, trainer)
        plans.hold(folder, _plan(recipe, entrants, losses, design, trainer))
        with folders.held(folder):
            folders.provenance(folder, device=trainer.device, devices=trainer.machine.devices, workers=trainer.workers)
            store = Store(folder / folders.JOURNAL, design.objective)
            comparison = compare(trainer, losses, design, store, listener)
            write_results(folder, comparison)
    return comparison


def _contenders(recipe: Training, entrants: Sequence[Entrant], trainer: FullTrainer) -> list[Contender]:
    facts = trainer.facts
    found = contenders([(e.label, e.program, -1) for e in entrants], facts.prior, facts.pixels)
    return found if recipe.match_gradients else [replace(one, scale=1.0) for one in found]


def _plan(
    recipe: Training, entrants: Sequence[Entrant], losses: Sequence[Contender], design: Design, trainer: FullTrainer
) -> Mapping[str, Any]:
    scales = {one.label: float(f"{one.scale:.9g}") for one in losses}
    settings = as_json(recipe)
    for decided in ("losses", "needs", "objective", "seeds", "learning_rates", "alpha", "tuning", "tuning_seeds"):
        del settings[decided]  # a part of the design, or not of the training
    return {
        "recipe": settings,
        "precision": precision(recipe, trainer.device),
        "device": trainer.device.partition(":")[0],
        "data": {"classes": trainer.facts.classes, "train_validation_heldout": list(trainer.facts.sizes)},
        "losses": {e.label: {"program": program_text(e.program), "scale": scales[e.label]} for e in entrants},
        "design": as_json(design),
        "seeds": {stage: list(design.of(stage)) for stage in ("tune", "seeds")},
        "versions": plans.versions(),
    }
