"""A search for a segmentation loss on CamVid with a budget of 60, and its confirmation.

    LOSSML_DATA=... python benchmarks/segmentation.py

What is found is compared with cross-entropy, Dice with cross-entropy and the recipe's other baselines, and with
Lovász-Softmax, which is no program and needs the extra lossml[segmentation].

The target on two cores without a GPU: confirmation included, within 30 minutes.
"""

import json
import os
import tempfile
from pathlib import Path

import common

from lossml.search.recipe import make_recipe

COMMAND = "search --dataset camvid --budget 60 --seed 0"


def main() -> None:
    before = os.getloadavg()[1]
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "camvid-lovasz.toml"
        baselines = [*make_recipe({"dataset": "camvid"}).baselines, "lovasz"]
        recipe.write_text(f"baselines = {json.dumps(baselines)}\n")
        text, seconds, memory = common.lossml(*COMMAND.split(), "--recipe", recipe.name, "--json", folder=Path(folder))
    found = json.loads(text)
    used = os.times()
    proposing, training = (sum(cohort["seconds"][k] for cohort in found["cohorts"]) for k in (0, 1))
    states = [trial["state"] for trial in found["trials"]]
    verdict = found["verdict"]
    result = {
        "baselines": baselines,
        "sentence": verdict["sentence"],
        "winner": verdict["winner"],
        "rows": [
            {"loss": row["contender"]["label"], "program": row["contender"]["program"], "lr": row["lr"]}
            | {"miou": row["mean"], "spread": row["spread"]}
            | {key: row[key] for key in ("difference", "low", "high", "p", "verdict")}
            for row in verdict["comparison"]["rows"]
        ],
        "heldout_images": verdict["comparison"]["samples"],
        "rungs": found["summary"]["rungs"],
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "rejected": {
            reason: sum(c["rejections"].get(reason, 0) for c in found["cohorts"])
            for reason in sorted({reason for cohort in found["cohorts"] for reason in cohort["rejections"]})
        },
        "search_seconds": round(proposing + training, 1),
        "of_which_proposing": round(proposing, 1),
        "total_seconds": round(seconds, 1),
        "processor_seconds": round(used.children_user + used.children_system, 1),
        "load_average": {"before": round(before, 2), "after": round(os.getloadavg()[1], 2)},
        "peak_gib": round(memory, 2),
    }
    common.write("segmentation", f"lossml {COMMAND} --recipe {recipe.name}", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
