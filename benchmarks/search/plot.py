"""The plot: mean confirmed score against training, one panel a task, as SVG."""

from collections.abc import Mapping, Sequence
from math import log2
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from analysis import grid, interval, sampled, until
from methods import METHODS, Scale
from numpy.typing import NDArray

COLOURS = ("#888888", "#000000", "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b", "#17becf")
BANDS = ("random", "plain GP", "ours")
WIDE, HIGH, LEFT, TOP, GAP = 340, 230, 50, 30, 60


def figure(parts: Sequence[Mapping[str, Any]], scale: Scale) -> str:
    """Draw three panels a row and the legend below."""
    rows = -(-len(parts) // 3)
    size = (3 * (WIDE + GAP) + LEFT, rows * (HIGH + GAP) + TOP + 50)
    panels = [
        f'<g transform="translate({LEFT + k % 3 * (WIDE + GAP)},{TOP + k // 3 * (HIGH + GAP)})">{_panel(p, scale)}</g>'
        for k, p in enumerate(parts)
    ]
    legend = "".join(
        f'<g transform="translate({LEFT + 130 * k},{size[1] - 25})"><path d="M0 0h22" stroke="{colour}" '
        f'stroke-width="2.5"/><text x="28" y="4">{escape(name)}</text></g>'
        for k, (name, colour) in enumerate(zip(METHODS, COLOURS, strict=True))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(panels)}{legend}</svg>\n'
    )


def _panel(part: Mapping[str, Any], scale: Scale) -> str:
    points, curves = grid(scale), sampled(part, scale)
    ends = {m: len(until(scale, m)) for m in METHODS}
    means = {m: values.mean(0)[: ends[m]] for m, values in curves.items()}
    high = 100 * max(float(mean.max()) for mean in means.values())
    low = 100 * float(np.median([mean[len(points) // 3] for mean in means.values()]))
    low = min(low, high - 1)

    def place(at: float, score: float) -> str:
        x = WIDE * log2(at) / log2(points[-1])
        return f"{x:.1f},{HIGH * (1 - (max(100 * score, low) - low) / (1.05 * (high - low))):.1f}"

    def line(values: NDArray[np.float64]) -> list[str]:
        return [place(float(at), float(v)) for at, v in zip(points, values, strict=False)]

    drawn = []
    for (name, mean), colour in zip(means.items(), COLOURS, strict=True):
        if name in BANDS:
            bounds = np.asarray([interval(column) for column in curves[name].T[: ends[name]]])
            outline = [*line(bounds[:, 0]), *reversed(line(bounds[:, 1]))]
            drawn.append(f'<polygon points="{" ".join(outline)}" fill="{colour}" opacity="0.13"/>')
        drawn.append(f'<polyline points="{" ".join(line(mean))}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return _frame(part["task"], (low, high), points[-1]) + "".join(drawn)


def _frame(title: str, ends: tuple[float, float], last: float) -> str:
    low, high = ends
    ticks = [low + share * (high - low) for share in (0, 0.25, 0.5, 0.75, 1)]
    across = [2**k for k in range(int(log2(last)) + 1)]
    return (
        f'<text x="{WIDE / 2}" y="-10" text-anchor="middle" font-weight="bold">{escape(title)}</text>'
        f'<rect width="{WIDE}" height="{HIGH}" fill="none" stroke="#bbb"/>'
        + "".join(
            f'<text x="-6" y="{HIGH * (1 - (t - low) / (1.05 * (high - low))) + 4:.1f}" '
            f'text-anchor="end">{t:.1f}</text>'
            for t in ticks
        )
        + "".join(
            f'<text x="{WIDE * log2(a) / log2(last):.1f}" y="{HIGH + 16}" text-anchor="middle">{a}</text>'
            for a in across
        )
        + f'<text x="{WIDE / 2}" y="{HIGH + 32}" text-anchor="middle">full trainings</text>'
    )
