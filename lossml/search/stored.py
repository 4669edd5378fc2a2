"""Comparisons read back from JSON."""

from collections.abc import Mapping
from typing import Any

from lossml.search.compare import Comparison, Match, Row
from lossml.search.records import Metrics
from lossml.search.statistics import Difference
from lossml.search.trainings import Contender, Design


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
