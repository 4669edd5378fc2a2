"""Comparisons and verdicts read back from JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lossml.search import folder as folders
from lossml.search.records import Metrics
from lossml.search.results import Comparison, Contender, Design, Match, Row, Transfer, Verdict
from lossml.search.statistics import Difference


def comparison_of(found: Mapping[str, Any]) -> Comparison:
    """Read a comparison."""
    design: dict[str, Any] = {**found["design"], "learning_rates": tuple(found["design"]["learning_rates"])}
    rows = tuple(row_of(row) for row in found["rows"])
    control, ahead = (Match(**match) if (match := found.get(key)) else None for key in ("control", "ahead"))
    searched, controls = found.get("readings", (1, 1))
    return Comparison(
        rows, Design(**design), found["samples"], found["noise"], control, ahead, readings=(searched, controls)
    )


def row_of(found: Mapping[str, Any]) -> Row:
    """Read a row."""
    raw = found.get("raw")
    typed: dict[str, Any] = {
        "contender": Contender(**found["contender"]),
        "metrics": tuple(Metrics(**m) for m in found["metrics"]),
        "raw": Difference(**raw) if raw else None,
    }
    return Row(**{**found, **typed})


def transfer_of(found: Mapping[str, Any]) -> Transfer:
    """Read a transfer from JSON."""
    return Transfer(found["task"], row_of(found["winner"]), comparison_of(found["comparison"]))


def read_verdict(run: Path) -> Verdict | None:
    """Read a run's verdict; None where it has none yet."""
    path = run / folders.VERDICT
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    winner = row_of(found["winner"]) if found["winner"] else None
    transfers = tuple(transfer_of(one) for one in found.get("transfers", ()))
    return Verdict(found["sentence"], winner, comparison_of(found["comparison"]), transfers)
