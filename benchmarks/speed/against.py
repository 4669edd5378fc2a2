"""How long does the main job take beside an earlier state of the code? In turn, on one machine.

    LOSSML_DATA=... python benchmarks/speed/against.py CHECKOUT [BUDGET [ROUNDS]]

CHECKOUT is a clean checkout of the earlier state. Both first search the digits for a moment, so that neither compiles
or reads files for the first time, then CIFAR-10 without confirmation, the earlier state first in every other round.
What is compared is the whole command, and how well the first rungs rank what was trained to the end; a ratio is of two
runs that follow each other, and the result their median. A machine that does something else besides makes it
worthless.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common
from scipy import stats

HERE = Path(__file__).resolve().parents[2]


def searched(tree: Path, dataset: str, budget: int) -> tuple[float, dict[str, Any]]:
    """Run a search with a tree's code; give its seconds and what it found."""
    command = [sys.executable, "-m", "lossml", "search", "--dataset", dataset, "--budget", str(budget)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with TemporaryDirectory() as folder:
        began = monotonic()
        done = subprocess.run(
            [*command, "--no-confirm", "--plain", "--json"],
            cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return monotonic() - began, json.loads(done.stdout)


def summed_up(seconds: float, found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what is compared: seconds, and Spearman's correlation of each rung with the last."""
    rows = [[m["accuracy"] for m in trial["metrics"]] for trial in found["trials"] if trial["state"] == "complete"]
    earlier = range(len(rows[0]) - 1) if rows else ()
    ranks = [stats.spearmanr([row[k] for row in rows], [row[-1] for row in rows])[0] for k in earlier]
    return {
        "seconds": round(seconds),
        "of which proposing": round(sum(cohort["seconds"][0] for cohort in found["cohorts"])),
        "of which training": round(sum(cohort["seconds"][1] for cohort in found["cohorts"])),
        "trained to the end": len(rows),
        "rank correlation of the rungs": [round(float(rank), 2) for rank in ranks],
    }


def commit(tree: Path) -> str:
    command = [shutil.which("git") or "git", "-C", str(tree), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def compared(trees: tuple[Path, Path], budget: int, first: int) -> dict[str, Any]:
    """Search once with each tree, of which one goes first; give both and their ratio."""
    found = {
        k: {"commit": commit(trees[k]), **summed_up(*searched(trees[k], "cifar10", budget))} for k in (first, 1 - first)
    }
    return {"before": found[0], "now": found[1], "ratio": round(found[1]["seconds"] / found[0]["seconds"], 2)}


def main() -> None:
    old, *rest = sys.argv[1:]
    budget, rounds = int(rest[0]) if rest else 200, int(rest[1]) if rest[1:] else 1
    trees = Path(old).resolve(), HERE
    for tree in trees:
        searched(tree, "digits", 4)
    found = [compared(trees, budget, k % 2) for k in range(rounds)]
    result = {"budget": budget, "rounds": found, "ratio": round(median(one["ratio"] for one in found), 2)}
    common.write("speed_against", " ".join(["python benchmarks/speed/against.py CHECKOUT", *rest]), result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
