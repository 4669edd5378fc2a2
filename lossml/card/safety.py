"""Whether value and gradient stay finite at large logits, in each precision, and if not, which part fails."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend import runtime
from lossml.backend.interpret import Inputs, evaluate
from lossml.backend.weighting import weights_of
from lossml.card.scene import hard
from lossml.card.subject import Subject
from lossml.errors import UsageError
from lossml.program import Node, fold, show

PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)
SIZES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4)
LONGEST = 60  # characters of a part that is named


@dataclass(frozen=True, slots=True)
class Safety:
    """A loss in one precision.

    Attributes:
        precision: of the logits; a program computes in float32 whatever theirs is.
        finite: whether value and gradient are finite at all logits tried; None where the loss refuses the precision.
        fails_from: size of the logits from which something is not finite.
        where: the answer at which it fails.
        why: the part that fails, or what was refused.
        vanishes_from: size of the logits from which a certain wrong answer has a gradient of exactly zero.
        points: how many answers were tried.
    """

    precision: str
    finite: bool | None
    fails_from: float | None = None
    where: str = ""
    why: str = ""
    vanishes_from: float | None = None
    points: int = 0


def safety(subject: Subject, classes: int) -> tuple[Safety, ...]:
    """Try logits up to 1e4 in every precision."""
    return tuple(_tried(subject, classes, precision) for precision in PRECISIONS)


def patterns(classes: int, size: float) -> dict[str, Tensor]:
    """Return logits (C,) of that size, the true class first."""
    ordinary = torch.linspace(-1.0, 1.0, classes, dtype=torch.float64)
    first, second = torch.eye(classes, dtype=torch.float64)[:2]
    return {
        "a right answer": size * first,
        "a wrong answer": size * second,
        "a true class far below the others": -size * first,
        "a wrong answer far from a right one": size * (second - first),
        "logits spread evenly, the true class lowest": size * ordinary,
        "logits spread evenly, the true class highest": -size * ordinary,
    }


def _tried(subject: Subject, classes: int, precision: torch.dtype) -> Safety:
    name = str(precision).removeprefix("torch.")
    points = len(SIZES) * len(patterns(classes, 1.0))
    vanishes: float | None = None
    for size in SIZES:
        rows = patterns(classes, size)
        try:
            value, gradient = _at(subject, torch.stack(list(rows.values())).to(precision))
        except UsageError as error:
            return Safety(name, finite=None, why=str(error))
        finite = value.isfinite() & gradient.isfinite().all(1)
        if not bool(finite.all()):
            bad = int((~finite).nonzero()[0])
            logits = torch.stack(list(rows.values()))[bad].to(precision)
            return Safety(
                name,
                finite=False,
                fails_from=size,
                where=list(rows)[bad],
                why=_why(subject, logits),
                vanishes_from=vanishes,
                points=points,
            )
        if vanishes is None and bool((gradient[1] == 0).all()):
            vanishes = size
    return Safety(name, finite=True, vanishes_from=vanishes, points=points)


def _at(subject: Subject, logits: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    with torch.enable_grad():
        value = hard(subject, leaf)
    if not value.requires_grad:
        return value, torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True, materialize_grads=True)
    return value.detach(), gradient


def _why(subject: Subject, logits: Tensor) -> str:
    value, gradient = _at(subject, logits.float().unsqueeze(0))
    if bool(value.isfinite().all()) and bool(gradient.isfinite().all()):
        return f"the gradient, or the value, is beyond the largest number of {str(logits.dtype).removeprefix('torch.')}"
    if subject.program is None:
        return f"the {'gradient' if bool(value.isfinite().all()) else 'value'} is not finite"
    return blamed(subject.program, logits.float())


def blamed(program: Node, logits: Tensor) -> str:
    """Name the part of a program that is not finite at logits (C,), true class first, or whose slope is not."""
    scores = logits.view(1, -1, 1).clone().requires_grad_()
    y, _ = runtime.one_hot(torch.zeros(1, 1, dtype=torch.long), scores, None)
    known: dict[Node, Tensor] = {}
    prior = scores.new_full((len(logits),), 1.0 / len(logits))
    with torch.enable_grad():
        total = evaluate(program, Inputs(scores, y, weights_of(y, None, None), prior), known).sum()
    inner = [node for node in _bottom_up(program) if node.args]
    for node in inner:
        if not bool(known[node].isfinite().all()):
            return f"{_short(node)} is not finite there"
    return _steep(inner, known, total)


def _steep(inner: list[Node], known: dict[Node, Tensor], total: Tensor) -> str:
    """Name the part whose own derivative arrives finite and leaves infinite."""
    moving = [node for node in known if known[node].requires_grad]
    slopes = torch.autograd.grad(total, [known[node] for node in moving], allow_unused=True, materialize_grads=True)
    finite = {node: bool(slope.isfinite().all()) for node, slope in zip(moving, slopes, strict=True)}
    for node in reversed(inner):
        if finite.get(node) and not all(finite.get(arg, True) for arg in node.args):
            return f"the slope of {_short(node)} is not finite there"
    return "a product of slopes is not finite there"


def _bottom_up(program: Node) -> list[Node]:
    found: dict[Node, None] = {}
    fold(program, lambda node, _: found.setdefault(node, None))
    return list(found)


def _short(node: Node) -> str:
    text = show(node)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
