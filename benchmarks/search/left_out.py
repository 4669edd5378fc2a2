"""Does a loss that was found over several tasks hold on a task left out better than one that was found on one task?

    LOSSML_DATA=... python benchmarks/search/left_out.py [SEARCHES]

Each of the six tasks of `tasks.py` is left out in turn. A search over the other five, one training a trial on each,
stands against searches on each of the five alone, five trainings a trial. Both have as many trials, trainings a trial,
Wilcoxon's test, yardsticks and seeds: they differ in where a trial is trained. No published loss is given. What is best
by mean gain is trained on the task left out, at that task's rate, from fresh seeds that it shares with cross-entropy,
and scored on the held-out split. A search on one task is the same whatever is left out, and is run once.

The interval is Student's over the tasks left out, the mean over the searches of each: further tasks are what is asked
about.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import monotonic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import common
import numpy as np
import torch
from methods import Memory
from scipy import stats
from tasks import SETTINGS, make_task
from together import facts_of

from lossml import backend, zoo
from lossml.backend import gradient_scale
from lossml.program import parse, show
from lossml.proxy import Outcome, Run, Task, TrainingState
from lossml.proxy.train import advance, evaluate
from lossml.search.cohort import Waiting, loss_of, metrics_of
from lossml.search.events import silent
from lossml.search.loop import Search
from lossml.search.recipe import Recipe
from lossml.search.records import FULL, finalists
from lossml.search.several import Several, gauged

OBJECTIVE, BUDGET, COHORT, TRAININGS = "balanced_accuracy", 48, 16, 5
FRESH, SEEDS = 9_000_000, 16


@dataclass(eq=False)
class Here:
    """Trains on a task in this process."""

    task: Task
    workers: int = 0

    def __post_init__(self) -> None:
        self.facts = facts_of(self.task)

    def advance(
        self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int
    ) -> list[Outcome]:
        return advance(self.task, backend.stack, runs, states, start, stop)

    def begin(self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int) -> Waiting:
        return lambda: self.advance(runs, states, start, stop)

    def evaluate(self, states: Sequence[TrainingState], split: str) -> list[Outcome]:
        return evaluate(self.task, states, split)


def searched(names: Sequence[str], here: Mapping[str, Here], seed: int) -> tuple[str, int]:
    """Search on tasks; give the best loss, and how many trainings it took."""
    recipe = Recipe(
        names[0],
        budget=BUDGET,
        cohort=COHORT,
        seed=seed,
        seeds="none",
        objective=OBJECTIVE,
        pruner="wilcoxon",
        rungs=(FULL,),
        also_on=tuple(names[1:]),
        trial_seeds=TRAININGS // len(names),
    )
    yardsticks = [gauged(recipe, name, here[name], silent) for name in names]
    memory = Memory()
    Search(recipe, memory, Several([here[name] for name in names], yardsticks, OBJECTIVE), silent).run(float("inf"))
    trials = [trial for _, some in memory.found for trial in some]
    (best,) = finalists(trials, recipe.aim, 1)
    return best.program, sum(trial.trained(recipe.stages) for trial in trials) // FULL


def heldout(program: str, here: Here) -> list[float]:
    """Train a loss on a task from fresh seeds; give its held-out scores, chance where it fails."""
    facts = here.facts
    node = parse(program)
    (scale,) = gradient_scale([node], facts.classes, facts.pixels, facts.prior).tolist()
    runs = [Run(loss_of(node, scale, facts.prior), 1.0, FRESH + k) for k in range(SEEDS)]
    found = here.advance(runs, [None] * SEEDS, 0, FULL)
    scored = iter(here.evaluate([one.state for one in found if one.state is not None], "heldout"))
    return [1 / facts.classes if one.state is None else _score(next(scored)) for one in found]


def _score(outcome: Outcome) -> float:
    return 0.0 if outcome.score is None else metrics_of(outcome.score).of(OBJECTIVE)


def interval(values: Sequence[float]) -> dict[str, float]:
    """Give the mean of values with Student's interval of 95%."""
    mean, error = fmean(values), float(stats.sem(values))
    reach = float(stats.t.isf(0.025, len(values) - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def measure(count: int) -> None:
    """Search, and write the result again after each further search of every kind."""
    here = {name: Here(make_task(name)) for name in SETTINGS}
    ce = {name: heldout(show(zoo.program_of("ce")), here[name]) for name in here}
    rows: dict[str, dict[str, list[float]]] = {name: {"several": [], "one": [], "trainings": []} for name in here}
    losses: list[dict[str, object]] = []
    for seed in range(count):
        alone = {name: searched([name], here, seed) for name in here}
        for left, there in here.items():
            began = monotonic()
            program, trainings = searched([name for name in here if name != left], here, seed)
            ours = fmean(heldout(program, there)) - fmean(ce[left])
            theirs = [fmean(heldout(alone[n][0], there)) - fmean(ce[left]) for n in here if n != left]
            for key, value in (("several", ours), ("one", fmean(theirs)), ("trainings", trainings)):
                rows[left][key].append(float(value))
            losses.append({"left out": left, "seed": seed, "loss": program})
            print(f"{seed} {left}: several {100 * ours:+.2f}, one {100 * fmean(theirs):+.2f}, {program}", end=" ")
            print(f"({trainings} trainings, {monotonic() - began:.0f} s)", flush=True)
        losses += [
            {"searched": name, "seed": seed, "loss": found, "trainings": n} for name, (found, n) in alone.items()
        ]
        setting = {"searches": seed + 1, "budget": BUDGET, "trainings a trial": TRAININGS, "seeds": SEEDS}
        found = {**setting, **analysed(rows), "tasks": rows, "losses": losses}
        common.write("left_out", f"python benchmarks/search/left_out.py {seed + 1}", found)
        print(json.dumps(analysed(rows), indent=2))


def analysed(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, object]:
    """Compare over the tasks left out: each against cross-entropy, and with each other."""
    several, one = (np.array([fmean(row[key]) for row in rows.values()]) for key in ("several", "one"))
    return {
        "several against cross-entropy": interval(list(several)),
        "one against cross-entropy": interval(list(one)),
        "several against one": interval(list(several - one)),
    }


def main() -> None:
    torch.set_num_threads(1)
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 3)


if __name__ == "__main__":
    main()
