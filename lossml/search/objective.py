"""What a search optimises: one metric, or several weighed against each other, always so that more is better.

People write a metric by its name, whichever way it goes, or a sum that is to grow, such as
"balanced_accuracy - 0.5*ece". What is shown keeps the metric's own direction: an nll is not negated.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from lossml.errors import RecipeError

GAINS = ("accuracy", "balanced_accuracy", "miou")
COSTS = ("nll", "ece")
METRICS = (*GAINS, *COSTS)
GAIN = "gain"
"""What a search over several trainings a trial optimises: the objective's difference to cross-entropy's on the same
task, in standard deviations of cross-entropy's own score. It cannot be asked for by name."""
SHARES = frozenset({"accuracy", "balanced_accuracy", "miou", "ece"})
LONGEST = 200
RULE = (
    f"must be {', '.join(METRICS)}, or a sum that is to grow such as 'balanced_accuracy - 0.5*ece': each metric once, "
    f"{' and '.join(COSTS)}, of which less is better, subtracted"
)
_TERM = re.compile(r"\s*(?P<sign>[-+]?)\s*(?:(?P<weight>\d+\.?\d*|\.\d+)\s*\*\s*)?(?P<name>[a-z_]+)\s*")


@dataclass(frozen=True, slots=True)
class Objective:
    """A weighed sum of metrics; more is better.

    Attributes:
        weights: metrics with weights, negative for those of which less is better.
    """

    weights: tuple[tuple[str, float], ...]

    @property
    def sign(self) -> float:
        """Return -1 where people read a metric of which less is better, else 1."""
        ((name, _), *others) = self.weights
        return -1.0 if name in COSTS and not others else 1.0

    @property
    def unit(self) -> str:
        """Return "points" for shares, "nats" for the likelihood, "sd" for a gain, "" for a sum of several kinds."""
        if self.weights == ((GAIN, 1.0),):
            return "sd"
        if all(name in SHARES for name, _ in self.weights):
            return "points"
        return "nats" if len(self.weights) == 1 else ""


@lru_cache(maxsize=64)
def read_objective(text: str) -> Objective:
    """Read an objective.

    Raises:
        RecipeError: for anything but a metric or such a sum, with the rule.
    """
    if text in METRICS or text == GAIN:
        return Objective(((text, -1.0 if text in COSTS else 1.0),))
    weights = _terms(text)
    names = [name for name, _ in weights]
    right = all(weight > 0 if name in GAINS else weight < 0 for name, weight in weights)
    if not weights or not right or len(set(names)) < len(names) or not set(names) <= set(METRICS):
        raise RecipeError(f"objective is {text[:80]!r}; it {RULE}")
    if len(weights) == 1:  # a factor orders nothing
        return read_objective(names[0])
    return Objective(tuple(weights))


def _terms(text: str) -> list[tuple[str, float]]:
    """Split a sum into metrics and weights; nothing where it is none."""
    found: list[tuple[str, float]] = []
    at = 0
    while at < min(len(text), LONGEST):
        match = _TERM.match(text, at)
        if match is None or (found and not match["sign"]):
            return []
        weight = float(match["weight"] or 1.0)
        found.append((match["name"], -weight if match["sign"] == "-" else weight))
        at = match.end()
    return found if at == len(text) else []


def is_objective(value: object) -> bool:
    """Say whether a value is the text of an objective."""
    try:
        return isinstance(value, str) and value != GAIN and bool(read_objective(value))
    except RecipeError:
        return False


def as_read(value: float, objective: str) -> float:
    """Turn a value of which more is better into the one that people read, or back."""
    return read_objective(objective).sign * value + 0.0  # no negative zero


def written(value: float, objective: str) -> str:
    """Write a value as people read it: percent for shares, a sign for gains, else the number."""
    unit = read_objective(objective).unit
    return f"{100 * value:.2f}" if unit == "points" else f"{value:+.2f}" if unit == "sd" else f"{value:.4f}"


def gap(value: float, objective: str, interval: tuple[float, float] | None = None) -> str:
    """Write a difference, positive where it is for the better, with its unit, and its interval where one is given."""
    unit = read_objective(objective).unit
    numbers = [f"{100 * x:+.2f}" if unit == "points" else f"{x:+.4f}" for x in (value, *(interval or ()))]
    within = f"[{numbers[1]}, {numbers[2]}]" if interval else ""
    return " ".join(part for part in (numbers[0], unit, within) if part)
