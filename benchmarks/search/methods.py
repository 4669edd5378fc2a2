"""The methods that are compared: random search, plain genetic programming, ours, and ours with each part off."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from together import Seat

from lossml.evolve import Proposer
from lossml.proxy import Task
from lossml.search.events import silent
from lossml.search.loop import Search
from lossml.search.propose import ALL_RULES, Rules
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, Cohort, State, Trial

COHORT, RUNGS = 16, (4, FULL)
PLAIN = Rules(screens=False, different=False)


@dataclass(frozen=True)
class Method:
    """How a search goes.

    Attributes:
        what: for people.
        proposer: as in a recipe.
        pruner: as in a recipe.
        seeds: as in a recipe.
        rules: which tests a program must pass to be trained.
        times: as many steps as those at which all are compared are trained.
    """

    what: str
    proposer: str = "surrogate"
    pruner: str = "asha"
    seeds: str = "none"
    rules: Rules = ALL_RULES
    times: int = 1


METHODS: Mapping[str, Method] = {
    "random": Method("random programs, each trained to the end", "random", "none", rules=PLAIN, times=4),
    "plain GP": Method("evolution, each program trained to the end", "evolve", pruner="none", rules=PLAIN, times=8),
    "ours": Method("everything, beginning with the published losses", seeds="zoo"),
    "from scratch": Method("ours without the published losses"),
    "- screens": Method("from scratch, without screens", rules=Rules(screens=False)),
    "- pruning": Method("from scratch, without pruning", pruner="none"),
    "- difference": Method("from scratch, equal losses and crowds allowed", rules=Rules(different=False)),
    "- surrogate": Method("from scratch, evolution without the surrogate's choice", "evolve"),
    "- evolution": Method("from scratch, with random programs", "random"),
}


@dataclass(frozen=True)
class Scale:
    """How large the benchmark is.

    Attributes:
        searches: per task and method.
        budget: steps of each search, in full trainings.
        seeds: fresh ones on which every incumbent is confirmed.
    """

    searches: int = 20
    budget: int = 32
    seeds: int = 5


@dataclass(frozen=True)
class Incumbent:
    """The loss a search would have given after so many full trainings."""

    trainings: float
    program: str
    scale: float


class Memory:
    """A ledger in memory."""

    def __init__(self) -> None:
        self.found: list[tuple[Cohort, tuple[Trial, ...]]] = []

    def cohorts(self) -> Sequence[tuple[Cohort, tuple[Trial, ...]]]:
        return self.found

    def trials(self) -> list[Trial]:
        return [trial for _, trials in self.found for trial in trials]

    def record(self, cohort: Cohort, trials: Sequence[Trial]) -> None:
        self.found.append((cohort, tuple(trials)))


def recipe_of(method: Method, task: Task, objective: str, seed: int) -> Recipe:
    return Recipe(
        task.name,
        budget=1_000_000,
        seed=seed,
        seeds=method.seeds,
        proposer=method.proposer,
        pruner=method.pruner,
        rungs=RUNGS,
        cohort=COHORT,
        objective=objective,
    )


def search(
    seat: Seat, recipe: Recipe, method: Method, scale: Scale, make: Callable[[Memory], Proposer] | None = None
) -> list[Incumbent]:
    """Run one search and return how its answer changed; with a proposer of one's own where one is made."""
    memory = Memory()
    searching = Search(recipe, memory, seat, silent, method.rules, make and make(memory))
    searching.run(float("inf"), FULL * scale.budget * method.times)
    return incumbents(memory.found, recipe.objective)


def incumbents(cohorts: Sequence[tuple[Cohort, tuple[Trial, ...]]], objective: str) -> list[Incumbent]:
    """Take the best trial on the search-validation split after each cohort; a cohort ends all at once."""
    spent, best = 0, float("-inf")
    found: list[Incumbent] = []
    for _, trials in cohorts:
        spent += sum(trial.trained(RUNGS) for trial in trials)
        complete = [trial for trial in trials if trial.state is State.COMPLETE]
        top = max(complete, key=lambda t: t.scores(objective)[-1], default=None)
        if top is not None and top.scores(objective)[-1] > best:
            best = top.scores(objective)[-1]
            found.append(Incumbent(spent / FULL, top.program, top.scale))
    return found
