"""The same seed twice gives the same trials, byte for byte; killed and resumed it gives the same set.

    python benchmarks/reproducible.py [KILLS]

Runs `lossml search --dataset digits --budget 100 --seed 7` twice undisturbed, and a third time with
kill -9 at moments drawn from a fixed seed, each followed by `--resume`. Trials are compared with every
digit of their scores, and so is the verdict of the confirmation.
"""

import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep

import common

SEARCH = ("search", "--dataset", "digits", "--budget", "100", "--seed", "7", "--plain")
JOURNAL = "journal.log"


def trials_of(run: Path) -> bytes:
    """Write out a run's trials as `lossml show --json` gives them."""
    text, _, _ = common.lossml("show", str(run), "--json", folder=run.parent.parent)
    return json.dumps(json.loads(text)["trials"], indent=0).encode()


def killed_at(size: int, arguments: tuple[str, ...], folder: Path, journal: Path) -> bool:
    """Run lossml and kill -9 it when the journal has reached a size; say whether it came to that."""
    command = [sys.executable, "-m", "lossml", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if journal.exists() and journal.stat().st_size >= size:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            sleep(0.002)
        if process.returncode:
            raise SystemExit(f"lossml {' '.join(arguments)} ended with {process.returncode}")
    return False


def interrupted(folder: Path, moments: list[int]) -> int:
    """Search under the name "killed", killed at each moment and resumed; gives the number of kills."""
    run = folder / "runs" / "killed"
    kills = 0
    for moment in moments:
        arguments = ("search", "--resume", str(run), "--plain") if run.exists() else (*SEARCH, "--name", "killed")
        kills += killed_at(moment, arguments, folder, run / JOURNAL)
        print(f"killed at {moment} bytes of the journal", flush=True)
    common.lossml("search", "--resume", str(run), "--plain", folder=folder)
    return kills


def repeated_lines(journal: Path) -> int:
    """Count trials and trainings that entered the journal more than once."""
    made = [json.loads(line) for line in journal.read_text().splitlines()]
    keys = [json.dumps([row["study_id"], row["user_attrs"]], sort_keys=True) for row in made if "user_attrs" in row]
    return len(keys) - len(set(keys))


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    began = monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seconds = [common.lossml(*SEARCH, "--name", name, folder=folder)[1] for name in ("one", "two")]
        one, two, killed = (folder / "runs" / name for name in ("one", "two", "killed"))
        length = (one / JOURNAL).stat().st_size
        moments = sorted(random.Random(7).sample(range(1, length), kills))  # noqa: S311 - reproducible, nothing secret
        done = interrupted(folder, moments)
        tables = [trials_of(run) for run in (one, two, killed)]
        verdicts = [(run / "verdict.json").read_bytes() for run in (one, two, killed)]
        result = {
            "trials": len(json.loads(tables[0])),
            "twice_the_same_trials": tables[0] == tables[1],
            "twice_the_same_verdict": verdicts[0] == verdicts[1],
            "kills": done,
            "killed_and_resumed_the_same_trials": tables[0] == tables[2],
            "killed_and_resumed_the_same_verdict": verdicts[0] == verdicts[2],
            "trials_and_trainings_in_the_journal_twice": repeated_lines(killed / JOURNAL),
            "sha256_of_the_trials": [hashlib.sha256(table).hexdigest() for table in tables],
            "sentence": json.loads(verdicts[0])["sentence"],
            "seconds_undisturbed": [round(s, 1) for s in seconds],
        }
    common.write("reproducible", f"lossml {' '.join(SEARCH)}", {**result, "seconds": round(monotonic() - began, 1)})
    print(json.dumps(result, indent=1))
    same = [value for key, value in result.items() if "same" in key]
    raise SystemExit(0 if all(same) and not result["trials_and_trainings_in_the_journal_twice"] else 1)


if __name__ == "__main__":
    main()
