"""NGL, in both of its published conventions, against tuned cross-entropy with a small ResNet.

    LOSSML_DATA=... python benchmarks/ngl_paper.py [FOLDER]

CIFAR-10 and Fashion-MNIST, 10,000 training images each; Adam and SGD; every loss with its gradient scaled to
cross-entropy's at the start, and as it is written. Learning rates are tuned alike, over 0.3, 1 and 3 times the recipe's
and beyond where an end is best: scaled or not is the same to Adam up to its epsilon, while SGD has to find a rate many
times larger on its way. Five paired seeds; the official test splits are held out.

It goes on where it stopped, in FOLDER (ngl_paper_runs). The target on two cores without a GPU: 40 minutes.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic

import common

from lossml.benchmark import Entrant
from lossml.benchmark.full import Given, benchmark_recipe
from lossml.benchmark.recipe import Training, read
from lossml.benchmark.tables import sentences
from lossml.report.live import duration
from lossml.search.compare import Comparison
from lossml.search.events import Confirming
from lossml.zoo import program_of

SHARED = {
    "width": 12,
    "depth": 1,
    "stem": 2,
    "epochs": 6,
    "train_size": 10_000,
    "heldout_size": 5_000,
    "tuning": 6,
    "seeds": 5,
    "schedule": "cosine",
    "warmup": 0.1,
}
OPTIMIZERS = {"sgd": {"learning_rate": 0.1, "weight_decay": 1e-4}, "adam": {"learning_rate": 3e-3, "weight_decay": 0.0}}
LOSSES = [Entrant(name, program_of(name)) for name in ("ce", "ngl", "ngl-tf")]
DATA = ("cifar10", "fashion-mnist")


def settings() -> dict[str, Training]:
    """Name each comparison: data set, optimizer, scaled or as written."""
    return {
        f"{data}-{optimizer}-{'scaled' if matched else 'written'}": replace(
            read(data, SHARED | {"optimizer": optimizer, **rates}, short=True), match_gradients=matched
        )
        for data in DATA
        for optimizer, rates in OPTIMIZERS.items()
        for matched in (True, False)
    }


def compared(name: str, recipe: Training, folder: Path) -> Comparison:
    began = monotonic()

    def tell(event: object) -> None:
        if isinstance(event, Confirming):
            print(f"{name}: {event.stage}, {event.done} of {event.total}, {duration(monotonic() - began)}", flush=True)

    return benchmark_recipe(recipe, LOSSES, folder / name, Given(data_root=os.environ.get("LOSSML_DATA")), tell)


def rows(found: Comparison) -> list[dict[str, object]]:
    kept = ("lr", "mean", "spread", "difference", "low", "high", "p", "verdict", "detectable", "needed")
    return [
        {"loss": row.contender.label, "scale": row.contender.scale}
        | {key: getattr(row, key) for key in kept}
        | {name: sum(getattr(m, name) for m in row.metrics) / max(1, len(row.metrics)) for name in ("nll", "ece")}
        for row in found.rows
    ]


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "ngl_paper_runs")
    began, before = monotonic(), os.getloadavg()[1]
    found = {name: compared(name, recipe, folder) for name, recipe in settings().items()}
    result = {
        "network": "small-resnet, width 12, one block a stage, first stride 2",
        "settings": SHARED | OPTIMIZERS,
        "comparisons": {name: {"rows": rows(one), "sentences": sentences(one)} for name, one in found.items()},
        "seconds_of_this_call": round(monotonic() - began, 1),
        "load_average": {"before": round(before, 2), "after": round(os.getloadavg()[1], 2)},
    }
    common.write("ngl_paper", f"python benchmarks/ngl_paper.py {folder.name}", result)
    print(json.dumps({name: one["sentences"] for name, one in result["comparisons"].items()}, indent=2))


if __name__ == "__main__":
    main()
