"""How often does a search announce a better loss where there is none, and how often does it find one that is there?

    LOSSML_DATA=FOLDER python benchmarks/false_discoveries.py [--searches 100] [--workers 2]

Every count is of the verdict that a person would read, from whole searches with their confirmation, made by the
product's own functions. What varies from search to search: the images of all three splits, the shuffled or wrong
labels, and the search's seed, and with it every initialisation, data order and proposal. Nothing is drawn once and used
a hundred times. See null_tasks.py for the tasks. Promised is that at most 5% of the searches with nothing to find
announce a better loss.

1. Shuffled labels: `runs.search` on labels that are independent of the images, of all splits. Every loss is
   right one time in ten, so that no difference in accuracy is true. (In likelihood some would be.)
2. Cross-entropy in disguise: a search among sixteen programs that are cross-entropy up to a factor, its best nine
   tuned, its best three compared with tuned cross-entropy. As equal losses with equal seeds give equal networks, which
   would test nothing, every copy trains from seeds of its own: what is left is the luck that a search selects on.
   Copies may be tuned to other rates than the reference; as they are tuned by the same rule, this is luck too.
   A run would not let a second copy pass the screens, so the parts of a run are called one by one.
3. Something to find: `runs.search` with 0, 20, 40 and 60% wrong training labels and cross-entropy as the baseline. What
   is true of each loss tested is measured apart: on the same training split, at the tuned rates, with 32 fresh
   seeds and 10,000 images that no search reads. The share of tests that announce "better" stands beside the share
   that the standard error of each test predicts for the true difference (see `statistics.detectable`).

Writes benchmarks/results/false_discoveries.json.
"""

import argparse
import multiprocessing
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import common
import numpy as np
import torch
from null_tasks import spec
from scipy import stats

from lossml.backend import stack
from lossml.program import parse, show
from lossml.proxy import Run, Trainer, TrainingState
from lossml.search.cohort import Waiting
from lossml.search.compare import Row, compare
from lossml.search.confirm import TUNED, Verdict, finalists, judged
from lossml.search.events import silent
from lossml.search.loop import Search
from lossml.search.propose import Rules
from lossml.search.recipe import Recipe
from lossml.search.records import FULL
from lossml.search.runs import search
from lossml.search.trainings import Store, contenders, design_of, module_of

sys.path.append(str(Path(__file__).resolve().parent / "search"))

from methods import Memory
from together import remember_descents

CE = "-sum_C(y*logp)"
COPIES, NOISES, FRESH, SEED = 16, (0, 20, 40, 60), 32, 5_000_003
SMALL = {
    "budget": 24,
    "cohort": 12,
    "rungs": (4, FULL),
    "candidates": 3,
    "confirm_seeds": 5,
    "tuning_seeds": 2,
    "workers": 0,
    "device": "cpu",
}


def tested(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.contender.trial >= 0 and row.raw is not None]


def told(kind: str, number: int, verdict: Verdict) -> dict[str, Any]:
    """Keep of a verdict what is counted."""
    winner = verdict.winner
    return {
        "kind": kind,
        "number": number,
        "verdict": winner.verdict if winner else "nothing",
        "tests": [row.verdict for row in tested(verdict.comparison.rows)],
        "rates": [winner.lr if winner else 0.0, verdict.comparison.rows[0].lr],
        "sentence": verdict.sentence,
    }


def run_search(kind: str, number: int, folder: str, **flags: Any) -> Verdict:  # noqa: ANN401 - keys of a recipe
    given = {"dataset": spec(kind, number).name, "seed": number, **SMALL, **flags}
    found = search(given, root=folder).verdict
    assert found is not None  # noqa: S101 - it confirms
    return found


def shuffled(number: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return told("shuffled", number, run_search("shuffled", number, folder))


class OwnSeeds:
    """A trainer that trains every program from seeds of its own; equal losses are then equal in truth alone."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self.facts, self.workers = trainer, trainer.facts, trainer.workers
        self.evaluate = trainer.evaluate

    def begin(self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int) -> Waiting:
        own = [replace(run, seed=run.seed + zlib.crc32(show(run.loss.program).encode())) for run in runs]
        return self._trainer.begin(own, states, start, stop)


def disguised(number: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, Trainer(spec("noisy0", number), stack, workers=0) as real:
        trainer: Any = OwnSeeds(real)
        file = Path(folder) / "copies.txt"
        file.write_text("".join(f"-{k}*sum_C(y*logp)\n" for k in range(2, 2 + COPIES)))
        given = {**SMALL, "budget": COPIES, "cohort": COPIES, "seeds": str(file), "seed": number}
        recipe = Recipe("disguised", **given)
        memory = Memory()
        Search(recipe, memory, trainer, silent, Rules(screens=False, different=False)).run(float("inf"))
        chosen = finalists(
            [t for _, trials in memory.found for t in trials], recipe.objective, TUNED * recipe.candidates
        )
        named = [("ce", parse(CE), -1), *((f"#{t.number}", parse(t.program), t.number) for t in chosen)]
        losses = contenders(named, real.facts.prior)
        store = Store(Path(folder) / "journal.log")
        return told("disguised", number, judged(compare(trainer, losses, design_of(recipe), store, silent)))


def truth(kind: str, number: int, rows: Sequence[Row]) -> list[float]:
    """Measure what the losses of some rows are truly worth against the first, with many seeds and samples."""
    with Trainer(spec(kind, number, true=True), stack, workers=0) as trainer:
        jobs = [(row, SEED + k) for row in rows for k in range(FRESH)]
        runs = [Run(module_of(row.contender, trainer.facts.prior), row.lr, seed) for row, seed in jobs]
        trained = trainer.advance(runs, [None] * len(runs), 0, FULL)
        living = iter(trainer.evaluate([o.state for o in trained if o.state is not None], "heldout"))
        scores = [next(living).score.accuracy if o.state is not None else 0.1 for o in trained]
    means = np.asarray(scores).reshape(len(rows), FRESH).mean(1)
    return (means[1:] - means[0]).tolist()


def predicted(row: Row, true: float, tests: int, alpha: float) -> float:
    """Say how likely a test announces "better", by the standard error and the rule that a verdict itself goes by."""
    freedom = row.raw.freedom
    return float(stats.t.sf(stats.t.isf(alpha / (2 * tests), freedom) - true / row.raw.error, freedom))


def planted(noise: int, number: int) -> dict[str, Any]:
    kind = f"noisy{noise}"
    with tempfile.TemporaryDirectory() as folder:
        verdict = run_search(kind, number, folder, baselines=["ce"])
    rows = tested(verdict.comparison.rows)
    reference, alpha = verdict.comparison.rows[0], verdict.comparison.design.alpha
    true = truth(kind, number, [reference, *rows])
    tests = [
        {
            "verdict": row.verdict,
            "measured": row.difference,
            "true": gain,
            "detectable": row.detectable,
            "predicted": predicted(row, gain, len(rows), alpha),
        }
        for row, gain in zip(rows, true, strict=True)
        if row.raw.error > 0.0
    ]
    place = rows.index(verdict.winner) if verdict.winner in rows else None
    return {**told(kind, number, verdict), "true": None if place is None else true[place], "truths": tests}


def prepare() -> None:
    """Get a process ready: one thread, and what is learnt of a program by the screens kept for the next search."""
    torch.set_num_threads(1)
    remember_descents()


def measure(job: tuple[str, int]) -> dict[str, Any]:
    kind, number = job
    began = monotonic()
    makers = {"shuffled": shuffled, "disguised": disguised}
    found = makers[kind](number) if kind in makers else planted(int(kind.removeprefix("noisy")), number)
    print(f"{kind} {number}: {found['verdict']}, {monotonic() - began:.1f} s", flush=True)
    return found


def share(hits: int, of: int) -> dict[str, Any]:
    """Give a share with its interval of 95% (Clopper and Pearson)."""
    low, high = stats.binomtest(hits, of).proportion_ci(method="exact") if of else (0.0, 1.0)
    return {"hits": hits, "of": of, "share": hits / max(1, of), "interval": [float(low), float(high)]}


def false_rates(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    won = [row for row in rows if row["verdict"] == "better"]
    return {
        "better": share(len(won), len(rows)),
        "of these at another rate than the reference": share(sum(len(set(row["rates"])) > 1 for row in won), len(won)),
        "any difference": share(sum(any(v != "no difference" for v in row["tests"]) for row in rows), len(rows)),
    }


def power(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sum up the searches of one amount of noise: what was announced, what was to be expected, what was wrong."""
    tests = [one for row in rows for one in row["truths"]]
    won = [row for row in rows if row["verdict"] == "better"]
    return {
        "searches that announce": share(len(won), len(rows)),
        "of these untrue": share(sum(row["true"] <= 0.0 for row in won), len(won)),
        "tests that announce": share(sum(one["verdict"] == "better" for one in tests), len(tests)),
        "predicted share of tests": float(np.mean([one["predicted"] for one in tests])) if tests else None,
        "true difference": float(np.mean([one["true"] for one in tests])) if tests else None,
        "measured difference": float(np.mean([one["measured"] for one in tests])) if tests else None,
        "detectable": float(np.median([one["detectable"] for one in tests])) if tests else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=100, help="with nothing to find, of each of the two kinds")
    parser.add_argument("--planted", type=int, default=20, help="with something to find, for each amount of noise")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--name", default="false_discoveries", help="of the result")
    given = parser.parse_args()
    began = monotonic()
    levels = [f"noisy{noise}" for noise in NOISES]
    jobs = [(kind, number) for kind in ("shuffled", "disguised") for number in range(given.searches)]
    jobs += [(kind, 1000 + number) for kind in levels for number in range(given.planted)]
    with multiprocessing.get_context("spawn").Pool(given.workers, prepare) as pool:
        rows = pool.map(measure, jobs, chunksize=1)
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in ("shuffled", "disguised", *levels)}
    result = {
        "false discoveries": {kind: false_rates(by_kind[kind]) for kind in ("shuffled", "disguised")},
        "power": {kind: power(by_kind[kind]) for kind in levels},
        "seconds": round(monotonic() - began),
        "searches": rows,
    }
    command = f"python benchmarks/false_discoveries.py --searches {given.searches} --planted {given.planted}"
    common.write(given.name, command, result)
    for kind, found in {**result["false discoveries"], **result["power"]}.items():
        print(kind, *(f"\n    {key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
