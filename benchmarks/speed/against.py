"""How long does the main job take beside an earlier state of the code? One after the other, on one machine.

    LOSSML_DATA=... python benchmarks/speed/against.py CHECKOUT COMMIT [BUDGET]

CHECKOUT is a folder with that commit's files. Both search CIFAR-10 without confirmation, the earlier state first; what
is compared is the whole command, and how well the first rungs rank what was trained to the end. A machine that does
something else besides makes this worthless.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common
from scipy import stats

HERE = Path(__file__).resolve().parents[2]


def searched(tree: Path, budget: int) -> dict[str, Any]:
    """Run a search with a tree's code; give what it took and how its rungs rank."""
    command = [sys.executable, "-m", "lossml", "search", "--dataset", "cifar10", "--budget", str(budget)]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    with TemporaryDirectory() as folder:
        began = monotonic()
        done = subprocess.run(
            [*command, "--no-confirm", "--json"],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        )  # fmt: skip
        seconds = monotonic() - began
    found = json.loads(done.stdout)
    return {"seconds": round(seconds), **correlations(found["trials"])}


def correlations(trials: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give Spearman's correlation of each rung but the last with the last, over the trials that reached it."""
    rows = [[m["accuracy"] for m in trial["metrics"]] for trial in trials if trial["state"] == "complete"]
    earlier = range(len(rows[0]) - 1) if rows else ()
    found = [stats.spearmanr([row[k] for row in rows], [row[-1] for row in rows])[0] for k in earlier]
    return {"trained to the end": len(rows), "rank correlation of the rungs": [round(float(r), 2) for r in found]}


def main() -> None:
    tree, commit = Path(sys.argv[1]).resolve(), sys.argv[2]
    budget = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    before, now = searched(tree, budget), searched(HERE, budget)
    ratio = round(now["seconds"] / before["seconds"], 2)
    result = {"budget": budget, f"at {commit}": before, "now": now, "ratio": ratio}
    common.write("speed_against", f"python benchmarks/speed/against.py CHECKOUT {commit} {budget}", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
