"""When two programs are the same loss: equal logit gradients up to a positive factor.

That ignores additive constants, terms in y alone, and terms whose gradient the softmax cancels.
The factor is kept: it is a matter of learning rate.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend.probe import Probe, logit_gradients, root_mean_square
from lossml.program import Node

FLOOR = 1e-5  # relative to the gradient's size: below it numbers are rounding noise
STEP = 1e-5  # relative width of a rounding cell above the floor


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a loss on a probe.

    Attributes:
        keys: two keys from two shifted roundings; two losses are the same if they share either.
        size: root mean square of the logit gradient; the ratio of two sizes is the scale factor.
    """

    keys: tuple[str, str]
    size: float

    def same(self, other: "Fingerprint") -> bool:
        """Say whether both are one loss up to scale."""
        return any(a == b for a, b in zip(self.keys, other.keys, strict=True))


def _digests(cells: Tensor, name: str) -> list[str]:
    rows = cells.to(torch.int32).flatten(1).numpy()
    return [name + hashlib.blake2b(row.tobytes(), digest_size=11).hexdigest() for row in rows]


def _keys(gradients: Tensor) -> list[tuple[str, str]]:
    """Round in cells of equal relative width, so that small gradients count as large ones do."""
    cells = gradients.sign() * torch.log1p(gradients.abs() / FLOOR) / STEP
    return list(zip(_digests(cells.round(), "a"), _digests((cells + 0.5).round(), "b"), strict=True))


def fingerprints_of(gradients: Tensor) -> list[Fingerprint | None]:
    """Identify losses by their probe gradients (K, B, C, N); None where not finite or zero."""
    sizes = root_mean_square(gradients)
    usable = gradients.isfinite().flatten(1).all(1) & sizes.isfinite() & (sizes > 0)
    found: list[Fingerprint | None] = [None] * len(gradients)
    places = usable.nonzero().squeeze(1)
    keys = _keys(gradients[places] / sizes[places].view(-1, 1, 1, 1))
    for place, key, size in zip(places.tolist(), keys, sizes[places].tolist(), strict=True):
        found[place] = Fingerprint(key, size)
    return found


def fingerprints(programs: Sequence[Node], probe: Probe) -> list[Fingerprint | None]:
    """Identify programs on a probe; None where the gradient is zero or not finite."""
    return fingerprints_of(logit_gradients(programs, probe.logits, probe))
