"""The plots of a run: differences with intervals, score against size, scores by rung, family of the best."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from lossml.report.chart import HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, frame, svg, x_of, y_of
from lossml.report.markup import tag

ROW = 36  # height of a contender in the plot of intervals
LETTERS = 62  # of a label that fits a drawing's width


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference with its interval, as it is drawn: its label, its figures, and whether it is the one to look at."""

    label: str
    value: float
    low: float
    high: float
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a plot: where it lies, what it says when pointed at, its tint, and whether it is hollow."""

    x: float
    y: float
    label: str
    tint: str = "a"
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of a legend: its words and the class of its line, or of its dot."""

    words: str
    line: str = ""
    dot: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """Scores of a trial by rung; whether it was trained to the end, and whether it is the best."""

    label: str
    scores: tuple[float, ...]
    complete: bool
    chosen: bool = False


def intervals(title: str, unit: str, rows: Sequence[Estimate]) -> Element:
    """Draw each difference with its interval; zero, the reference, is the dashed line."""
    low, high = min(0.0, *(row.low for row in rows)), max(0.0, *(row.high for row in rows))
    across = _widened(low, high, f"difference for the better, {unit}" if unit else "difference for the better")
    floor = TOP + ROW * len(rows)
    parts = [*_uprights(across, floor), *(part for k, row in enumerate(rows) for part in _interval(row, k, across))]
    words = "; ".join(f"{row.label}: {row.value:+.3g} [{row.low:+.3g}, {row.high:+.3g}]" for row in rows)
    return svg(title, words, parts, floor + 36)


def _uprights(across: Axis, floor: float) -> Iterator[Element]:
    for value, name in across.named():
        at = round(_wide(across, value), 1)
        yield tag("line", class_="grid", x1=at, x2=at, y1=TOP, y2=floor)
        yield tag("text", name, x=at, y=floor + 15, text_anchor="middle")
    zero = round(_wide(across, 0.0), 1)
    yield tag("line", class_="zero", x1=zero, x2=zero, y1=TOP, y2=floor)
    yield tag("text", across.label, x=WIDTH / 2, y=floor + 30, text_anchor="middle")


def _interval(row: Estimate, place: int, across: Axis) -> Iterator[Element]:
    top, tint = TOP + ROW * place, "a" if row.chosen else "b"
    left, middle, right = (round(_wide(across, value), 1) for value in (row.low, row.value, row.high))
    yield tag("text", _cut(row.label), x=RIGHT, y=top + 13, class_="over strong" if row.chosen else "over")
    yield tag("line", class_=f"curve {tint}", x1=left, x2=right, y1=top + 24, y2=top + 24)
    yield tag("circle", class_=f"dot {tint}", cx=middle, cy=top + 24, r=4)


def _wide(axis: Axis, value: float) -> float:
    return 2 * RIGHT + axis.share(value) * (WIDTH - 4 * RIGHT)


def _fenced(values: Sequence[float], label: str) -> Axis:
    """Make an axis of what is not far out, by Tukey's outer fences; the rest is drawn at its edge."""
    ordered = sorted(values)
    first, third = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    room = 3 * (third - first)
    inside = [value for value in ordered if first - room <= value <= third + room]
    return _widened(inside[0], inside[-1], label)


def _cut(label: str) -> str:
    return label if len(label) <= LETTERS else label[: LETTERS - 1] + "…"


def _widened(low: float, high: float, label: str, marks: tuple[tuple[float, str], ...] = ()) -> Axis:
    margin = 0.05 * (high - low) or 0.5
    return Axis(low - margin, high + margin, label, marks=marks)


def front_plot(title: str, y_label: str, dots: Sequence[Dot], steps: Sequence[tuple[float, float]]) -> Element:
    """Draw scores against sizes, and the front, at least one point, as steps: the best for its size or less."""
    across = _widened(min(dot.x for dot in dots), max(dot.x for dot in dots), "size, nodes")
    up = _fenced([dot.y for dot in dots], y_label)
    keys = [Key("best for its size", line="curve a"), Key("trained to the end", dot="dot b hollow")]
    parts = [
        *frame(across, up),
        _line(_stairs(steps, across.high), across, up, "curve a"),
        *_dots(dots, across, up),
        *_legend(keys),
    ]
    words = f"{y_label} over size in nodes of {len(dots)} trials; the front goes " + _walk(steps)
    return svg(title, words, parts, HEIGHT)


def _stairs(steps: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Go from step to step, across first and then up or down."""
    found: list[tuple[float, float]] = [steps[0]]
    for x, y in steps[1:]:
        found += [(x, found[-1][1]), (x, y)]
    return [*found, (end, found[-1][1])]


def _walk(steps: Sequence[tuple[float, float]]) -> str:
    return ", ".join(f"{y:.4g} at {x:g}" for x, y in steps)


def rung_plot(title: str, y_label: str, rungs: Sequence[int], names: Sequence[str], curves: Sequence[Path]) -> Element:
    """Draw the score of every trial from rung to rung, as far as it was trained."""
    across = Axis(rungs[0], rungs[-1], "share of full training", marks=tuple(zip(rungs, names, strict=True)))
    across = Axis(rungs[0] * 0.9, rungs[-1] * 1.1, across.label, logarithmic=True, marks=across.marks)
    up = _fenced([y for curve in curves for y in curve.scores], y_label)
    drawn = [_rungs(curve, rungs, across, up) for curve in sorted(curves, key=lambda curve: curve.chosen)]
    keys = [
        Key("trained to the end", line="curve a thin"),
        Key("stopped early", line="curve b thin dashed"),
        Key("the best", line="curve a"),
    ]
    words = f"{y_label} by share of full training of {len(curves)} trials"
    return svg(title, words, [*frame(across, up), *(part for some in drawn for part in some), *_legend(keys)], HEIGHT)


def _rungs(curve: Path, rungs: Sequence[int], across: Axis, up: Axis) -> list[Element]:
    pairs = list(zip(rungs, curve.scores, strict=False))
    style = "curve a" if curve.chosen else "curve a thin" if curve.complete else "curve b thin dashed"
    if len(pairs) > 1:
        return [_line(pairs, across, up, style, curve.label)]
    return list(_dots([Dot(*pairs[0], curve.label, "b", hollow=True)], across, up))


def family_plot(title: str, y_label: str, dots: Mapping[int, Dot], links: Sequence[tuple[int, int]]) -> Element:
    """Draw trials at their number and score, each joined with the parents it was made from.

    Args:
        title: of the plot.
        y_label: what the score is.
        dots: by number of the trial.
        links: numbers of child and parent.
    """
    numbers = sorted(dots)
    across = _widened(numbers[0], numbers[-1], "trial")
    up = _widened(min(dot.y for dot in dots.values()), max(dot.y for dot in dots.values()), y_label)
    joined = [_line([_place(dots[k]) for k in pair], across, up, "curve b thin") for pair in links]
    labels = (_number(k, dots[k], across, up) for k in numbers)
    keys = [Key("trained to the end", dot="dot a"), Key("stopped early", dot="dot a hollow")]
    words = "; ".join(f"{child} comes from {parent}" for child, parent in links) or "no parents"
    parts = [*frame(across, up), *joined, *_dots(list(dots.values()), across, up), *labels, *_legend(keys)]
    return svg(title, f"{y_label} over trial: {words}", parts, HEIGHT)


def _place(dot: Dot) -> tuple[float, float]:
    return dot.x, dot.y


def _number(number: int, dot: Dot, across: Axis, up: Axis) -> Element:
    x, y = round(x_of(across, dot.x), 1), round(y_of(up, dot.y), 1)
    return tag("text", str(number), x=x, y=y - 8, text_anchor="middle", class_="over label")


def _line(pairs: Sequence[tuple[float, float]], across: Axis, up: Axis, style: str, label: str = "") -> Element:
    points = " ".join(f"{x_of(across, x):.1f},{_height(up, y):.1f}" for x, y in pairs)
    return tag("polyline", tag("title", label) if label else None, points=points, class_=style)


def _height(up: Axis, value: float) -> float:
    return y_of(up, min(max(value, up.low), up.high))


def _dots(dots: Sequence[Dot], across: Axis, up: Axis) -> Iterator[Element]:
    for dot in dots:
        x, y = round(x_of(across, dot.x), 1), round(_height(up, dot.y), 1)
        style = f"dot {dot.tint}{' hollow' if dot.hollow else ''}"
        yield tag("circle", tag("title", dot.label), class_=style, cx=x, cy=y, r=4)


def _legend(keys: Sequence[Key]) -> Iterator[Element]:
    y, width = HEIGHT - 8, (WIDTH - LEFT) / len(keys)
    for k, key in enumerate(keys):
        x = LEFT + k * width
        if key.line:
            yield tag("line", x1=x, x2=x + 18, y1=y - 4, y2=y - 4, class_=key.line)
        else:
            yield tag("circle", cx=x + 9, cy=y - 4, r=4, class_=key.dot)
        yield tag("text", key.words, x=x + 24, y=y)
