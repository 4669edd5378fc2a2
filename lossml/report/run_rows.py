"""What the report of a run says, as sentences and rows of text; the page lays them out."""

from collections.abc import Iterator, Mapping
from typing import Any

from lossml.backend import Rejection
from lossml.report.words import duration, fidelity, last_score, reached, setting, several
from lossml.search.cost import Cost
from lossml.search.family import Ancestor
from lossml.search.objective import read_objective, written
from lossml.search.reading import RunRecord
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, Metrics, State, Trial
from lossml.search.results import Comparison, Row, points
from lossml.search.summary import Agreement, Control, Point

Rows = list[list[str]]
TRIALS = ["trial", "trained", "score", "origin", "state", "loss"]
FRONT = ["size", "score", "trial", "loss"]
REASONS = ["reason", "programs", "what it means"]
FAILURES = ["trial", "loss", "why"]
RUNGS = ["rung", "trials", "rank correlation", "interval"]
COST = ["what", "amount", "of what"]
FAMILY = ["trial", "generation", "made by", "from", "score", "trained", "loss"]
CONTROL = ["", "trials", "full trainings", "best score"]
PROPOSERS = {
    "surrogate": "variations of what did well, of which a model of gradient and merit chooses what is worth training",
    "evolve": "variations of what did well",
    "random": "programs made at random",
}


def heading(record: RunRecord) -> str:
    """Name the search."""
    return f"Search for a loss on {record.recipe.dataset}{setting(record.recipe)}"


def under_heading(record: RunRecord) -> str:
    """Say how far the run is, and when and on what it was started."""
    started = str(record.provenance.get("started", ""))[:10]
    parts = (
        f"{len(record.trials)} of {record.recipe.budget} trials",
        f"started {started}" if started else "",
        f"on {record.provenance['device']}" if "device" in record.provenance else "",
        f"run {record.path.name}",
    )
    return ", ".join(filter(None, parts)) + "."


def without_verdict(record: RunRecord) -> str:
    """Say that nothing is confirmed, and what to do."""
    if record.recipe.candidates == 0:
        return "No verdict: this search was told to confirm nothing (candidates = 0). Scores below flatter."
    return (
        "No verdict yet: nothing below has been tested on held-out data, so expect less elsewhere. "
        f"To go on: lossml search --resume {record.path}"
    )


def searched(record: RunRecord) -> list[tuple[str, str]]:
    """Put the recipe into words."""
    recipe = record.recipe
    return [
        ("task", _task(recipe, record.provenance.get("task"))),
        *((("also trained on", _listed(list(recipe.also_on))),) if recipe.also_on else ()),
        *((("trials", several(recipe)),) if recipe.trainings > 1 else ()),
        ("aim", _aim(recipe.objective)),
        ("budget", f"{recipe.budget} programs trained, pruned ones included, {recipe.cohort} side by side"),
        ("proposals", f"{PROPOSERS.get(recipe.proposer, recipe.proposer)}; {_seeds(recipe)}"),
        ("pruning", _pruning(recipe)),
        ("confirmation", _confirmation(recipe)),
        ("control", _control(recipe)),
    ]


def _task(recipe: Recipe, task: object) -> str:
    name = f"{recipe.dataset}{setting(recipe)}"
    match task:
        case {"classes": classes, "sizes": [train, validation, held_out], "steps": steps, "parameters": weights}:
            return (
                f"{name}: {classes} classes; {train} samples to train on, {validation} to select by, {held_out} held "
                f"out; a network of {weights} weights, {steps} steps of full training"
            )
    return name


def _aim(objective: str) -> str:
    aim = read_objective(objective)
    if len(aim.weights) > 1:
        return f"{objective}, the more the better"
    return f"{objective}, {'the less' if aim.sign < 0 else 'the more'} the better"


def _seeds(recipe: Recipe) -> str:
    known = {"zoo": "the published losses come first", "none": "no published loss is given"}
    return known.get(recipe.seeds, f"the losses of {recipe.seeds} come first")


def _pruning(recipe: Recipe) -> str:
    if recipe.pruner == "none" or len(recipe.stages) == 1:
        return "none: every program is trained to the end"
    if recipe.trainings > 1:
        return f"{recipe.pruner}, over the trainings of a trial"
    return f"{recipe.pruner}, after {_listed([fidelity(rung) for rung in recipe.rungs[:-1]])} of full training"


def _confirmation(recipe: Recipe) -> str:
    if recipe.candidates == 0:
        return "none"
    rates = _listed([f"{rate:g}" for rate in recipe.learning_rates])
    return (
        f"the best {recipe.candidates} of different kinds and {_listed(list(recipe.baselines))}, each with its own "
        f"best multiple of the learning rate out of {rates} and, where an end is best, beyond; then "
        f"{recipe.confirm_seeds} paired seeds on the held-out split, tested at {recipe.alpha:g}"
    )


def _control(recipe: Recipe) -> str:
    return (
        "none" if recipe.control == "none" else "a random search that trains as much, with the same screens and pruner"
    )


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def comparison_heads(comparison: Comparison) -> list[str]:
    """Name the columns of the confirmation's table."""
    reference = comparison.rows[0].contender.label
    return [
        "loss",
        "verdict",
        comparison.design.objective,
        f"against {reference}",
        "interval",
        "p",
        "lr",
        "nll",
        "ece, %",
    ]


def comparison_rows(comparison: Comparison) -> Rows:
    """Write a row for every contender, the failed ones too."""
    return [_contender(row, comparison) for row in comparison.rows]


def contender_name(row: Row) -> str:
    """Name a contender, and the published loss that it is up to scale."""
    label, known = row.contender.label, row.contender.known
    return f"{label} = {known}" if known and known != label else label


def _contender(row: Row, comparison: Comparison) -> list[str]:
    design = comparison.design
    if row.verdict == "failed":
        return [contender_name(row), f"failed: {row.reason}", *["-"] * 7]
    mean = f"{written(row.mean, design.objective)} ± {written(row.spread, design.objective)}"
    nll, ece = (f"{_mean(row.metrics, 'nll'):.3f}", f"{100 * _mean(row.metrics, 'ece'):.1f}")
    between = ["-", "-", "-"]
    if row.difference is not None:
        low, high = (points(end, design).split()[0] for end in (row.low, row.high))
        between = [points(row.difference, design), f"[{low}, {high}]", f"{row.p:.2g}"]
    return [contender_name(row), row.verdict, mean, *between, f"{row.lr:g}", nll, ece]


def _mean(metrics: tuple[Metrics, ...], name: str) -> float:
    return sum(float(getattr(one, name)) for one in metrics) / len(metrics)


def trial_rows(trials: list[Trial], recipe: Recipe) -> Rows:
    """Write a row for every trial, as a leaderboard orders them."""
    return [
        [
            str(trial.number),
            reached(trial, recipe),
            last_score(trial, recipe.aim),
            trial.operator,
            trial.state.value,
            trial.program,
        ]
        for trial in trials
    ]


def front_rows(front: tuple[Point, ...], objective: str) -> Rows:
    """Write the front of score against size."""
    return [[str(point.size), written(point.score, objective), str(point.trial), point.program] for point in front]


def reason_rows(rejections: Mapping[str, int]) -> Rows:
    """Write what was rejected untrained, by reason."""
    known = {one.name: one.value for one in Rejection}
    return [[name.lower().replace("_", " "), f"{count:,}", known.get(name, "")] for name, count in rejections.items()]


def failure_rows(trials: tuple[Trial, ...]) -> Rows:
    """Write why trials failed."""
    return [[str(t.number), t.program, t.reason] for t in trials if t.state is State.FAILED]


def rung_rows(rungs: tuple[Agreement, ...]) -> Rows:
    """Write how each rung agrees with full training."""
    return [[f"{one.rung}/{FULL}", str(one.trials), *_correlation(one)] for one in rungs]


def _correlation(one: Agreement) -> list[str]:
    if one.correlation is None:
        return ["too few, or all alike", "-"]
    return [f"{one.correlation.value:.2f}", f"[{one.correlation.low:.2f}, {one.correlation.high:.2f}]"]


def cost_rows(cost: Cost) -> Rows:
    """Write what the search cost and was spared."""
    return [
        ["proposing and screening", duration(cost.proposing), f"{cost.trials + cost.rejected:,} programs"],
        [
            "waiting for training",
            duration(cost.training),
            f"{cost.trials:,} trials, {cost.trained:.1f} full trainings' worth",
        ],
        ["left by pruning", f"{100 * cost.unpruned:.0f}%", "of training every trial to the end"],
        ["left by pruning and screens", f"{100 * cost.unscreened:.2g}%", "of training every program to the end"],
        ["time that pruning spared", f"about {duration(cost.spared)}", f"at {cost.each:.1f} s a full training"],
    ]


def family_rows(ancestors: tuple[Ancestor, ...], recipe: Recipe) -> Rows:
    """Write where a trial came from, itself first."""
    return [_ancestor(one, recipe) for one in ancestors]


def _ancestor(one: Ancestor, recipe: Recipe) -> list[str]:
    trial = one.trial
    parents = ", ".join(map(str, trial.parents)) or "-"
    score, how_far = last_score(trial, recipe.aim), reached(trial, recipe)
    return [str(trial.number), str(one.generation), trial.operator, parents, score, how_far, trial.program]


def control_rows(control: Control, trials: int, objective: str) -> Rows:
    """Write the search beside its control, on the data that both selected on."""
    scores = ("none" if value is None else written(value, objective) for value in control.scores)
    names, counts = ("search", "random search"), (trials, control.trials)
    return [[n, str(k), f"{t:.1f}", s] for n, k, t, s in zip(names, counts, control.trained, scores, strict=True)]


def version_rows(provenance: Mapping[str, Any]) -> Rows:
    """Write what the run was started with and on."""
    return [[name, value] for name, value in _provenance(provenance)]


def _provenance(provenance: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in provenance.items():
        if key == "versions" and isinstance(value, dict):
            yield from ((str(name), str(text)) for name, text in value.items())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - JSON
        elif key not in {"task", "also"}:
            yield key, str(value)
