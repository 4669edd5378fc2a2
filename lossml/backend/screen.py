"""Screens: what can be said of a program without training it, cheapest test first, whole batches at once."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from torch import Tensor

from lossml.backend.descent import learned
from lossml.backend.fingerprint import Fingerprint, fingerprints_of
from lossml.backend.probe import Probe, directions_of, logit_gradients, make_probe
from lossml.program import Node

MIN_SIZE = 1e-25  # of the logit gradient, per sample: float32 ends at 1e-38, and the softmax needs some of it
SIGN_SHARE = 0.5
LEARNED = 0.6  # of the way from chance to cross-entropy; calibrated on random programs, see benchmarks/screens.py


class Rejection(Enum):
    """Why a program is not trained; the value is the sentence shown to people."""

    NOT_FINITE = "value or gradient is not finite at ordinary logits"
    FLAT = "has no gradient"
    DUPLICATE = "same loss as an earlier one, up to scale"
    SIGN = "pushes the true class's logit down"
    DESCENT = "descending it does not lead to the true class"
    CROWDED = "variant of a loss that was trained several times over"
    UNPROMISING = "the surrogate thought others more promising"


@dataclass(frozen=True, slots=True)
class Screened:
    """A program and what the screens say of it.

    Attributes:
        program: the program.
        fingerprint: its identity, None where it has no usable gradient.
        rejection: the first screen it fails, None if it is worth training.
        place: direction (D,) of its gradient on the probe, as `Crowd.places` gives it.
    """

    program: Node
    fingerprint: Fingerprint | None
    rejection: Rejection | None
    place: Tensor = field(compare=False)


def sign_share(gradients: Tensor, probe: Probe) -> Tensor:
    """Return the share (K,) of wrongly classified samples whose true class's logit is pushed up.

    Only wrong samples count: an under-confident loss rightly pulls a confident right answer down.
    """
    wrong = probe.logits.argmax(1) != probe.target
    if probe.mask is not None:
        wrong &= probe.mask.squeeze(1) > 0
    index = probe.target.expand(len(gradients), *probe.target.shape).unsqueeze(2)
    up = (gradients.gather(2, index) < 0).squeeze(2)
    return up[:, wrong].double().mean(1)


def sieve(programs: Sequence[Node], probe: Probe, known: Container[str] | None = ()) -> list[Screened]:
    """Put a batch of programs through the cheap screens: all but the descent.

    Args:
        programs: in order of preference: of two equal losses the first stays.
        probe: where gradients are compared, of the task's number of classes.
        known: fingerprint keys of losses already met; None to let equal losses pass.

    Returns:
        One result per program, in order.
    """
    gradients = logit_gradients(programs, probe.logits, probe)
    prints = fingerprints_of(gradients)
    reasons = [
        _gradient_fault(*row) for row in zip(gradients.isfinite().flatten(1).all(1).tolist(), prints, strict=True)
    ]
    if known is not None:
        reasons = _duplicates(reasons, prints, known)
    fresh = make_probe(probe.classes, probe.pixels, (0.1,))
    at_start = logit_gradients(programs, fresh.logits, fresh)
    _reject(reasons, Rejection.SIGN, sign_share(at_start, fresh) < SIGN_SHARE)
    return [Screened(*row) for row in zip(programs, prints, reasons, directions_of(gradients), strict=True)]


def descend(screened: Sequence[Screened], probe: Probe) -> list[Screened]:
    """Put what passed the cheap screens through the dear one; what has a rejection keeps it."""
    alive = [k for k, one in enumerate(screened) if one.rejection is None]
    shares = learned([screened[k].program for k in alive], probe.classes, probe.pixels)
    found = list(screened)
    for k, share in zip(alive, shares.tolist(), strict=True):
        if share < LEARNED:
            found[k] = replace(found[k], rejection=Rejection.DESCENT)
    return found


def screen(programs: Sequence[Node], probe: Probe, known: Container[str] = ()) -> list[Screened]:
    """Put a batch of programs through all screens; see `sieve`."""
    return descend(sieve(programs, probe, known), probe)


def _gradient_fault(finite: bool, found: Fingerprint | None) -> Rejection | None:  # noqa: FBT001 - a column of a table
    if not finite:
        return Rejection.NOT_FINITE
    return Rejection.FLAT if found is None or found.size < MIN_SIZE else None


def _duplicates(
    reasons: Sequence[Rejection | None], prints: Sequence[Fingerprint | None], known: Container[str]
) -> list[Rejection | None]:
    met: set[str] = set()
    result: list[Rejection | None] = []
    for reason, found in zip(reasons, prints, strict=True):
        keys = found.keys if found else ()
        repeated = reason is None and any(key in known or key in met for key in keys)
        result.append(Rejection.DUPLICATE if repeated else reason)
        met.update(keys)
    return result


def _reject(reasons: list[Rejection | None], reason: Rejection, failed: Tensor) -> None:
    for k, bad in enumerate(failed.tolist()):
        if bad and reasons[k] is None:
            reasons[k] = reason
