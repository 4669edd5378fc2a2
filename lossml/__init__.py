"""LossML discovers loss functions: what it says it found is there, and when there is nothing it says so."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossml.backend.load import load
    from lossml.backend.module import ProgramLoss
    from lossml.card import inspect
    from lossml.program import parse
    from lossml.report.write import write_report

_HOMES = {
    "ProgramLoss": "lossml.backend.module",
    "inspect": "lossml.card",
    "load": "lossml.backend.load",
    "parse": "lossml.program",
    "write_report": "lossml.report.write",
}

__all__ = ["ProgramLoss", "inspect", "load", "parse", "search", "write_report"]  # pyright: ignore[reportUnsupportedDunderAll] - a room, see there


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import torch and the rooms that need it only when something of theirs is asked for."""
    if name == "__version__":
        return import_module("importlib.metadata").version("lossml")
    if name == "search":
        return import_module("lossml.search")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lossml' has no attribute {name!r}")
