"""The plan of a benchmark: what is compared and how, written before anything trains, and held to when it goes on."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lossml.errors import RunError
from lossml.search.folder import write_atomically

PLAN = "plan.json"
VERSIONS = ("lossml", "torch", "torchvision", "lightning-fabric", "torchmetrics")


def versions() -> dict[str, str]:
    """Return the versions of what a full training's numbers depend on."""
    return {name: version(name) for name in VERSIONS}


def hold(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write a plan, or check that the folder's own is the same.

    Raises:
        RunError: where the folder holds another plan, with the first thing that differs.
    """
    path = folder / PLAN
    text = json.dumps(plan, indent=2) + "\n"
    if not path.exists():
        write_atomically(path, text)
        return
    if path.read_text(encoding="utf-8") == text:
        return
    reason = first_difference(read(folder), json.loads(text))
    raise RunError(
        f"{folder} holds another plan{f': {reason}' if reason else ''}; choose another --output, or give the options "
        "it was made with"
    )


def read(folder: Path) -> dict[str, Any]:
    """Read a folder's plan; a RunError where it has none that can be read."""
    try:
        found = json.loads((folder / PLAN).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{folder} is no benchmark: it has no {PLAN}") from error
    except ValueError as error:
        raise RunError(f"{folder / PLAN} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise RunError(f"{folder / PLAN} is damaged: it is no plan")
    return found


def first_difference(there: Any, here: Any, name: str = "") -> str:  # noqa: ANN401 - JSON is whatever it is
    """Say where two plans first differ; "" where they do not."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in (*there, *(key for key in here if key not in there)):
            found = first_difference(there.get(key), here.get(key), f"{name}.{key}" if name else key)
            if found:
                return found
        return ""
    return "" if there == here else f"{name} is {json.dumps(there)[:80]} there and {json.dumps(here)[:80]} here"
