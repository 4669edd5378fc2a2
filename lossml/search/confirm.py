"""Confirmation: the best of a search against tuned baselines, and what may be said of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lossml import zoo
from lossml.backend import Crowd
from lossml.program import parse
from lossml.proxy import Trainer
from lossml.search import folder as folders
from lossml.search.compare import Comparison, Match, Row, compare
from lossml.search.events import Listener
from lossml.search.objective import gap, read_objective
from lossml.search.recipe import Recipe
from lossml.search.records import Metrics, State, Trial, as_json
from lossml.search.trainings import Contender, Design, Store, contenders

TUNED = 3  # candidates tuned for each that is confirmed: one score is a lucky score


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a search may claim.

    Attributes:
        sentence: the claim, in words.
        winner: row of the best candidate; None where nothing could be confirmed.
        comparison: all results.
    """

    sentence: str
    winner: Row | None
    comparison: Comparison


def finalists(trials: Sequence[Trial], objective: str, count: int) -> list[Trial]:
    """Return the best trials of those that reached the top rung, best first, shorter ones at a tie."""
    complete = [t for t in trials if t.state is State.COMPLETE]
    return sorted(complete, key=lambda t: (-t.scores(objective)[-1], len(t.program), t.number))[:count]


def shortlist(trials: Sequence[Trial], objective: str, count: int, classes: int, pixels: int = 1) -> list[Trial]:
    """Return the best finalists of different kinds, best first: siblings would confirm one idea several times."""
    ranked = finalists(trials, objective, len(trials))
    crowd = Crowd.of([], classes, pixels)
    chosen: list[Trial] = []
    for trial in ranked:
        place = crowd.places([parse(trial.program)])
        if len(chosen) < count and crowd.kin(place) == [0]:
            crowd = crowd.plus(place)
            chosen.append(trial)
    return chosen


def confirm(
    recipe: Recipe,
    run: Path,
    trainer: Trainer,
    trials: Sequence[Trial],
    listener: Listener,
    control: Sequence[Trial] = (),
) -> Verdict:
    """Confirm the best trials of a search and write the verdict into its folder.

    Args:
        recipe: of the search.
        run: its folder.
        trainer: trains and scores.
        trials: of the search.
        listener: hears how far it is.
        control: trials of the search of equal cost beside it, confirmed in the same way.

    Raises:
        LossMLError: where the first baseline cannot be trained.
    """
    prior, pixels = trainer.facts.prior, trainer.facts.pixels
    chosen, others = (
        shortlist(some, recipe.objective, TUNED * recipe.candidates, len(prior), pixels) for some in (trials, control)
    )
    losses = [*_field(recipe, chosen, prior, pixels), *_controls(others, prior, pixels)]
    design = Design(
        seeds=recipe.confirm_seeds,
        learning_rates=recipe.learning_rates,
        objective=recipe.objective,
        alpha=recipe.alpha,
        seed=recipe.seed,
        keep=recipe.candidates,
        tuning_seeds=recipe.tuning_seeds,
    )
    comparison = compare(trainer, losses, design, Store(run / folders.JOURNAL, design.objective), listener)
    verdict = judged(comparison)
    folders.write_atomically(run / folders.VERDICT, json.dumps(as_json(verdict), indent=2) + "\n")
    return verdict


def _field(recipe: Recipe, chosen: Sequence[Trial], prior: Sequence[float], pixels: int) -> list[Contender]:
    """Lay out baselines and candidates; a candidate that is a baseline takes its place, not a second one."""
    baselines = contenders([(name, zoo.contender(name), -1) for name in recipe.baselines], prior, pixels)
    found = contenders([(f"#{t.number}", parse(t.program), t.number) for t in chosen], prior, pixels)
    for one in found:
        twin = next((k for k, base in enumerate(baselines) if one.known and one.known == base.known), None)
        if twin is None:
            baselines.append(one)
        else:
            base = baselines[twin]
            baselines[twin] = replace(base, trial=one.trial)
    return baselines


def _controls(chosen: Sequence[Trial], prior: Sequence[float], pixels: int) -> list[Contender]:
    found = contenders([(f"random #{t.number}", parse(t.program), t.number) for t in chosen], prior, pixels)
    return [replace(one, control=True) for one in found]


def judged(comparison: Comparison) -> Verdict:
    """Say what a comparison allows to be said."""
    found = (row for row in comparison.rows if row.contender.trial >= 0 and not row.contender.control)
    rows = [row for row in found if row.verdict != "failed"]
    if not rows:
        return Verdict("Nothing was confirmed: no candidate could be trained to the end.", None, comparison)
    sign = read_objective(comparison.design.objective).sign
    winner = max(rows, key=lambda row: sign * row.mean)
    beside = f" {_against(comparison.control, comparison.design)}" if comparison.control else ""
    return Verdict(_sentence(winner, comparison) + beside, winner, comparison)


def _against(control: Match, design: Design) -> str:
    """Say how the search stands against its control."""
    interval = gap(control.difference, design.objective, (control.low, control.high))
    ends = {"better": "the search beats it", "worse": "it beats the search"}.get(control.verdict, "no difference found")
    return (
        f"Against a random search of equal training, whose best is {control.theirs}: {interval}, "
        f"p = {control.p:.2g}, {ends}."
    )


def _sentence(winner: Row, comparison: Comparison) -> str:
    design, reference = comparison.design, comparison.rows[0].contender.label
    name = f"trial {winner.contender.trial}"
    same = f", which is {winner.contender.known} up to scale," if winner.contender.known else ""
    if winner.difference is None:
        return f"No difference found: the best loss, {name}, is {reference} itself up to scale."
    interval = gap(winner.difference, design.objective, (winner.low, winner.high))
    of = "of" if read_objective(design.objective).sign > 0 else "less"
    measured = f"{interval} {of} held-out {design.objective} against tuned {reference}, {design.seeds} seeds"
    if winner.verdict == "no difference":
        return f"No difference found: {name}{same} has {measured}. {_power(winner, design)}"
    beside = _beside(winner, comparison)
    return f"{winner.verdict.capitalize()}: {name}{same} has {measured}, p = {winner.p:.2g}.{beside}"


def points(value: float, design: Design) -> str:
    """Write a difference, positive where it is for the better: points for shares, nats for the likelihood."""
    return gap(value, design.objective)


def _power(row: Row, design: Design) -> str:
    seen = f"This design sees differences from {points(row.detectable, design).lstrip('+')} on"
    if row.needed:
        return f"{seen}; {row.needed} seeds would be needed for one of the size observed."
    return f"{seen}; for one of the size observed the held-out split is too small, whatever the number of seeds."


def _beside(winner: Row, comparison: Comparison) -> str:
    """Say where the winner stands among the baselines, of which the search may have found some itself."""
    sign = read_objective(comparison.design.objective).sign
    rows = [row for row in comparison.rows if row.contender.named and row.verdict != "failed"]
    best = max(rows, key=lambda row: sign * row.mean)
    if best is winner:
        return " It is itself a baseline, and the best of them."
    ahead = points(sign * (winner.mean - best.mean), comparison.design)
    return f" The best baseline is {best.contender.label}; the winner stands {ahead} from it (not tested)."


def read_verdict(run: Path) -> Verdict | None:
    """Read a run's verdict; None where it has none yet."""
    path = run / folders.VERDICT
    if not path.is_file():
        return None
    found = json.loads(path.read_text())
    comparison = _comparison(found["comparison"])
    return Verdict(found["sentence"], _row(found["winner"]) if found["winner"] else None, comparison)


def _comparison(found: Mapping[str, Any]) -> Comparison:
    design: dict[str, Any] = {**found["design"], "learning_rates": tuple(found["design"]["learning_rates"])}
    rows = tuple(_row(row) for row in found["rows"])
    match = found.get("control")
    return Comparison(rows, Design(**design), found["samples"], found["noise"], Match(**match) if match else None)


def _row(found: Mapping[str, Any]) -> Row:
    typed: dict[str, Any] = {
        "contender": Contender(**found["contender"]),
        "metrics": tuple(Metrics(**m) for m in found["metrics"]),
    }
    return Row(**{**found, **typed})
