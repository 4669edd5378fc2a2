"""Searches on digits under a long tail of 100: does a loss that reads the prior beat cross-entropy?

    python benchmarks/long_tail.py none|zoo [SEARCHES]

"none" tells the search nothing; "zoo" lets it begin with the published losses, those that read the prior among them.

The target: the confirmed loss reads pi and is better in balanced accuracy than tuned cross-entropy. Logit adjustment,
the published answer, is a baseline beside it.
"""

import json
import sys
import tempfile
from pathlib import Path

import common

from lossml.program import operations, parse

COMMAND = "search --dataset digits --long-tail 100 --objective balanced_accuracy --budget 200"


def one(seeds: str, seed: int, folder: Path) -> dict[str, object]:
    options = ("--seeds", seeds, "--seed", str(seed), "--json")
    text, seconds, memory = common.lossml(*COMMAND.split(), *options, folder=folder)
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
    seeds, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as folder:
        rows = [one(seeds, seed, Path(folder)) for seed in range(count)]
    reached = sum(bool(row["reads_prior"]) and row["verdict"] == "better" for row in rows)
    command = f"lossml {COMMAND} --seeds {seeds} --seed 0..{len(rows) - 1}"
    common.write(f"long_tail_{seeds}", command, {"reached": reached, "searches": rows})
    print(f"{reached} of {len(rows)} find a loss that reads the prior and beats tuned cross-entropy")


if __name__ == "__main__":
    main()
