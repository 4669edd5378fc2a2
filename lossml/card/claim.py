"""What a card says of a loss: a verdict, the finding it rests on, and how it was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["yes", "no", "unknown"]
Kind = Literal["exact", "interval", "sampled"]


@dataclass(frozen=True, slots=True)
class Method:
    """How a claim was found.

    Attributes:
        kind: "exact" by a proof, "interval" by interval arithmetic, "sampled" at points.
        detail: the theorem, the numbers of classes, or where the points lie.
        points: how many points were looked at.
    """

    kind: Kind
    detail: str
    points: int = 0

    def __str__(self) -> str:
        """Write the method as people read it."""
        if self.kind == "sampled":
            return f"sampled, {self.points:,} points {self.detail}"
        return f"{'interval arithmetic' if self.kind == 'interval' else 'exact'}, {self.detail}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One property of a loss.

    Attributes:
        verdict: "yes" found by sampling means that no counterexample was met; "no" rests on the one shown.
        finding: the sentence, with the counterexample where there is one.
        method: how it was found.
        measure: how far from it, where that is a number.
    """

    verdict: Verdict
    finding: str
    method: Method
    measure: float | None = None


def number(value: float) -> str:
    """Write a number with three digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"


def listed(parts: Sequence[str]) -> str:
    """Write a list as a sentence does: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def numbers(values: Iterable[float]) -> str:
    """Write several numbers in parentheses, with three digits after the point: answers, shares."""
    return f"({', '.join(f'{value:.3f}' for value in values)})"
