"""What would each of these parts add to a search? Measured on tasks for development: the benchmark's stay untouched.

    LOSSML_DATA=... python benchmarks/search/tried.py [--searches 10] [--budget 32] [--part NAME ...] [--keep FOLDER]

The tasks are those of tasks.py with another draw of training samples and other held-out samples. A search is run as it
is and with one part of parts.py in its proposer, once from the published losses and once from scratch, with equal seeds
and training. The gradient through unrolled steps is given its own training for free.

A difference is that of the mean confirmed score, paired by task and search; its interval is Student's over all pairs,
and speaks of further searches on these six tasks. With --part the table is only shown; with --keep, what is done is
read from that folder.

Two more parts are asked for by name, both with --part, and have a result of their own: a cohort is never proposed
before the last rung of the one before is known; or is, where no more than a quarter of that one reached it.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import common
import numpy as np
import torch
from analysis import sampled_at
from methods import METHODS, Incumbent, Memory, Scale, recipe_of, search
from numpy.typing import NDArray
from parts import AgeLayers, Crediting, Frugal, Islands, Local, Sampled, Unrolled
from run import confirmed
from scipy import stats
from tasks import SETTINGS, make_task
from together import Seat, run_together
from unrolled import Tuner

from lossml.evolve import EvolutionaryProposer
from lossml.evolve.propose import SEED
from lossml.proxy import Task
from lossml.search import pruning
from lossml.search.propose import make_proposer
from lossml.search.pruning import REDUCTION

BASES = ("ours", "from scratch")
SEARCHES, FIRST, SLICE = 10, 600, 10  # searches of each task; seed of the first; searches side by side
UNCHANGED = "unchanged"
BEGUN = {"last rung waited for": 10**6, "last rung of a quarter not waited for": REDUCTION}  # part: value of FEW
MARKS = (0.75, 1.0)  # shares of the budget at which searches are looked at; before, hardly a cohort is bred
TUNED = {"local", "sampled", SEED + "unrolled"}  # operators of the parts that tune constants

Make = Callable[[EvolutionaryProposer, Memory], EvolutionaryProposer]


def plain(kind: type[EvolutionaryProposer], **settings: object) -> Make:
    """Make a proposer of a kind with the usual one's grammar and seeds."""
    return lambda usual, _: kind(usual.grammar, usual.seeds, **settings)  # pyright: ignore[reportArgumentType]


def lineal(kind: type[Islands | AgeLayers | Crediting]) -> Make:
    """Make a proposer that asks the ledger where trials come from."""
    return lambda usual, memory: kind(usual.grammar, usual.seeds, memory=memory)


PARTS: Mapping[str, Callable[[Task], Make]] = {
    "adaptive parsimony, 0.1": lambda _: plain(Frugal),
    "adaptive parsimony, 0.3": lambda _: plain(Frugal, parsimony=0.3),
    "four islands": lambda _: lineal(Islands),
    "parents of like age": lambda _: lineal(AgeLayers),
    "adapting rates": lambda _: lineal(Crediting),
    "constants, local": lambda _: plain(Local),
    "constants, Optuna's TPE": lambda _: plain(Sampled),
    "constants, unrolled": lambda task: plain(Unrolled, tune=Tuner(task).tune),
}


def searched(
    task: Task, objective: str, scale: Scale, make: Make, seeds: Sequence[int]
) -> tuple[dict[str, list[list[Incumbent]]], float]:
    """Run the searches of one part; give each base's answers, and how many trials of a search had tuned constants."""
    found: dict[tuple[str, int], list[Incumbent]] = {}
    ledgers: list[Memory] = []

    def job(base: str, seed: int, seat: Seat) -> None:
        recipe = recipe_of(METHODS[base], task, objective, seed)
        usual = cast("EvolutionaryProposer", make_proposer(recipe, seat.facts.prior, seat.facts.pixels)[0])

        def made(memory: Memory) -> EvolutionaryProposer:
            ledgers.append(memory)
            return make(usual, memory)

        found[base, seed] = search(seat, recipe, METHODS[base], scale, made)

    run_together(task, [partial(job, base, seed) for base in BASES for seed in seeds], lambda _: None)
    tuned = sum(trial.operator in TUNED for ledger in ledgers for trial in ledger.trials()) / len(ledgers)
    return {base: [found[base, seed] for seed in seeds] for base in BASES}, tuned


def measured(scale: Scale, keep: Path, wanted: Sequence[str], unit: tuple[str, int]) -> dict[str, Any]:
    """Run all parts on some searches of a task, or read what is kept of them; scores by part, base, search and mark."""
    name, start = unit
    torch.set_num_threads(1)
    task, objective = make_task(name, development=True), SETTINGS[name].objective
    seeds = range(FIRST + start, FIRST + min(start + SLICE, scale.searches))
    found: dict[str, Any] = {}
    for part in (UNCHANGED, *wanted):
        make = PARTS[part](task) if part in PARTS else plain(EvolutionaryProposer)
        file = keep / f"{part} {name} {scale.budget} {seeds[0]} {seeds[-1]}.json"
        if not file.exists():
            with patch.object(pruning, "FEW", BEGUN.get(part, pruning.FEW)):
                answers, tuned = searched(task, objective, scale, make, seeds)
            scores = confirmed(task, objective, [a for b in answers.values() for run in b for a in run], scale)
            rows = {b: [[(a.trainings, scores[a.program]) for a in run] for run in runs] for b, runs in answers.items()}
            file.write_text(json.dumps(rows | {"tuned": tuned}))
            print(f"{part}, {name}, searches {start}...: done", flush=True)
        found[part] = _at_marks(json.loads(file.read_text()), scale, 1 / task.classes)
    return found


def _at_marks(rows: Mapping[str, Any], scale: Scale, chance: float) -> dict[str, Any]:
    points = [scale.budget * share for share in MARKS]
    return {base: [sampled_at(run, points, chance) for run in rows[base]] for base in BASES} | {"tuned": rows["tuned"]}


def compared(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give each part's mean difference to the unchanged search, by base and mark, with its interval of 95%."""
    names = [name for name in parts[0] if name != UNCHANGED]
    return {
        name: {base: _difference(parts, name, base).tolist() for base in BASES}
        | {"trials with tuned constants, a search": round(fmean(part[name]["tuned"] for part in parts), 1)}
        for name in names
    }


def _difference(parts: Sequence[Mapping[str, Any]], name: str, base: str) -> NDArray[np.float64]:
    ours, other = (np.concatenate([np.array(part[n][base]) for part in parts]) for n in (name, UNCHANGED))
    difference = ours - other
    half = stats.sem(difference) * stats.t.ppf(0.975, len(difference) - 1)
    return np.stack([difference.mean(0), difference.mean(0) - half, difference.mean(0) + half], -1)


def table(result: Mapping[str, Any], scale: Scale) -> str:
    """Write the result for people."""
    marks = [f"{base}, {scale.budget * share:g} trainings" for base in BASES for share in MARKS]
    lines = [f"| part | {' | '.join(marks)} |", "|---" * (len(marks) + 1) + "|"]
    for name, row in result.items():
        cells = [f"{100 * m:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]" for b in BASES for m, low, high in row[b]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=SEARCHES)
    parser.add_argument("--budget", type=int, default=Scale.budget, help="full trainings")
    parser.add_argument("--part", action="append", default=[], help="only this; can be given several times")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder of what is done")
    given = parser.parse_args()
    if unknown := set(given.part) - {*PARTS, *BEGUN}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {'; '.join([*PARTS, *BEGUN])}")
    scale = Scale(given.searches, given.budget)
    units = [(name, start) for start in range(0, given.searches, SLICE) for name in SETTINGS]
    with TemporaryDirectory() as own, multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        keep = given.keep or Path(own)
        keep.mkdir(parents=True, exist_ok=True)
        parts = pool.map(partial(measured, scale, keep, given.part or list(PARTS)), units, chunksize=1)
    result = compared(parts)
    print(table(result, scale))
    command = f"python benchmarks/search/tried.py --searches {scale.searches} --budget {scale.budget}"
    if set(given.part) == set(BEGUN):
        command += "".join(f' --part "{part}"' for part in BEGUN)
        common.write("search_last_rung", command, {"marks": MARKS, "result": result})
    if not given.part:
        common.write("search_tried", command, {"marks": MARKS, "result": result})
        (common.RESULTS / "search_tried.md").write_text(table(result, scale) + "\n")


if __name__ == "__main__":
    main()
