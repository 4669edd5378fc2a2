"""What would each of these parts add to a search? Measured on tasks for development: the benchmark's stay untouched.

    LOSSML_DATA=... python benchmarks/search/tried.py [--searches 20] [--budget 32] [--parts NAME;NAME] [--keep FOLDER]

The tasks are those of tasks.py with other training and other held-out samples. A search is run as it is and with one
part of parts.py in its proposer, once from the published losses and once from scratch, with equal seeds and training.
The gradient through unrolled steps is given its own training for free.

A difference is that of the mean confirmed score, paired by task and search; its interval is Student's over all pairs.
"""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import common
import numpy as np
import torch
from analysis import sampled_at
from methods import METHODS, Incumbent, Memory, Scale, recipe_of, search
from parts import AgeLayers, Crediting, Frugal, Islands, Local, Sampled, Unrolled
from run import confirmed
from scipy import stats
from tasks import SETTINGS, make_task
from together import Seat, run_together
from unrolled import Tuner

from lossml.evolve import EvolutionaryProposer
from lossml.proxy import Task
from lossml.search.propose import make_proposer

BASES = ("ours", "from scratch")
FIRST, SLICE = 600, 10  # seed of the first search; searches side by side
UNCHANGED = "unchanged"
MARKS = (0.5, 1.0)  # shares of the budget at which searches are looked at

Make = Callable[[EvolutionaryProposer, Memory], EvolutionaryProposer]


def plain(kind: type[EvolutionaryProposer], **settings: object) -> Make:
    """Make a proposer of a kind with the usual one's grammar and seeds."""
    return lambda usual, _: kind(usual.grammar, usual.seeds, **settings)  # pyright: ignore[reportArgumentType]


def lineal(kind: type[Islands | AgeLayers | Crediting]) -> Make:
    """Make a proposer that asks the ledger where trials come from."""
    return lambda usual, memory: kind(usual.grammar, usual.seeds, memory=memory)


def parts_for(task: Task) -> Mapping[str, Make]:
    """Give what makes each proposer."""
    return {
        UNCHANGED: plain(EvolutionaryProposer),
        "adaptive parsimony, 0.1": plain(Frugal),
        "adaptive parsimony, 0.3": plain(Frugal, parsimony=0.3),
        "four islands": lineal(Islands),
        "age layers": lineal(AgeLayers),
        "adapting rates": lineal(Crediting),
        "constants, local": plain(Local),
        "constants, Optuna's TPE": plain(Sampled),
        "constants, unrolled": plain(Unrolled, tune=Tuner(task).tune),
    }


def searched(task: Task, objective: str, scale: Scale, make: Make, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the searches of one part; give each base's answers by search."""
    found: dict[tuple[str, int], list[Incumbent]] = {}

    def job(base: str, seed: int, seat: Seat) -> None:
        recipe = recipe_of(METHODS[base], task, objective, seed)
        usual = cast("EvolutionaryProposer", make_proposer(recipe, seat.facts.prior, seat.facts.pixels)[0])
        made = partial(make, usual)
        found[base, seed] = search(seat, recipe, METHODS[base], scale, made)

    run_together(task, [partial(job, base, seed) for base in BASES for seed in seeds], lambda _: None)
    return {base: [found[base, seed] for seed in seeds] for base in BASES}


def measured(scale: Scale, keep: Path, wanted: Sequence[str], unit: tuple[str, int]) -> dict[str, Any]:
    """Run all parts on some searches of a task, or read what is kept of them; scores by part, base, search and mark."""
    name, start = unit
    torch.set_num_threads(1)
    task, objective = make_task(name, development=True), SETTINGS[name].objective
    seeds = range(FIRST + start, FIRST + min(start + SLICE, scale.searches))
    found: dict[str, Any] = {}
    for part, make in parts_for(task).items():
        if wanted and part not in {UNCHANGED, *wanted}:
            continue
        file = keep / f"{part} {name} {scale.budget} {start}.json".replace("/", "-")
        if not file.exists():
            answers = searched(task, objective, scale, make, seeds)
            scores = confirmed(task, objective, [a for b in answers.values() for run in b for a in run], scale)
            rows = {b: [[(a.trainings, scores[a.program]) for a in run] for run in runs] for b, runs in answers.items()}
            file.write_text(json.dumps(rows))
            print(f"{part}, {name}, searches {start}...: done", flush=True)
        found[part] = _at_marks(json.loads(file.read_text()), scale, 1 / task.classes)
    return found


def _at_marks(rows: Mapping[str, Any], scale: Scale, chance: float) -> dict[str, Any]:
    points = [scale.budget * share for share in MARKS]
    return {base: [sampled_at(run, points, chance) for run in runs] for base, runs in rows.items()}


def compared(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give each part's mean difference to the unchanged search, by base and mark, with its interval of 95%."""
    names = [name for name in parts[0] if name != UNCHANGED]
    return {
        name: {base: _difference(parts, name, base).tolist() for base in BASES} | {"pairs": _pairs(parts)}
        for name in names
    }


def _pairs(parts: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(part[UNCHANGED][BASES[0]]) for part in parts)


def _difference(parts: Sequence[Mapping[str, Any]], name: str, base: str) -> Any:  # noqa: ANN401 - an array
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
    parser.add_argument("--searches", type=int, default=Scale.searches)
    parser.add_argument("--budget", type=int, default=Scale.budget, help="full trainings")
    parser.add_argument("--parts", default="", help="names, with ; between them; all where none is given")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("tried"), help="folder of what is done")
    given = parser.parse_args()
    scale, wanted = Scale(given.searches, given.budget), [part for part in given.parts.split(";") if part]
    given.keep.mkdir(parents=True, exist_ok=True)
    units = [(name, start) for start in range(0, given.searches, SLICE) for name in SETTINGS]
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        parts = pool.map(partial(measured, scale, given.keep, wanted), units, chunksize=1)
    result = compared(parts)
    command = f"python benchmarks/search/tried.py --searches {scale.searches} --budget {scale.budget}"
    common.write("search_tried", command, {"marks": MARKS, "result": result})
    (common.RESULTS / "search_tried.md").write_text(table(result, scale) + "\n")
    print(table(result, scale))


if __name__ == "__main__":
    main()
