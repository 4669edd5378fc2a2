"""Whether a loss is a known one: equal to a loss of the zoo, up to scale."""

from functools import lru_cache

from lossml import zoo
from lossml.backend import Fingerprint, fingerprints, make_probe
from lossml.program import Node

VARIANTS = {
    "focal": ("gamma", (0.5, 1.0, 1.5, 3.0, 4.0, 5.0)),
    "gce": ("q", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 0.9)),
    "poly1": ("epsilon", (-1.0, 0.5, 2.0, 3.0, 4.0, 5.0)),
    "label-smoothing": ("epsilon", (0.05, 0.15, 0.2, 0.3)),
    "taylor-ce": ("order", (3.0, 4.0, 5.0, 6.0)),
    "logit-adjustment": ("tau", (0.5, 1.5, 2.0)),
    "ldam": ("scale", (1.0,)),
    "confidence-penalty": ("beta", (0.01, 0.05, 0.2, 0.5, 1.0)),
}


def known_names(pixels: int = 1) -> list[str]:
    """Return the names of the published losses for classes, with more pixels than one those for masks too."""
    kinds = ("classification",) if pixels == 1 else ("classification", "segmentation")
    return [name for name, entry in zoo.ENTRIES.items() if entry.kind in kinds]


def _calls(pixels: int) -> list[str]:
    calls = known_names(pixels)
    for name, (parameter, values) in VARIANTS.items():
        calls += [f"{name}({parameter}={value:g})" for value in values]
    return calls


@lru_cache(maxsize=8)
def _known(classes: int, pixels: int) -> tuple[tuple[str, Fingerprint], ...]:
    calls = _calls(pixels)
    found = fingerprints([zoo.program_of(call) for call in calls], make_probe(classes, pixels))
    return tuple((call, one) for call, one in zip(calls, found, strict=True) if one is not None)


def known_as(program: Node, classes: int, pixels: int = 1) -> str:
    """Return the zoo's name of a loss equal to the program up to scale, or "" where there is none."""
    (mine,) = fingerprints([program], make_probe(classes, pixels))
    if mine is None:
        return ""
    return next((name for name, other in _known(classes, pixels) if mine.same(other)), "")
