"""A distillation from the loss to the front of size against disagreement."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lossml.backend import make_probe, screen
from lossml.distill.engine import Engine, Limits
from lossml.distill.external import check, proposals
from lossml.distill.fit import rounded
from lossml.distill.points import Points, check_points, disagreement, judge, search_points
from lossml.distill.pool import Candidate
from lossml.distill.target import Target
from lossml.errors import LossMLError, UsageError
from lossml.program import Node, fold_constants, operations, parse, show
from lossml.program.grammar import Grammar, classification_grammar

OWN = "gp"
LONGEST = 24  # nodes of a program made by variation
MOST_CLASSES = 1_000  # the gradients of thousands of programs are kept in memory
NOISE = 1e-7  # disagreements below are rounding
ROUNDING = 0.01  # share of the tolerance that rounding a constant may cost
BETTER = 0.95  # a longer program is shown if its disagreement is below this share of a shorter one's
OTHER_CLASSES = (2, 10, 100)
SIGMOIDS = (("s", 2.0), ("logs", 1.5), ("log1ms", 0.7))


@dataclass(frozen=True, slots=True)
class Found:
    """A program on the front.

    Attributes:
        formula: its text.
        size: number of nodes.
        disagreement: with the target at points the search has not seen, in [0, 1].
        scale: factor that gives it the target's gradient size.
    """

    formula: str
    size: int
    disagreement: float
    scale: float


@dataclass(frozen=True, slots=True)
class Distilled:
    """What a distillation gives.

    Attributes:
        target: the loss as it was given.
        formula: its own text, "" for one without a program.
        size: its own number of nodes, None for one without a program.
        classes: number of classes at which they are compared.
        tolerance: the disagreement asked for.
        engine: what searched.
        seed: of the search.
        front: from short to long, each nearer to the target than all before.
        shortest: the first of the front within the tolerance, None where there is none.
        elsewhere: its disagreement at other numbers of classes, where the target takes them.
        screens: why a search would reject it, "" if it would not.
        evaluated: programs evaluated.
        seconds: time it took.
    """

    target: str
    formula: str
    size: int | None
    classes: int
    tolerance: float
    engine: str
    seed: int
    front: tuple[Found, ...]
    shortest: Found | None
    elsewhere: Mapping[int, float]
    screens: str
    evaluated: int
    seconds: float


def distill(
    target: Target,
    *,
    limits: Limits | None = None,
    classes: int = 10,
    seed: int = 0,
    engine: str = OWN,
) -> Distilled:
    """Find the shortest programs whose logit gradient agrees with a target's up to scale.

    Args:
        target: see `read_target`.
        limits: tolerance, budget, time limit.
        classes: number of classes, 2 to MOST_CLASSES.
        seed: the same seed gives the same result on the same machine, unless a time limit cuts it short.
        engine: "gp", our own; "operon" or "pysr" propose programs, which are then judged, shortened and fitted as ours.

    Raises:
        UsageError: where the target has no usable gradient, or the engine is not installed.
    """
    began = time.monotonic()
    limits = _checked(limits or Limits(), classes)
    if engine != OWN:
        check(engine)
    points, fresh = search_points(target, classes), check_points(target, classes)
    search = Engine(points, _grammar(target), limits, seed)
    own = () if target.program is None else (target.program,)
    pool = search.run(own) if engine == OWN else search.refine(proposals(engine, points, limits, seed))
    polished = [_polished(c, points, limits.tolerance) for c in pool.front()]
    front = front_of([*own, *polished], fresh)
    shortest = next((found for found in front if found.disagreement <= limits.tolerance), None)
    chosen = None if shortest is None else parse(shortest.formula)
    return Distilled(
        target=target.name,
        formula="" if target.program is None else show(target.program),
        size=None if target.program is None else target.program.size,
        classes=classes,
        tolerance=limits.tolerance,
        engine=engine,
        seed=seed,
        front=front,
        shortest=shortest,
        elsewhere={} if chosen is None else _elsewhere(chosen, target, classes),
        screens="" if chosen is None else _screened(chosen, classes),
        evaluated=pool.evaluated,
        seconds=time.monotonic() - began,
    )


def _checked(limits: Limits, classes: int) -> Limits:
    if not 0.0 < limits.tolerance < 1.0:
        raise UsageError(f"tolerance is {limits.tolerance:g}; a disagreement lies between 0 and 1, such as 0.01")
    if limits.budget < 1:
        raise UsageError(f"budget is {limits.budget}; at least one program must be evaluated")
    if limits.seconds is not None and not limits.seconds > 0:
        raise UsageError(f"time_limit is {limits.seconds:g}; it must be more than 0 seconds")
    if not 2 <= classes <= MOST_CLASSES:
        raise UsageError(f"classes is {classes}; distilling compares losses at 2 to {MOST_CLASSES}")
    return limits


def _grammar(target: Target) -> Grammar:
    """Let programs read the prior and sigmoids where the target does."""
    grammar = replace(classification_grammar(), max_size=LONGEST)
    used = frozenset[str]() if target.program is None else operations(target.program)
    more = tuple(row for row in (*SIGMOIDS, ("pi", 1.0)) if row[0] in used)
    return replace(grammar, terminals=(*grammar.terminals, *more))


def _polished(candidate: Candidate, points: Points, tolerance: float) -> Node:
    """Round the constants and fold what can be computed."""
    allowed = max(1.1 * candidate.apart, ROUNDING * tolerance, NOISE)
    folded = fold_constants(rounded(candidate.program, points, allowed))
    agrees = disagreement(judge([folded], points).rows, points)[0] <= allowed
    return folded if bool(agrees) else candidate.program


def front_of(programs: Sequence[Node], points: Points) -> tuple[Found, ...]:
    """Return the programs that none at most as long comes near, judged at points of their own."""
    judged = judge(programs, points)
    apart = disagreement(judged.rows, points).tolist()
    scales = (judged.cosines * points.size / judged.sizes).tolist()
    rows = [Found(show(p), p.size, *row) for p, *row in zip(programs, apart, scales, strict=True)]
    front: list[Found] = []
    for row in sorted(rows, key=lambda r: (r.size, r.disagreement, r.formula)):
        if row.disagreement < 1.0 and all(row.disagreement < BETTER * f.disagreement - NOISE for f in front):
            front.append(row)
    return tuple(front)


def _elsewhere(program: Node, target: Target, classes: int) -> dict[int, float]:
    """Compare at other numbers of classes, as far as the target takes them."""
    found: dict[int, float] = {}
    for number in OTHER_CLASSES:
        if number != classes:
            try:
                points = check_points(target, number)
            except LossMLError:  # class weights of a user's loss, say
                continue
            found[number] = float(disagreement(judge([program], points).rows, points)[0])
    return found


def _screened(program: Node, classes: int) -> str:
    (result,) = screen([program], make_probe(classes))
    return result.rejection.value if result.rejection else ""
