"""The main job on real images: a search on CIFAR-10 with a budget of 200, and its confirmation.

    LOSSML_DATA=... python benchmarks/cifar10.py [DEVICE [FOLDER]]

The targets on two cores without a GPU: the search within 8 minutes, confirmation included within 25, under 4 GiB.
On a GPU, with the device "cuda": all of it in under 5 minutes. The run is kept in FOLDER, where one is given.
"""

import json
import sys
import tempfile
from pathlib import Path

import common

COMMAND = "search --dataset cifar10 --budget 200 --seed 0"


def main() -> None:
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    gpu = device != "cpu"
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(sys.argv[2] if len(sys.argv) > 2 else folder)
        kept.mkdir(parents=True, exist_ok=True)
        text, seconds, memory = common.lossml(*COMMAND.split(), "--device", device, "--json", folder=kept)
    found = json.loads(text)
    proposing, training = (sum(cohort["seconds"][k] for cohort in found["cohorts"]) for k in (0, 1))
    states = [trial["state"] for trial in found["trials"]]
    result = {
        "sentence": found["verdict"]["sentence"],
        "winner": found["verdict"]["winner"],
        "rows": [
            {"loss": row["contender"]["label"], "lr": row["lr"], "accuracy": row["mean"], "spread": row["spread"]}
            | {key: row[key] for key in ("difference", "low", "high", "p", "verdict")}
            for row in found["verdict"]["comparison"]["rows"]
        ],
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "rejected": {
            reason: sum(c["rejections"].get(reason, 0) for c in found["cohorts"]) for reason in reasons(found)
        },
        "search_seconds": round(proposing + training, 1),
        "of_which_proposing": round(proposing, 1),
        "total_seconds": round(seconds, 1),
        "peak_gib": round(memory, 2),
    }
    common.write("cifar10_gpu" if gpu else "cifar10", f"lossml {COMMAND} --device {device}", result, gpu=gpu)
    print(json.dumps(result, indent=2))


def reasons(found: dict) -> list[str]:
    return sorted({reason for cohort in found["cohorts"] for reason in cohort["rejections"]})


if __name__ == "__main__":
    main()
