"""What a search's journal holds, read from its lines: Optuna, which writes them, takes longer to import than to read.

A line is one JSON object: an operation of Optuna's, by number, on one of its studies, which are numbered as they are
made. A cohort is an attribute of the search's study. The trials that are added from it say nothing more, so that their
lines are not parsed.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossml.errors import RunError
from lossml.search.records import Cohort, State, Trial, as_json, metrics_from

STUDY = "search"  # the name; Hyperband's brackets depend on it
COHORT = "cohort:"
OPERATION = b'{"op_code":'  # begins every line, a digit and a comma follow
KNOWN = re.compile(OPERATION + rb"\d,.*\}\s*", re.DOTALL)
CREATED, DELETED, DESCRIBED = (OPERATION + b"%d," % code for code in range(3))  # a study: made, deleted, given a fact

Recorded = list[tuple[Cohort, tuple[Trial, ...]]]
"""Cohorts with their trials, in order."""


def read_cohorts(path: Path) -> Recorded:
    """Read the cohorts that a journal file holds; none where there is no file. A search may be writing it.

    Raises:
        RunError: where the file is damaged before its end.
    """
    if not path.exists():
        return []
    try:
        found = _attributes(path)
        pairs = [_cohort(json.loads(value)) for key, value in found.items() if key.startswith(COHORT)]
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}); the run cannot be used, start another") from error
    return sorted(pairs, key=lambda pair: pair[0].start)


def written(cohort: Cohort, trials: Sequence[Trial]) -> tuple[str, str]:
    """Return the attribute, name and value, that keeps a cohort's results."""
    return f"{COHORT}{cohort.start}", json.dumps({"cohort": as_json(cohort), "trials": as_json(tuple(trials))})


def _attributes(path: Path) -> dict[str, Any]:
    """Collect the attributes of the search's study."""
    names: list[str] = []
    living: dict[str, int] = {}
    found: dict[int, dict[str, Any]] = {}
    for line in _lines(path):
        if line.startswith(CREATED) and (name := json.loads(line)["study_name"]) not in living:
            living[name] = len(names)
            names.append(name)
        elif line.startswith(DELETED) and (number := json.loads(line)["study_id"]) in living.values():
            del living[names[number]]
        elif line.startswith(DESCRIBED):
            fact = json.loads(line)
            found.setdefault(fact["study_id"], {}).update(fact["user_attr"])
    return found.get(living.get(STUDY, -1), {})


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the whole lines; the last may be half written."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            if not KNOWN.fullmatch(line):
                raise ValueError(f"line {number} is no operation")
            yield line


def _cohort(value: Mapping[str, Any]) -> tuple[Cohort, tuple[Trial, ...]]:
    found = value["cohort"]
    first, second = found["seconds"]
    cohort = Cohort(found["start"], found["size"], found["rejections"], (first, second))
    return cohort, tuple(_trial(row) for row in value["trials"])


def _trial(row: Mapping[str, Any]) -> Trial:
    typed: dict[str, Any] = {
        "parents": tuple(row["parents"]),
        "keys": tuple(row["keys"]),
        "metrics": tuple(map(metrics_from, row["metrics"])),
        "state": State(row["state"]),
    }
    return Trial(**{**row, **typed})
