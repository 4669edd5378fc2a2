"""What part of a search is proposing and screening? Read from the seconds that a run keeps for each of its cohorts.

    lossml search --dataset cifar10 --budget 1000 --no-confirm --name long
    python benchmarks/speed/proposing.py runs/long "what the search ran on"

Reports medians over cohorts, whole and by quarters of the run: what else a machine does stretches single cohorts.
The target: under 3% at 1,000 trials on CIFAR-10.
"""

import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import common

from lossml.search.recorded import read_cohorts

PARTS = 4


def summed_up(rows: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "proposing_seconds": round(median(first for first, _ in rows), 2),
        "cohort_seconds": round(median(first + second for first, second in rows), 2),
        "share": round(median(first / (first + second) for first, second in rows), 4),
    }


def main() -> None:
    run, note = Path(sys.argv[1]), sys.argv[2]
    found = read_cohorts(run / "journal.log")
    rows = [cohort.seconds for cohort, _ in found]
    size = -(-len(rows) // PARTS)
    result = {
        "note": note,
        "trials": sum(cohort.size for cohort, _ in found),
        "all": summed_up(rows),
        "quarters": [summed_up(rows[k : k + size]) for k in range(0, len(rows), size)],
        "seconds": [[round(first, 2), round(second, 2)] for first, second in rows],
    }
    common.write("speed_proposing", "python benchmarks/speed/proposing.py", result)
    print({key: value for key, value in result.items() if key != "seconds"})


if __name__ == "__main__":
    main()
