"""What the searches say: scores at equal training, tests against random search, training until plain GP is reached."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from methods import METHODS, Scale
from numpy.typing import NDArray

from lossml.search.statistics import judge, paired_difference

RESAMPLES, ALPHA = 2000, 0.05
LONG = [name for name, method in METHODS.items() if method.times > 1]
Curves = dict[str, NDArray[np.float64]]  # by method, (searches, points)


def grid(scale: Scale) -> NDArray[np.float64]:
    """Amounts of training, in full trainings, at which searches are looked at."""
    ends = sorted({scale.budget * method.times for method in METHODS.values()})
    return np.union1d(np.geomspace(1, ends[-1], 129).round(2), ends)


def until(scale: Scale, method: str) -> NDArray[np.float64]:
    """Give the amounts of training that a method reaches."""
    points = grid(scale)
    return points[points <= scale.budget * METHODS[method].times]


def sampled(part: Mapping[str, Any], scale: Scale) -> Curves:
    """Give each search's confirmed score after each amount of training; chance before it has an answer."""
    points = grid(scale)
    return {
        method: np.asarray([sampled_at(run, points, part["chance"]) for run in runs])
        for method, runs in part["curves"].items()
    }


def sampled_at(run: Sequence[Sequence[float]], points: Iterable[float], chance: float) -> list[float]:
    """Give a search's score after each amount of training; chance before it has an answer."""
    return [next((score for at, score in reversed(run) if at <= point), chance) for point in points]


def at(curves: Curves, scale: Scale, trainings: float) -> dict[str, NDArray[np.float64]]:
    """Give scores (searches,) by method at an amount of training."""
    place = int(np.searchsorted(grid(scale), trainings, side="right")) - 1
    return {method: values[:, place] for method, values in curves.items()}


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Bootstrap the mean over searches, 95%."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def reached(curve: NDArray[np.float64], points: NDArray[np.float64], target: float) -> float:
    """Give the amount of training from which the mean curve is at the target; infinite where it never is."""
    there = np.flatnonzero(curve >= target)
    return float(points[there[0]]) if len(there) else float("inf")


def speed(curves: Curves, scale: Scale, method: str) -> dict[str, Any]:
    """Compare the training a method needs for plain GP's final mean score with plain GP's own, bootstrapped."""
    points, gp, ours = grid(scale), curves["plain GP"], curves[method]
    here, most = until(scale, method), len(until(scale, "plain GP"))
    rng = np.random.default_rng(0)
    picks = [np.arange(len(gp)), *rng.integers(0, len(gp), (RESAMPLES // 4, len(gp)))]
    factors = []
    for pick in picks:
        goal = gp[pick].mean(0)[:most]
        theirs = reached(goal, points, goal[-1])
        factors.append(theirs / reached(ours[pick].mean(0)[: len(here)], here, goal[-1]))
    low, high = np.quantile(factors[1:], [0.025, 0.975])
    return {"factor": factors[0], "interval": [float(low), float(high)]}


def analysed(parts: Sequence[Mapping[str, Any]], scale: Scale) -> dict[str, Any]:
    """Sum up: per task and method the score with its interval, and the comparisons."""
    curves = {part["task"]: sampled(part, scale) for part in parts}
    here = {task: at(found, scale, scale.budget) for task, found in curves.items()}
    final = {
        task: {m: at(found, scale, scale.budget * METHODS[m].times)[m] for m in LONG} for task, found in curves.items()
    }
    return {
        "scores": {t: {m: [float(v.mean()), *interval(v)] for m, v in rows.items()} for t, rows in here.items()},
        "final": {t: {m: [float(v.mean()), *interval(v)] for m, v in rows.items()} for t, rows in final.items()},
        "against random": {m: compared(here, m, "random") for m in METHODS if m != "random"},
        "against plain GP": {m: compared(here, m, "plain GP") for m in ("ours", "from scratch")},
        "against from scratch": {m: compared(here, m, "from scratch") for m in METHODS if m.startswith("- ")},
        "against random's final": {
            m: compared({t: {m: here[t][m], "random": final[t]["random"]} for t in here}, m, "random")
            for m in ("ours", "from scratch")
        },
        "speed": {t: {m: speed(found, scale, m) for m in METHODS} for t, found in curves.items()},
    }


def compared(rows: Mapping[str, Mapping[str, NDArray[np.float64]]], method: str, other: str) -> dict[str, Any]:
    """Compare two methods on all tasks, paired by search; corrected for the number of tasks (Holm)."""
    differences = [paired_difference(found[method].tolist(), found[other].tolist()) for found in rows.values()]
    judged = judge(differences, ALPHA)
    return {
        task: {"difference": j.difference.mean, "interval": [j.low, j.high], "p": j.p_corrected, "verdict": j.verdict}
        for task, j in zip(rows, judged, strict=True)
    }


def markdown(result: Mapping[str, Any], scale: Scale) -> str:
    """Write the tables."""
    return "\n\n".join(
        [
            (
                f"Mean confirmed held-out score in % after {scale.budget} full trainings, {scale.searches} searches, "
                "bootstrap interval of 95%."
            ),
            _table(result["scores"], list(METHODS), lambda cell: _percent(*cell)),
            "After " + " and ".join(f"{scale.budget * METHODS[m].times} ({m})" for m in LONG) + " full trainings:",
            _table(result["final"], LONG, lambda cell: _percent(*cell)),
            *(
                text
                for key in ("random", "plain GP", "from scratch", "random's final")
                for text in (
                    f"Difference to {key} in points, paired by search, corrected over the tasks (Holm):",
                    _table(_turned(result[f"against {key}"]), list(result[f"against {key}"]), _difference),
                )
            ),
            (
                "How many times less training than plain GP until plain GP's final mean score is reached "
                "(0: never within the budget):"
            ),
            _table(result["speed"], list(METHODS), _factor),
            "",
        ]
    )


def _turned(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    tasks = list(next(iter(rows.values())))
    return {task: {method: found[task] for method, found in rows.items()} for task in tasks}


def _table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str], cell: Any) -> str:  # noqa: ANN401 - a function
    lines = [f"| task | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {task} | {' | '.join(cell(found[c]) for c in columns)} |" for task, found in rows.items()]
    return "\n".join(lines)


def _percent(mean: float, low: float, high: float) -> str:
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _difference(cell: Mapping[str, Any]) -> str:
    mark = {"better": " **better**", "worse": " *worse*"}.get(cell["verdict"], "")
    low, high = cell["interval"]
    return f"{100 * cell['difference']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]{mark}"


def _factor(cell: Mapping[str, Any]) -> str:
    low, high = cell["interval"]
    return f"{cell['factor']:.1f} [{low:.1f}, {high:.1f}]"
