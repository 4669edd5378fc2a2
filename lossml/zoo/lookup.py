"""Finding a loss by name, with parameters: "focal", "focal(gamma=1.5)"."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from types import MappingProxyType

from lossml.errors import UsageError
from lossml.program import Node
from lossml.zoo.classification import CLASSIFICATION
from lossml.zoo.entry import Entry
from lossml.zoo.segmentation import SEGMENTATION

ENTRIES: Mapping[str, Entry] = MappingProxyType({entry.name: entry for entry in (*CLASSIFICATION, *SEGMENTATION)})
_CALL = re.compile(r"\s*(?P<name>[^()\s]+)\s*(?:\((?P<arguments>[^()]*)\))?\s*")
_ARGUMENT = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def names() -> list[str]:
    """Return the names of all losses, classification first."""
    return list(ENTRIES)


def entry(name: str) -> Entry:
    """Return a loss by name; a UsageError says which are near."""
    if name not in ENTRIES:
        near = get_close_matches(name, names(), 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names())}"
        raise UsageError(f"unknown loss {name[:80]!r}; {hint}")
    return ENTRIES[name]


@lru_cache(maxsize=256)
def program_of(call: str) -> Node:
    """Return the program of "NAME" or "NAME(parameter=number, ...)".

    Raises:
        UsageError: for an unknown name or parameter, a value outside its range, or other text.
    """
    match = _CALL.fullmatch(call)
    if match is None:
        raise UsageError(f"{call[:80]!r} is not a loss; write a name such as focal or focal(gamma=1.5)")
    return entry(match["name"]).program(**_arguments(call, match["arguments"] or ""))


def _arguments(call: str, text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in filter(str.strip, text.split(",")):
        match = _ARGUMENT.fullmatch(part)
        if match is None:
            raise UsageError(f"{call[:80]!r}: cannot read {part.strip()[:80]!r}; write parameter=number")
        if match["name"] in found:
            raise UsageError(f"{call[:80]!r} gives {match['name']} twice; give it once")
        found[match["name"]] = float(match["value"])
    return found
