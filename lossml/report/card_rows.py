"""What a loss card says, as sentences and rows of text; the terminal and the page lay them out."""

from collections.abc import Mapping

from lossml.card import Card
from lossml.card.advice import Advice
from lossml.card.claim import number, numbers
from lossml.card.optimum import Optimum
from lossml.card.safety import Safety
from lossml.card.scale import Scale

Rows = list[list[str]]
SIZES = [
    "classes",
    "optimum p",
    "as label smoothing",
    "gradient norm",
    "of CE's at the start",
    "certainly wrong",
    "almost right",
]
CLAIMS = ["property", "verdict", "what was found", "how"]
SAFETY = ["logits up to 1e4", "finite", "where and why", "how"]
MOMENTS = ["progress t", "optimum p", "gradient of CE's at the start", "certainly wrong"]
PRIOR = ["class share", "pull at the start, of CE's", "best answer to even labels"]


def what_it_is(card: Card) -> list[str]:
    """Say which published losses it is or is near to, and what shares one loss."""
    found: list[str] = []
    if card.kin and card.kin.equal:
        found.append(f"Equals {card.kin.equal.call} up to scale: {card.kin.equal.source}.")
    if card.kin and card.kin.nearest:
        near, other = card.kin.nearest, "other " if card.kin.equal else ""
        found.append(
            f"Nearest {other}published loss: {near.call}, which explains {percent(near.explained)} of its gradient "
            f"(sampled, {near.points} points at {card.classes} classes)."
        )
    if card.shared:
        found.append(f"The {card.shared} of a batch share one loss: a sample stands for a batch of its like.")
    if card.formula and card.formula.screens:
        found.append(f"A search would reject it: {card.formula.screens}.")
    return found


def percent(share: float) -> str:
    """Write a share with the digits that tell it from 100%."""
    return f"{100 * share:.3g}%" if share < 0.995 else f"{100 * share:.6g}%"


def advice_rows(card: Card) -> list[tuple[bool, str]]:
    """Return what to expect, and whether it is a warning."""
    return [(_warns(one), one.text) for one in card.advice]


def _warns(one: Advice) -> bool:
    return one.level == "warning"


def size_rows(card: Card) -> Rows:
    """Write optimum and gradient for each number of classes; "-" where the loss does not take it."""
    optima = {row.classes: row for row in card.optima}
    scales = {row.classes: row for row in card.scales}
    return [[f"{c:,}", *_optimum(optima, c), *_scale(scales, c)] for c in sorted({*optima, *scales})]


def _optimum(optima: Mapping[int, Optimum], classes: int) -> list[str]:
    if classes not in optima:
        return ["-", "-"]
    return [f"{optima[classes].probability:.3f}", f"{optima[classes].smoothing:.3f}"]


def _scale(scales: Mapping[int, Scale], classes: int) -> list[str]:
    if classes not in scales:
        return ["-"] * 4
    row = scales[classes]
    return [number(row.start.size), *(number(state.against) for state in (row.start, row.wrong, row.right))]


def size_caption(card: Card) -> str:
    """Say how the figures of the table were found."""
    how = f"Optimum: {card.optima[-1].method}. " if card.optima else ""
    return (
        f"{how}Gradient: exact at three answers to a hard label, all logits equal, another class at 0.99, "
        "the true class at 0.99."
    )


def claim_rows(card: Card) -> Rows:
    """Write each verdict with what it rests on."""
    return [[name, one.verdict, one.finding, str(one.method)] for name, one in card.claims.items()]


def safety_rows(card: Card) -> Rows:
    """Write for each precision whether the loss stays finite and where its gradient vanishes."""
    return [
        [row.precision, _finite(row), _where(row), f"sampled, {row.points} points" * (row.points > 0)]
        for row in card.safety
    ]


def _finite(row: Safety) -> str:
    return {True: "yes", False: "no", None: "unknown"}[row.finite]


def _where(row: Safety) -> str:
    if not row.finite:
        return (
            row.why if row.finite is None else f"not from {number(row.fails_from or 0)} on, at {row.where}: {row.why}"
        )
    if row.vanishes_from is None:
        return "value and gradient"
    return f"value and gradient; a certain wrong answer has no gradient from logits of {number(row.vanishes_from)} on"


def moment_rows(card: Card) -> Rows:
    """Write what training progress changes."""
    return [[f"{m.progress:g}", f"{m.optimum:.3f}", number(m.start), number(m.wrong)] for m in card.moments]


def prior_rows(card: Card) -> Rows:
    """Write what uneven classes change."""
    if card.prior is None:
        return []
    columns = zip(card.prior.shares, card.prior.pull, card.prior.answer, strict=True)
    return [[f"{share:.3f}", number(pull), f"{best:.3f}"] for share, pull, best in columns]


def formula_rows(card: Card) -> list[tuple[str, str]]:
    """Write the formula in its forms."""
    if card.formula is None:
        return []
    form = card.formula
    return [
        ("formula", form.text),
        ("shorter", form.shorter or "none found"),
        ("size", f"{form.size} nodes on {form.depth} levels"),
        ("LaTeX", form.latex),
        (f"dL/d{form.variable}", form.derivative or "not found in time"),
    ]


def walk_caption(card: Card) -> str:
    """Say what the map shows."""
    if card.map is None:
        return ""
    end = numbers(card.map.walk[-1])
    return (
        f"Value for the true class over three classes. The line is gradient descent from the even answer on labels in "
        f"shares {numbers(card.map.labels)} (the cross); it ends at {end} (the circle)."
    )
