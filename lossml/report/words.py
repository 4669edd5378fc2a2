"""Words and figures that several views share."""

from lossml.search.objective import as_read, read_objective, written
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, Trial


def setting(recipe: Recipe) -> str:
    """Name what makes a task harder than its data set: noise, few labels, a long tail; begins with a comma."""
    kind = "" if recipe.label_noise_kind == "symmetric" else f"{recipe.label_noise_kind} "
    noise = f", {100 * recipe.label_noise:g}% {kind}label noise" if recipe.label_noise else ""
    few = f", {recipe.train_size} labels" if recipe.train_size else ""
    return noise + few + (f", long tail {recipe.long_tail:g}" if recipe.long_tail > 1 else "")


def duration(seconds: float) -> str:
    """Write a duration: 42 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def fidelity(rung: int) -> str:
    """Write a share of full training, given in its sixteenths."""
    return "full" if rung == FULL else f"{rung}/{FULL}"


def reached(trial: Trial, recipe: Recipe) -> str:
    """Say how far a trial was trained."""
    return fidelity(recipe.rungs[len(trial.metrics) - 1]) if trial.metrics else "-"


def last_score(trial: Trial, objective: str) -> str:
    """Write the score of a trial at the last rung it reached; "-" for one that reached none."""
    return written(as_read(trial.scores(objective)[-1], objective), objective) if trial.metrics else "-"


def plotted(value: float, objective: str) -> float:
    """Turn a score, as people read it, into what a plot shows: percent for shares."""
    return 100 * value if read_objective(objective).unit == "points" else value


def unit(objective: str) -> str:
    """Name an objective with the unit of its figures."""
    kind = read_objective(objective).unit
    return f"{objective}, {'%' if kind == 'points' else kind}" if kind else objective
