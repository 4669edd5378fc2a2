"""The known loss whose gradient is nearest to a loss's own, with its parameters fitted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from torch import Tensor

from lossml import zoo
from lossml.backend import Probe, logit_gradients, make_probe
from lossml.card.subject import Subject
from lossml.distill.points import Points, at, judge_gradients
from lossml.program import Axes, Node
from lossml.zoo import Entry, Parameter

VALUES = 9  # of a parameter, at first and in each refinement
REFINEMENTS = 6
FITTED = 4  # losses whose parameter is refined: those that come nearest
WIDEST = 5.0  # a parameter is tried from its published value over this to that value times this
SAME = 1e-9  # of the gradient left unexplained: rounding
BETTER = 1e-3  # of the gradient: a fitted parameter that explains less more is not worth its mention
PIXELS = 8  # of a probe of losses that read several


@dataclass(frozen=True, slots=True)
class Known:
    """A published loss beside the one on the card.

    Attributes:
        call: as `lossml.load` takes it.
        explained: share of the gradient that it explains, up to a positive factor, in [0, 1].
        source: where it was published.
        points: probe samples at which gradients are compared.
    """

    call: str
    explained: float
    source: str
    points: int


@dataclass(frozen=True, slots=True)
class Kin:
    """What is known near a loss.

    Attributes:
        equal: the published loss that it equals up to scale, if any.
        nearest: the nearest other one.
    """

    equal: Known | None
    nearest: Known | None


@dataclass(frozen=True, slots=True)
class _Call:
    entry: Entry
    values: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        inside = ", ".join(f"{name}={value:.3g}" for name, value in self.values)
        return f"{self.entry.name}({inside})" if inside else self.entry.name

    def program(self) -> Node:
        return self.entry.program(**dict(self.values))


def nearest(subject: Subject, classes: int) -> Kin:
    """Find the equal and the nearest known loss at a number of classes.

    Raises:
        UsageError: where the loss has no finite gradient at ordinary logits.
    """
    pixels = PIXELS if subject.coupled is Axes.PIXEL else 1
    probe = _whole(classes, pixels)
    points = at(subject.target, probe)
    calls, gradients = _catalogue(classes, pixels)
    published = _by_loss(calls, _explained(gradients, points))
    near = sorted(published, key=lambda name: -published[name][1])[:FITTED]
    found = {name: _known(*published[name], probe, points, fit=name in near) for name in published}
    rounding = 10 * subject.noise**2 + SAME
    equals = [found[name] for name in found if 1.0 - found[name].explained < rounding]
    equal = next((known for known in equals if "(" not in known.call), next(iter(equals), None))
    others = [known for known in found.values() if 1.0 - known.explained >= rounding and known.explained > 0]
    return Kin(equal, max(others, key=lambda known: known.explained, default=None))


def _explained(gradients: Tensor, points: Points) -> Tensor:
    """Return the share (K,) of the loss's gradient that a positive factor on each gradient explains."""
    return judge_gradients(gradients, points).cosines.clamp(0.0, 1.0).square()


def _whole(classes: int, pixels: int) -> Probe:
    """Make a probe without void pixels: a loss of one's own need not know what is ignored."""
    return replace(make_probe(classes, pixels), mask=None)


@lru_cache(maxsize=4)
def _catalogue(classes: int, pixels: int) -> tuple[tuple[_Call, ...], Tensor]:
    entries = [entry for entry in zoo.ENTRIES.values() if pixels > 1 or entry.kind != "segmentation"]
    calls = tuple(call for entry in entries for call in (_Call(entry), *_varied(entry)))
    probe = _whole(classes, pixels)
    return calls, logit_gradients([call.program() for call in calls], probe.logits, probe)


def _varied(entry: Entry) -> Iterator[_Call]:
    for name, parameter in entry.parameters.items():
        for value in _line(parameter, *_ends(parameter)):
            yield _Call(entry, ((name, value),))


def _ends(parameter: Parameter) -> tuple[float, float]:
    low = max(parameter.low, parameter.default / WIDEST)
    return low, min(parameter.high, WIDEST * max(parameter.default, 0.1))


def _line(parameter: Parameter, low: float, high: float) -> list[float]:
    """Lay values of a parameter: evenly between bounds that are near, else evenly in their logarithm."""
    step = (high / low) ** (1 / (VALUES - 1)) if low > 0 and high > 10 * low else 0.0
    values = [low * step**k if step else low + (high - low) * k / (VALUES - 1) for k in range(VALUES)]
    whole = {float(round(value)) for value in values} if parameter.whole else set(values)
    return sorted(min(max(value, parameter.low), parameter.high) for value in whole)


def _by_loss(calls: Sequence[_Call], shares: Tensor) -> dict[str, tuple[_Call, float]]:
    """Choose one call of each loss: as published, where no other parameter explains clearly more."""
    found: dict[str, tuple[_Call, float]] = {}
    for call, share in zip(calls, shares.tolist(), strict=True):
        known = found.setdefault(call.entry.name, (call, share))
        is_first = not known[0].values
        if share > known[1] + (BETTER if is_first else 0.0) or (is_first and 1.0 - share < SAME <= 1.0 - known[1]):
            found[call.entry.name] = call, share
    return found


def _known(call: _Call, share: float, probe: Probe, points: Points, *, fit: bool) -> Known:
    if fit and call.values:
        call, share = _fitted(call, share, probe, points)
    return Known(str(call), share, call.entry.source, len(probe.target))


def _fitted(call: _Call, share: float, probe: Probe, points: Points) -> tuple[_Call, float]:
    ((name, value),) = call.values
    parameter = call.entry.parameters[name]
    line = _line(parameter, *_ends(parameter))
    place = min(range(len(line)), key=lambda k: abs(line[k] - value))
    low, high = line[max(0, place - 1)], line[min(len(line) - 1, place + 1)]
    for _ in range(REFINEMENTS):
        tried = [_Call(call.entry, ((name, v),)) for v in _line(parameter, low, high)]
        shares = _explained(logit_gradients([one.program() for one in tried], probe.logits, probe), points)
        best = int(shares.argmax())
        call, share = (tried[best], float(shares[best])) if float(shares[best]) > share else (call, share)
        low, high = tried[max(0, best - 1)].values[0][1], tried[min(len(tried) - 1, best + 1)].values[0][1]
    return _rounded(call, probe, points)


def _rounded(call: _Call, probe: Probe, points: Points) -> tuple[_Call, float]:
    """Say what the name as it is printed explains."""
    short = _Call(call.entry, tuple((name, float(f"{value:.3g}")) for name, value in call.values))
    return short, float(_explained(logit_gradients([short.program()], probe.logits, probe), points)[0])
