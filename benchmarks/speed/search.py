"""What a long search costs besides its training: memory, the seconds of proposing, the time to show it.

    python benchmarks/speed/search.py [--trials 10000] [--minutes 20] [--folder FOLDER]

The product's own loop, journal and trainer in one process, on digits with networks of eight hidden units and sixteen
steps. Seconds are processor seconds of all threads, as the machine may be busy. With a folder, a search that was
stopped by its minutes goes on there, and memory counts what the resumed process holds. The targets: memory that does
not grow by more than the records, proposing no slower late than early, `lossml show` in a second at 10,000 trials.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic, process_time
from typing import Any

import psutil

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common

from lossml.backend import stack
from lossml.proxy import TaskSpec, Trainer, load_task
from lossml.proxy.networks import MLP
from lossml.search import folder as folders
from lossml.search.events import CohortFinished, Event, Proposed
from lossml.search.journal import Journal
from lossml.search.loop import Search
from lossml.search.recipe import make_recipe

MARKS = (200, 1000, 2000, 5000, 10_000)  # trials at which something is written down
LATEST = 12  # cohorts whose median is taken
TINY = replace(load_task(TaskSpec("digits")), network=partial(MLP, 64, 8, 10), steps=16, batch_size=16, group=16)


@dataclass
class Watch:
    """Hears a search and writes down what it costs at the marks."""

    folder: Path
    done: int = 0
    proposing: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    since: float = field(default_factory=process_time)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Proposed):
            self.proposing.append(process_time() - self.since)
        elif isinstance(event, CohortFinished):
            before, self.done = self.done, event.done
            if not event.replayed and any(before < mark <= event.done for mark in MARKS):
                self.write()
            self.since = process_time()

    def write(self) -> None:
        row = {
            "trials": self.done,
            "memory_mib": round(psutil.Process().memory_info().rss / 2**20),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
            "journal_mib": round((self.folder / folders.JOURNAL).stat().st_size / 2**20, 1),
            "proposing_seconds_a_cohort": round(median(self.proposing[-LATEST:]), 2),
            "show_seconds": round(shown(self.folder), 2),
        }
        print(row, flush=True)
        self.rows.append(row)


def shown(folder: Path) -> float:
    """Give the processor seconds of `lossml show`, the least of three."""
    spent = []
    for _ in range(3):
        before = psutil.Process().cpu_times()
        subprocess.run([sys.executable, "-m", "lossml", "show", str(folder)], check=True, stdout=subprocess.DEVNULL)
        after = psutil.Process().cpu_times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        recipe = make_recipe({"dataset": "search:TINY", "budget": given.trials, "rungs": [1, 4, 16]})
        folder = given.folder or Path(own) / "run"
        folders.write_atomically(folder / folders.RECIPE, recipe.to_toml())
        watch = Watch(folder)
        with Trainer(TaskSpec("search:TINY"), stack, device="cpu", workers=0) as trainer, folders.held(folder):
            search = Search(recipe, Journal(folder / folders.JOURNAL, recipe.objective, recipe.rungs), trainer, watch)
            search.run(monotonic() + 60 * given.minutes)
            if not watch.rows or watch.rows[-1]["trials"] != watch.done:
                watch.write()
    common.write("speed_search", "python benchmarks/speed/search.py", {"reached": watch.done, "at": watch.rows})


if __name__ == "__main__":
    main()
