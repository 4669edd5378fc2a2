"""Is the search better than chance, and what is each of its parts worth? Many searches a method, at equal training.

    python benchmarks/search/run.py [--searches 20] [--budget 32] [--workers 2] [--keep FOLDER]

Six tasks, nine methods (see tasks.py and methods.py), all driving the product's own loop. Every search is charged each
step it trains, failed and pruned programs included; screens are free, as they train nothing on the task. A search's
answer is its best trial on the search-validation split; every answer it ever had is trained again on fresh seeds, the
same for all, and scored on the held-out split, which no search reads and on whose scores no method was tuned.

Writes benchmarks/results/search.json, .md and .svg. With --keep, what is done is read from that folder, so that a
stopped benchmark goes on.
"""

import argparse
import json
import multiprocessing
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any

import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common
from analysis import analysed, markdown
from methods import METHODS, Incumbent, Scale, recipe_of, search
from plot import figure
from tasks import SETTINGS, make_task
from together import GROUP, Seat, run_together

from lossml.backend import ProgramLoss, stack
from lossml.program import parse
from lossml.proxy import Run, Task
from lossml.proxy.train import advance, evaluate
from lossml.search.cohort import metrics_of
from lossml.search.records import FULL
from lossml.search.trainings import Design

Answers = dict[str, list[list[Incumbent]]]  # by method and search
SLICE = 5  # searches side by side; fixed, as it decides which networks train as one batch


def searched(task: Task, objective: str, scale: Scale, seeds: Sequence[int], say: Any) -> Answers:  # noqa: ANN401 - print
    """Run searches of a task side by side; those of one seed are paired."""
    answers: Answers = {name: [[] for _ in seeds] for name in METHODS}

    def job(name: str, seed: int, seat: Seat) -> None:
        recipe = recipe_of(METHODS[name], task, objective, seed)
        answers[name][seeds.index(seed)] = search(seat, recipe, METHODS[name], scale)

    run_together(task, [partial(job, name, seed) for name in METHODS for seed in seeds], say)
    return answers


def confirmed(task: Task, objective: str, answers: Sequence[Incumbent], scale: Scale) -> dict[str, float]:
    """Train each answer anew on fresh seeds; give the mean held-out score by program, chance where it fails."""
    fresh = Design(scale.seeds, (1.0,)).of("seeds")
    prior = torch.tensor(task.prior)
    losses = {one.program: ProgramLoss(parse(one.program), scale=one.scale, prior=prior) for one in answers}
    jobs = [(program, Run(loss, 1.0, seed)) for program, loss in losses.items() for seed in fresh]
    found: dict[str, list[float]] = {program: [] for program in losses}
    for k in range(0, len(jobs), GROUP):
        part = jobs[k : k + GROUP]
        outcomes = advance(task, stack, [run for _, run in part], [None] * len(part), 0, FULL)
        scores = _heldout(task, objective, outcomes)
        for (program, _), score in zip(part, scores, strict=True):
            found[program].append(score)
    return {program: sum(scores) / len(scores) for program, scores in found.items()}


def _heldout(task: Task, objective: str, outcomes: Sequence[Any]) -> list[float]:
    living = iter(evaluate(task, [o.state for o in outcomes if o.state is not None], "heldout"))
    return [
        metrics_of(next(living).score).of(objective) if o.state is not None else 1.0 / task.classes for o in outcomes
    ]


Unit = tuple[str, tuple[int, ...]]  # a task and the seeds of some of its searches


def units_of(scale: Scale, names: Sequence[str]) -> list[Unit]:
    starts = range(0, scale.searches, SLICE)
    return [(name, tuple(range(k, min(k + SLICE, scale.searches)))) for name in names for k in starts]


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put the slices of a task together."""
    together = {
        key: {method: [run for part in parts for run in part[key][method]] for method in METHODS}
        for key in ("curves", "answers")
    }
    seconds = {key: sum(part["seconds"][key] for part in parts) for key in ("wall", "cpu")}
    return {"task": parts[0]["task"], "chance": parts[0]["chance"], **together, "seconds": seconds}


def measure(scale: Scale, keep: Path | None, unit: Unit) -> dict[str, Any]:
    """Run some searches of a task, or read what is kept of them."""
    name, seeds = unit
    label = re.sub(r"[^a-z0-9]+", "-", f"{name} {scale.budget} {seeds[0]} {seeds[-1]}")
    part = keep / f"{label}.json" if keep else None
    if part is not None and part.exists():
        return json.loads(part.read_text())
    torch.set_num_threads(1)
    wall, cpu = monotonic(), process_time()
    task, objective = make_task(name), SETTINGS[name].objective
    say = partial(_say, label, wall)
    answers = searched(task, objective, scale, seeds, say)
    say("searches done")
    scores = confirmed(task, objective, [one for runs in answers.values() for run in runs for one in run], scale)
    curves = {
        method: [[(one.trainings, scores[one.program]) for one in run] for run in runs]
        for method, runs in answers.items()
    }
    last = {method: [run[-1].program if run else "" for run in runs] for method, runs in answers.items()}
    seconds = {"wall": round(monotonic() - wall), "cpu": round(process_time() - cpu)}
    found = {"task": name, "chance": 1 / task.classes, "curves": curves, "answers": last, "seconds": seconds}
    say(f"done, {seconds}")
    if part is not None:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(found))
    return found


def _say(name: str, start: float, text: str) -> None:
    print(f"{monotonic() - start:6.0f} s  {name}: {text}", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=Scale.searches)
    parser.add_argument("--budget", type=int, default=Scale.budget, help="full trainings")
    parser.add_argument("--tasks", type=int, default=len(SETTINGS), help="the first so many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder of finished tasks")
    parser.add_argument("--name", default="search", help="of the results")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    scale, began = Scale(given.searches, given.budget), monotonic()
    names = list(SETTINGS)[: given.tasks]
    units = units_of(scale, names)
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        done = pool.map(partial(measure, scale, given.keep), units, chunksize=1)
    parts = [joined([one for one in done if one["task"] == name]) for name in names]
    result = analysed(parts, scale)
    common.write(
        given.name,
        f"python benchmarks/search/run.py --searches {scale.searches} --budget {scale.budget}",
        {
            "scale": asdict(scale),
            "seconds": {"wall": round(monotonic() - began), "cpu": sum(p["seconds"]["cpu"] for p in parts)},
            "result": result,
            "tasks": parts,
        },
    )
    (common.RESULTS / f"{given.name}.md").write_text(markdown(result, scale))
    (common.RESULTS / f"{given.name}.svg").write_text(figure(parts, scale))
    print(markdown(result, scale))


if __name__ == "__main__":
    main()
