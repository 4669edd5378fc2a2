"""Line charts and maps of three classes as SVG, in the colours of the page around them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from lossml.card import Curve, Map
from lossml.report.markup import tag

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 12, 64
CLIPPED = 3.0  # a line that leaves the reference's range by more than this many of its spans is cut off
COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis, dark to light


@dataclass(frozen=True, slots=True)
class Line:
    """A curve of a chart; `tint` is "a" or "b", and a reference is dashed."""

    label: str
    curve: Curve
    tint: str
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart: its ends, what it is called, whether steps on it are factors, and what is named on it."""

    low: float
    high: float
    label: str
    logarithmic: bool = False
    marks: tuple[tuple[float, str], ...] = ()

    def share(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        low, high, at = (
            (math.log10(v) for v in (self.low, self.high, value)) if self.logarithmic else (self.low, self.high, value)
        )
        return (at - low) / (high - low)

    def named(self) -> list[tuple[float, str]]:
        """Return the values that are named: the axis' marks, or else round ones."""
        return list(self.marks) or [(value, f"{value:g}") for value in self.ticks()]

    def ticks(self) -> list[float]:
        """Choose round values to be named."""
        if self.logarithmic:
            return [10.0**k for k in range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)]
        raw = (self.high - self.low) / 5
        size = 10.0 ** math.floor(math.log10(raw))
        step = next(size * m for m in (1, 2, 5, 10) if size * m >= raw)
        first = math.ceil(self.low / step)
        return [step * k for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def chart(title: str, x_label: str, y_label: str, lines: Sequence[Line], *, logarithmic: bool = False) -> Element:
    """Draw lines in one frame, with their names below."""
    xs = [x for line in lines for x in line.curve.x]
    low, high = _limits(lines)
    across, up = Axis(min(xs), max(xs), x_label, logarithmic), Axis(low, high, y_label)
    parts = [*frame(across, up), *(_path(line, across, up) for line in lines), *_legend(lines)]
    names = "; ".join(line.label for line in lines)
    return svg(title, f"{y_label} over {x_label}: {names}", parts, HEIGHT)


def svg(title: str, description: str, parts: Iterable[Element], height: float) -> Element:
    """Put parts in a drawing with a name and a description for those who do not see it."""
    box = f"0 0 {WIDTH} {height:g}"
    return tag("svg", tag("title", title), tag("desc", description), *parts, viewBox=box, role="img")


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    known = [y for line in lines if line.reference for y in line.curve.y if math.isfinite(y)] or [0.0, 1.0]
    span = max(known) - min(known) or 1.0
    allowed = min(known) - CLIPPED * span, max(known) + CLIPPED * span
    every = [min(max(y, allowed[0]), allowed[1]) for line in lines for y in line.curve.y if math.isfinite(y)]
    low, high = min(every), max(every)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def x_of(axis: Axis, value: float) -> float:
    """Return where a value of the horizontal axis is drawn."""
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def y_of(axis: Axis, value: float) -> float:
    """Return where a value of the vertical axis is drawn."""
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)


def frame(across: Axis, up: Axis) -> Iterator[Element]:
    """Draw the grid of a chart with the names and values of its axes."""
    floor = HEIGHT - BOTTOM
    for value, name in up.named():
        at = round(y_of(up, value), 1)
        yield tag("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at)
        yield tag("text", name, x=LEFT - 6, y=at + 4, text_anchor="end")
    for value, name in across.named():
        at = round(x_of(across, value), 1)
        yield tag("line", class_="grid", x1=at, x2=at, y1=TOP, y2=floor)
        yield tag("text", name, x=at, y=floor + 15, text_anchor="middle")
    yield tag("text", across.label, x=(LEFT + WIDTH) / 2, y=floor + 30, text_anchor="middle")
    middle = (TOP + floor) / 2
    yield tag("text", up.label, x=12, y=middle, text_anchor="middle", transform=f"rotate(-90 12 {middle:g})")


def _path(line: Line, across: Axis, up: Axis) -> Element:
    pairs = [(x, y) for x, y in zip(line.curve.x, line.curve.y, strict=True) if math.isfinite(y)]
    inside = [(x, min(max(y, up.low), up.high)) for x, y in pairs]
    points = " ".join(f"{x_of(across, x):.1f},{y_of(up, y):.1f}" for x, y in inside)
    return tag("polyline", points=points, class_=_style(line))


def _style(line: Line) -> str:
    return f"curve {line.tint}{' dashed' if line.reference else ''}"


def _legend(lines: Sequence[Line]) -> Iterator[Element]:
    for k, line in enumerate(lines):
        x, y = LEFT + (k % 2) * (WIDTH - LEFT) / 2, HEIGHT - 18 + 14 * (k // 2)
        yield tag("line", x1=x, x2=x + 22, y1=y - 4, y2=y - 4, class_=_style(line))
        yield tag("text", line.label, x=x + 28, y=y)


def ternary(title: str, found: Map) -> Element:
    """Draw a map over three classes, light where the loss is high, with the walk in white."""
    known = sorted(value for value in found.values if math.isfinite(value)) or [0.0]
    low, high = known[0], known[int(0.95 * (len(known) - 1))]
    cells = list(_cells(found, low, (high - low) or 1.0))
    walk = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_corner, found.walk))
    end, label = _corner(found.walk[-1]), _corner(found.labels)
    parts = [
        *cells,
        tag("polyline", points=walk, class_="walk"),
        tag("circle", cx=round(end[0], 1), cy=round(end[1], 1), r=5, class_="mark"),
        tag("path", d=f"M{label[0] - 5:.1f} {label[1]:.1f}h10m-5 -5v10", stroke="#fff", stroke_width=2, fill="none"),
        *_corners(),
        *_scale(low, high),
    ]
    words = "value over all answers of three classes; a walk from the even answer, and where it ends"
    return svg(title, words, parts, HEIGHT + 60)


def _corner(answer: Sequence[float]) -> tuple[float, float]:
    """Place an answer (true class, second, third): the true class at the top."""
    top, _, third = (share / sum(answer) for share in answer)
    side = 320.0
    return 80.0 + side * (third + top / 2), 302.0 - side * top * math.sqrt(3) / 2


def _cells(found: Map, low: float, span: float) -> Iterator[Element]:
    n = found.fineness
    place = {(round(a * n), round(b * n)): k for k, (a, b, _) in enumerate(found.answers)}
    for a in range(n):
        for b in range(n - a):
            yield _cell(found, [place[a, b], place[a + 1, b], place[a, b + 1]], low, span)
            if a + b + 2 <= n:
                yield _cell(found, [place[a + 1, b], place[a, b + 1], place[a + 1, b + 1]], low, span)


def _cell(found: Map, corners: Sequence[int], low: float, span: float) -> Element:
    mean = sum(found.values[k] for k in corners) / len(corners)
    share = 1.0 if not math.isfinite(mean) else min(max((mean - low) / span, 0.0), 1.0)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_corner(found.answers[k]) for k in corners))
    colour = _colour(share)
    return tag("polygon", points=points, fill=colour, stroke=colour, stroke_width=0.6)


def _colour(share: float) -> str:
    place = share * (len(COLOURS) - 1)
    k = min(int(place), len(COLOURS) - 2)
    mixed = (round(a + (place - k) * (b - a)) for a, b in zip(COLOURS[k], COLOURS[k + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _corners() -> Iterator[Element]:
    for words, answer, dy in (("true class", (1, 0, 0), -8), ("second", (0, 1, 0), 16), ("third", (0, 0, 1), 16)):
        x, y = _corner(answer)
        yield tag("text", words, x=round(x, 1), y=round(y + dy, 1), text_anchor="middle")


def _scale(low: float, high: float) -> Iterator[Element]:
    for k in range(20):
        yield tag("rect", x=140 + 10 * k, y=332, width=10.5, height=10, fill=_colour(k / 19))
    yield tag("text", f"{low:.3g}", x=134, y=341, text_anchor="end")
    yield tag("text", f"{high:.3g} and more", x=346, y=341)
