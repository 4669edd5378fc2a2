"""Joining benchmarks of different days or machines: each loss is paired with the reference of its own run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossml.benchmark import plan as plans
from lossml.errors import RunError
from lossml.search import folder as folders
from lossml.search.compare import Entry, judged_together
from lossml.search.journal import read_study
from lossml.search.results import Comparison, Contender, Design
from lossml.search.trainings import STUDY, Done, done_of

SAME = ("task", "recipe", "data", "precision")  # parts of a plan that must agree
REMEDY = "run its command again with another --output"
NOTED = ("versions", "device")  # parts that may differ, and are named where they do


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Several runs as one comparison, and what a reader should know of it."""

    comparison: Comparison
    notes: tuple[str, ...]


def join(runs: Sequence[Path]) -> Joined:
    """Compare the losses of several benchmarks together.

    Every run must have the same reference, trained with the same seeds. A loss is compared with the reference of its
    own run, so that a difference between machines is none between losses; one that several have is taken from the
    first.

    Raises:
        RunError: where runs are not comparable, with the reason, or one is not finished.
    """
    if len(runs) < 2:
        raise RunError("give at least two folders of benchmarks to compare")
    written = [_plan(run) for run in runs]
    for run, plan in zip(runs[1:], written[1:], strict=True):
        _check(runs[0], written[0], run, plan)
    entries, seen = [], set[str]()
    for run, plan in zip(runs, written, strict=True):
        with folders.reading(run, REMEDY):
            entries += _entries(run, plan, len(entries), seen)
    notes = [
        note for run, plan in zip(runs[1:], written[1:], strict=True) for note in _notes(runs[0], written[0], run, plan)
    ]
    with folders.reading(runs[0], REMEDY):
        samples = int(folders.read_result(runs[0] / "result.json")["samples"])
        return Joined(judged_together(entries, _design(written[0]), samples), tuple(notes))


def _plan(run: Path) -> Mapping[str, Any]:
    """Read a plan of the parts that a comparison of it needs."""
    found = plans.read(run)
    with folders.reading(run / plans.PLAN, REMEDY):
        _design(found).of("seeds")
        _reference(found)
    return found


def _check(first: Path, there: Mapping[str, Any], run: Path, here: Mapping[str, Any]) -> None:
    for part in SAME:
        if found := plans.first_difference(there.get(part), here.get(part), part):
            raise RunError(f"{first} and {run} cannot be compared: {found}")
    for key in ("objective", "seeds", "seed", "learning_rates", "tuning", "tuning_seeds", "alpha"):
        if found := plans.first_difference(there["design"].get(key), here["design"].get(key), key):
            why = "their seeds are not paired: " if key.startswith("seed") else ""
            raise RunError(f"{first} and {run} cannot be compared: {why}{found}")
    ours, theirs = _reference(there), _reference(here)
    if ours[1] != theirs[1]:
        raise RunError(
            f"{first} and {run} cannot be compared: the reference is {ours[0]} there and {theirs[0]} here; each "
            "must have trained the same one"
        )


def _reference(plan: Mapping[str, Any]) -> tuple[str, Any]:
    reference, *_ = plan["losses"].items()
    return reference


def _notes(first: Path, there: Mapping[str, Any], run: Path, here: Mapping[str, Any]) -> list[str]:
    found = (plans.first_difference(there.get(part), here.get(part), part) for part in NOTED)
    return [
        f"{first} and {run} differ: {one}; each loss is paired with the reference of its own run"
        for one in found
        if one
    ]


def _design(plan: Mapping[str, Any]) -> Design:
    found: dict[str, Any] = {**plan["design"], "learning_rates": tuple(plan["design"]["learning_rates"])}
    return Design(**found)


def _entries(run: Path, plan: Mapping[str, Any], place: int, seen: set[str]) -> list[Entry]:
    """Read a run's losses with their results; its reference comes first and is shown for the first run alone."""
    result = folders.read_result(run / "result.json")
    done = _done(run)
    seeds, found = _design(plan).of("seeds"), list[Entry]()
    for row in result["rows"]:
        contender = Contender(**row["contender"])
        is_reference = not found
        if contender.program in seen and not is_reference:
            continue
        rate = row["lr"] if row["verdict"] != "failed" else None
        results = [done.get(("seeds", contender.program, row["lr"], seed)) for seed in seeds]
        if any(one is None for one in results):
            results = [Done(None, row["reason"] or "it has no result")]
        label = f"{contender.label} ({run.name})" if place and is_reference else contender.label
        found.append(Entry(replace(contender, label=label), rate, [one for one in results if one], place))
        seen.add(contender.program)
    return found


def _done(run: Path) -> Mapping[tuple[str, str, float, int], Done]:
    study = read_study(run / folders.JOURNAL, STUDY)
    if study is None:
        raise RunError(f"{run} has no finished training; run its command to the end")
    return dict(done_of(study))
