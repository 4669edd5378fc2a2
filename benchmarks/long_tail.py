"""Searches on digits under a long tail of 100, without seeds: does a loss that reads the prior beat cross-entropy?

    python benchmarks/long_tail.py [SEEDS]

The target: the confirmed loss reads pi and is better in balanced accuracy than tuned cross-entropy. Logit adjustment,
the published answer, is a baseline beside it.
"""

import json
import sys
import tempfile
from pathlib import Path

import common

from lossml.program import operations, parse

COMMAND = "search --dataset digits --long-tail 100 --objective balanced_accuracy --seeds none --budget 200"


def one(seed: int, folder: Path) -> dict[str, object]:
    text, seconds, memory = common.lossml(*COMMAND.split(), "--seed", str(seed), "--json", folder=folder)
    found = json.loads(text)["verdict"]
    winner, rows = found["winner"], found["comparison"]["rows"]
    row = {
        "seed": seed,
        "sentence": found["sentence"],
        "reads_prior": "pi" in operations(parse(winner["contender"]["program"])),
        "difference": winner["difference"],
        "interval": [winner["low"], winner["high"]],
        "verdict": winner["verdict"],
        "formula": winner["contender"]["program"],
        "known": winner["contender"]["known"],
        "balanced_accuracy": {row["contender"]["label"]: row["mean"] for row in rows},
        "seconds": round(seconds, 1),
        "peak_gib": round(memory, 2),
    }
    print(seed, found["sentence"], winner["contender"]["program"], f"{seconds:.0f} s", flush=True)
    return row


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = [one(seed, Path(folder)) for seed in seeds]
    reached = sum(bool(row["reads_prior"]) and row["verdict"] == "better" for row in rows)
    common.write("long_tail", f"lossml {COMMAND} --seed 0..{len(rows) - 1}", {"reached": reached, "searches": rows})
    print(f"{reached} of {len(rows)} find a loss that reads the prior and beats tuned cross-entropy")


if __name__ == "__main__":
    main()
