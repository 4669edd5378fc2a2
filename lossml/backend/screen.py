"""Screens: what can be said of a program without training it, cheapest test first, whole batches at once."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import torch
from torch import Tensor

from lossml.backend.fingerprint import Fingerprint, fingerprints_of
from lossml.backend.probe import CROSS_ENTROPY, Probe, logit_gradients, make_probe, root_mean_square
from lossml.program import Node

MIN_SIZE = 1e-9  # of the logit gradient, per sample: below it training cannot see the loss in float32
SIGN_SHARE = 0.75
DESCENT_STEPS = 40
DESCENT_RATE = 1.0
DESCENT_ACCURACY = 0.9


class Rejection(Enum):
    """Why a program is not trained; the value is the sentence shown to people."""

    STRUCTURE = "same program as an earlier one"
    NOT_FINITE = "value or gradient is not finite at ordinary logits"
    FLAT = "has no gradient"
    DUPLICATE = "same loss as an earlier one, up to scale"
    SIGN = "pushes the true class's logit down"
    DESCENT = "descending it does not lead to the true class"


@dataclass(frozen=True, slots=True)
class Screened:
    """A program and what the screens say of it.

    Attributes:
        program: the program.
        fingerprint: its identity, None where it has no usable gradient.
        rejection: the first screen it fails, None if it is worth training.
    """

    program: Node
    fingerprint: Fingerprint | None
    rejection: Rejection | None


def sign_share(gradients: Tensor, probe: Probe) -> Tensor:
    """Return the share (K,) of wrongly classified samples whose true class's logit is pushed up.

    Only wrong samples count: an under-confident loss rightly pulls a confident right answer down.
    """
    wrong = probe.logits.argmax(1) != probe.target
    index = probe.target.expand(len(gradients), *probe.target.shape).unsqueeze(2)
    up = (gradients.gather(2, index) < 0).squeeze(2)
    return up[:, wrong].double().mean(1)


def descent_accuracy(programs: Sequence[Node], probe: Probe) -> Tensor:
    """Descend each program on free logits and return the share (K,) of samples whose argmax is then right.

    The gradient is scaled to cross-entropy's at the start, as in training. The argmax is asked
    for, not p > 1/2: a loss may be under-confident by design and still classify.
    """
    made = make_probe(probe.classes, probe.logits.shape[-1], (1.0,))
    start = replace(made, prior=torch.full_like(made.prior, 1.0 / probe.classes))  # its labels are drawn evenly
    first = logit_gradients([CROSS_ENTROPY, *programs], start.logits, start)
    sizes = root_mean_square(first)
    factor = (sizes[0] / sizes[1:]).view(-1, 1, 1, 1)
    logits = start.logits.expand(len(programs), *start.logits.shape)
    gradient = first[1:]
    for _ in range(DESCENT_STEPS):
        step = (gradient * factor).nan_to_num(0.0, 0.0, 0.0)
        logits = logits - DESCENT_RATE * step / step.square().sum(2, keepdim=True).sqrt().clamp_min(1.0)
        gradient = logit_gradients(programs, logits, start)
    return (logits.argmax(2) == start.target).flatten(1).double().mean(1)


def screen(programs: Sequence[Node], probe: Probe, known: Container[str] = ()) -> list[Screened]:
    """Screen a batch of programs.

    Args:
        programs: in order of preference: of two equal losses the first stays.
        probe: where gradients are compared, of the task's number of classes.
        known: fingerprint keys of losses already met.

    Returns:
        One result per program, in order.
    """
    gradients = logit_gradients(programs, probe.logits, probe)
    prints = fingerprints_of(gradients)
    reasons = _duplicates([_gradient_fault(g, f) for g, f in zip(gradients, prints, strict=True)], prints, known)
    _reject(reasons, Rejection.SIGN, sign_share(gradients, probe) < SIGN_SHARE)
    alive = [k for k, reason in enumerate(reasons) if reason is None]
    failed = torch.zeros(len(programs), dtype=torch.bool)
    failed[alive] = descent_accuracy([programs[k] for k in alive], probe) < DESCENT_ACCURACY
    _reject(reasons, Rejection.DESCENT, failed)
    return [Screened(*row) for row in zip(programs, prints, reasons, strict=True)]


def _gradient_fault(gradient: Tensor, found: Fingerprint | None) -> Rejection | None:
    if not bool(gradient.isfinite().all()):
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
