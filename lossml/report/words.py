"""Words and figures that several views share."""

from collections.abc import Sequence

from lossml.search.elsewhere import searched_on
from lossml.search.objective import GAIN, as_read, read_objective, written
from lossml.search.recipe import SIGNS, WILCOXON, Recipe
from lossml.search.records import FULL, Trial
from lossml.search.yardstick import TaskSeen

TASKS = ["task", "trainings", "cross-entropy", "best", "gain", "agreement"]
ABOUT_TASKS = (
    "Best is the trial that is best over all tasks, its gain the difference to cross-entropy in standard deviations of "
    "one score of cross-entropy there. Agreement is the rank correlation of the gains on a task with the mean gain on "
    "the others, over the trials trained on all: near 0 or below, the tasks want different losses."
)


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
    """Say how far a trial was trained: a share of its one training, or how many of several."""
    if recipe.trainings > 1:
        return f"{len(trial.metrics)} of {recipe.trainings}"
    return fidelity(recipe.rungs[len(trial.metrics) - 1]) if trial.metrics else "-"


def trained(trial: Trial, recipe: Recipe) -> str:
    """Say how far a trial was trained, in a sentence."""
    return f"{reached(trial, recipe)} training{'s' * (recipe.trainings > 1)}"


def training(recipe: Recipe, stage: int) -> str:
    """Say what trials are trained on their way to a stage."""
    if recipe.trainings == 1:
        return f"to {stage}/{FULL} of the steps"
    tasks, place = searched_on(recipe), stage // FULL - 1
    return f"on {tasks[place % len(tasks)]} ({place + 1} of {recipe.trainings})"


def several(recipe: Recipe) -> str:
    """Say what a trial of several trainings is, and from when on it can be stopped; nothing of one training."""
    if recipe.trainings == 1:
        return ""
    tasks, seeds = len(searched_on(recipe)), recipe.trial_seeds
    each = f"{tasks} task{'s' * (tasks > 1)} x {seeds} seed{'s' * (seeds > 1)}"
    return f"{recipe.trainings} full trainings a trial, {each}, scored by the mean gain; {_stopping(recipe)}"


def _stopping(recipe: Recipe) -> str:
    if recipe.pruner != WILCOXON:
        return "no trial is stopped early"
    if recipe.trainings > SIGNS:
        return f"from the {SIGNS}th on, one that is worse than the best so far is stopped (Wilcoxon's test over them)"
    enough = 1 + SIGNS // len(searched_on(recipe))
    return (
        f"too few for any trial to be stopped early, which takes {SIGNS + 1} (over n, Wilcoxon's p is at least 2^-n); "
        f"trial_seeds = {enough} would do"
    )


def last_score(trial: Trial, objective: str) -> str:
    """Write the score of a trial at the last rung it reached; "-" for one that reached none."""
    return written(as_read(trial.scores(objective)[-1], objective), objective) if trial.metrics else "-"


def task_rows(found: Sequence[TaskSeen], objective: str) -> list[list[str]]:
    """Write what was trained on each task of a search, and how cross-entropy and the best trial do there."""
    return [
        [
            one.task,
            str(one.trainings),
            f"{written(one.reference, objective)} ± {written(one.spread, objective)}",
            "-" if one.best is None else written(one.best, objective),
            "-" if one.gain is None else written(one.gain, GAIN),
            f"{one.agreement.value:.2f} [{one.agreement.low:.2f}, {one.agreement.high:.2f}]" if one.agreement else "-",
        ]
        for one in found
    ]


def plotted(value: float, objective: str) -> float:
    """Turn a score, as people read it, into what a plot shows: percent for shares."""
    return 100 * value if read_objective(objective).unit == "points" else value


def unit(objective: str) -> str:
    """Name an objective with the unit of its figures."""
    kind = read_objective(objective).unit
    return f"{objective}, {'%' if kind == 'points' else kind}" if kind else objective
