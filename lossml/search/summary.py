"""What a search shows beside its verdict: score against length, and how far its early rungs can be trusted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from operator import itemgetter

from lossml.program import parse
from lossml.search.objective import as_read
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, State, Trial
from lossml.search.statistics import Correlation, rank_correlation

LATEST = 48  # trials that say how things stand now: early in a search everything is told apart from a dead loss
ENOUGH = 16  # trials below which nothing is said
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")  # and not the e of a number


@dataclass(frozen=True, slots=True)
class Point:
    """A trial than which none that is as short or shorter scored as well.

    Attributes:
        trial: its number.
        size: nodes of its program.
        score: on the search-validation split after full training, as people read the objective.
        program: its text.
    """

    trial: int
    size: int
    score: float
    program: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a rung orders the trials that were trained to the end, against how the last one does.

    Attributes:
        rung: fidelity, in sixteenths.
        trials: how many were trained to the end; the pruner chose them.
        correlation: Spearman's, with its interval; None for fewer than 5 trials or where all scores are equal.
    """

    rung: int
    trials: int
    correlation: Correlation | None


@dataclass(frozen=True, slots=True)
class Control:
    """The search beside its control, as far as the search-validation split tells.

    Attributes:
        trials: how many the control trained.
        trained: training of the search and of the control, in full trainings.
        scores: best score of the search and of the control after full training, as people read the objective;
            None for one without a trial trained to the end.
    """

    trials: int
    trained: tuple[float, float]
    scores: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What the trials of a search say together.

    Attributes:
        front: best score for each length, the shortest first.
        rungs: agreement of each rung below the last with the last.
        warning: what is wrong with the lowest rung, in words; "" where nothing is.
        control: the search beside its control; None where it has none.
    """

    front: tuple[Point, ...]
    rungs: tuple[Agreement, ...]
    warning: str
    control: Control | None = None


def summary(trials: Sequence[Trial], recipe: Recipe, control: Sequence[Trial] = ()) -> Summary:
    """Sum up the trials of a search, and how its control went where there are trials of one."""
    complete = [trial for trial in trials if trial.state is State.COMPLETE]
    rungs = tuple(_agreement(complete, place, rung, recipe.aim) for place, rung in enumerate(recipe.rungs[:-1]))
    beside = _control(trials, control, recipe) if control else None
    return Summary(_front(complete, recipe.aim), rungs, _warning(complete, recipe), beside)


def _control(trials: Sequence[Trial], control: Sequence[Trial], recipe: Recipe) -> Control:
    both = trials, control
    trained, other = (sum(trial.trained(recipe.stages) for trial in some) / FULL for some in both)
    score, theirs = (_best(some, recipe.aim) for some in both)
    return Control(len(control), (trained, other), (score, theirs))


def _best(trials: Sequence[Trial], objective: str) -> float | None:
    scores = [trial.scores(objective)[-1] for trial in trials if trial.state is State.COMPLETE]
    return as_read(max(scores), objective) if scores else None


def _front(complete: Sequence[Trial], objective: str) -> tuple[Point, ...]:
    """Go from the best score down; few programs are short enough then to be worth the parsing."""
    scored = [(score, t) for t in complete if (score := t.scores(objective)[-1]) > -inf]
    found: list[Point] = []
    shortest = inf
    for score, alike in groupby(sorted(scored, key=lambda row: (-row[0], row[1].number)), itemgetter(0)):
        sized = [(parse(t.program).size, t.number, t.program) for _, t in alike if _least(t.program) < shortest]
        if sized and (best := min(sized))[0] < shortest:
            shortest, number, program = best
            found.append(Point(number, shortest, as_read(score, objective), program))
    return tuple(reversed(found))


def _least(program: str) -> int:
    """Return a number of nodes that a program has at least: each name is one."""
    return len(NAME.findall(program))


def _agreement(complete: Sequence[Trial], place: int, rung: int, objective: str) -> Agreement:
    scores = [trial.scores(objective) for trial in complete]
    return Agreement(rung, len(scores), rank_correlation([s[place] for s in scores], [s[-1] for s in scores]))


def _warning(complete: Sequence[Trial], recipe: Recipe) -> str:
    lowest = recipe.rungs[0]
    latest = complete[-LATEST:]
    if lowest == FULL or len(latest) < ENOUGH:
        return ""
    found = _agreement(latest, 0, lowest, recipe.aim).correlation
    if found is not None and found.low > 0.0:
        return ""
    size = (
        "undefined, as all scores are equal"
        if found is None
        else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    )
    return (
        f"The lowest rung, {lowest}/{FULL}, no longer tells the living apart: over the latest {len(latest)} trials "
        f"trained to the end its rank correlation with the final score is {size}. {_advice(recipe)}"
    )


def _advice(recipe: Recipe) -> str:
    first, *others = recipe.rungs
    higher = others if len(others) > 1 else [2 * first, FULL]
    if higher[0] >= FULL:
        return 'Search anew with pruner = "none".'
    return f'Search anew with rungs = {higher}, or with pruner = "none".'
