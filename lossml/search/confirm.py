"""Confirmation: the best of a search against tuned baselines, and what may be said of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lossml.backend import Crowd
from lossml.program import parse
from lossml.proxy import Trainer
from lossml.search import folder as folders
from lossml.search.compare import best_found, compare
from lossml.search.elsewhere import there, written
from lossml.search.events import Listener
from lossml.search.objective import gap, read_objective
from lossml.search.recipe import Recipe
from lossml.search.records import Trial, as_json, finalists
from lossml.search.results import Comparison, Contender, Design, Match, Row, Transfer, Verdict, points
from lossml.search.trainings import Store, contenders, design_of, laid_out
from lossml.search.transfer import corrected, told, transferred

ORDINALS = {2: "second", 3: "third"}
TUNED = 3  # candidates tuned for each that is confirmed: one score is a lucky score, a mean over tasks is less so


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
    count = recipe.candidates if recipe.trainings > 1 else TUNED * recipe.candidates
    chosen, others = (shortlist(some, recipe.aim, count, len(prior), pixels) for some in (trials, control))
    losses = [*laid_out(recipe.baselines, chosen, prior, pixels), *_controls(others, prior, pixels)]
    design = design_of(recipe)
    comparison = compare(trainer, losses, design, Store(run / folders.JOURNAL, design.objective), listener)
    verdict = judged(comparison, written(recipe) if recipe.also_on else "")
    _write(run, verdict)
    return verdict


def _write(run: Path, verdict: Verdict) -> None:
    folders.write_atomically(run / folders.VERDICT, json.dumps(as_json(verdict), indent=2) + "\n")


def confirm_elsewhere(
    recipe: Recipe,
    run: Path,
    verdict: Verdict,
    trials: Sequence[Trial],
    trainer_of: Callable[[Recipe], Trainer],
    listener: Listener,
) -> Verdict:
    """Test what a search confirmed on its recipe's other tasks, and write that into its verdict.

    Args:
        recipe: of the search.
        run: its folder.
        verdict: of its own task.
        trials: of the search.
        trainer_of: starts what trains on the task of a recipe.
        listener: hears how far it is.
    """
    chosen = _confirmed(verdict, trials)
    if not chosen:
        return verdict
    found: list[Transfer] = []
    for text in recipe.tested_on:
        with trainer_of(there(recipe, text)) as trainer:
            found.append(transferred(recipe, text, run, trainer, chosen, listener))
    transfers = corrected(found, recipe)
    extended = replace(verdict, sentence=f"{verdict.sentence} {told(transfers, recipe.also_on)}", transfers=transfers)
    _write(run, extended)
    return extended


def _confirmed(verdict: Verdict, trials: Sequence[Trial]) -> list[Trial]:
    """Return the candidates that were tested, the winner first; none where it is the reference itself."""
    winner = verdict.winner
    if winner is None or winner.difference is None:
        return []
    rows = [row.contender for row in verdict.comparison.rows if row.verdict != "failed"]
    numbers = [one.trial for one in rows if one.trial >= 0 and not one.control]
    by_number = {trial.number: trial for trial in trials}
    return [by_number[n] for n in dict.fromkeys([winner.contender.trial, *numbers])]


def _controls(chosen: Sequence[Trial], prior: Sequence[float], pixels: int) -> list[Contender]:
    found = contenders([(f"random #{t.number}", parse(t.program), t.number) for t in chosen], prior, pixels)
    return [replace(one, control=True) for one in found]


def judged(comparison: Comparison, task: str = "") -> Verdict:
    """Say what a comparison allows to be said, and on which task where a search had several."""
    place = best_found(comparison.rows, comparison.design)
    if place is None:
        return Verdict("Nothing was confirmed: no candidate could be trained to the end.", None, comparison)
    winner = comparison.rows[place]
    beside = f" {_against(comparison.control, comparison.design)}" if comparison.control else ""
    return Verdict(_sentence(winner, comparison, task) + beside + _again(comparison.readings[0]), winner, comparison)


def _again(reading: int) -> str:
    if reading == 1:
        return ""
    return (
        f" It is the {ORDINALS.get(reading, f'{reading}th')} time that the held-out split is read for candidates of "
        "this search; intervals and p are corrected for that."
    )


def _against(control: Match, design: Design) -> str:
    """Say how the search stands against its control."""
    interval = gap(control.difference, design.objective, (control.low, control.high))
    ends = {"better": "the search beats it", "worse": "it beats the search"}.get(control.verdict, "no difference found")
    return (
        f"Against a random search of equal training, whose best is {control.theirs}: {interval}, "
        f"p = {control.p:.2g}, {ends}."
    )


def _sentence(winner: Row, comparison: Comparison, task: str) -> str:
    design, reference = comparison.design, comparison.rows[0].contender.label
    name = f"trial {winner.contender.trial}"
    same = f", which is {winner.contender.known} up to scale," if winner.contender.known else ""
    if winner.difference is None:
        return f"No difference found: the best loss, {name}, is {reference} itself up to scale."
    interval = gap(winner.difference, design.objective, (winner.low, winner.high))
    of = "of" if read_objective(design.objective).sign > 0 else "less"
    where = f" on {task}" if task else ""
    measured = f"{interval} {of} held-out {design.objective}{where} against tuned {reference}, {design.seeds} seeds"
    if winner.verdict == "no difference":
        return f"No difference found: {name}{same} has {measured}. {_power(winner, design)}"
    beside = _beside(winner, comparison)
    return f"{winner.verdict.capitalize()}: {name}{same} has {measured}, p = {winner.p:.2g}.{beside}"


def _power(row: Row, design: Design) -> str:
    if row.difference == row.detectable == 0.0:
        return "Both have the same score for every seed."
    seen = f"This design sees differences from {points(row.detectable, design).lstrip('+')} on"
    if row.difference == 0.0:
        return f"{seen}; the one observed is exactly 0."
    if row.needed:
        return f"{seen}; {row.needed} seeds would be needed for one of the size observed."
    return f"{seen}; for one of the size observed the held-out split is too small, whatever the number of seeds."


def _beside(winner: Row, comparison: Comparison) -> str:
    """Say where the winner stands among the baselines, of which the search may have found some itself."""
    if comparison.ahead is not None:
        return f" {_ahead(comparison.ahead, comparison.design)}"
    if winner.contender.named and winner.verdict == "better":
        return " It is itself a baseline, and the best of them."
    return f" Of the baselines {comparison.rows[0].contender.label} is the best."


def _ahead(ahead: Match, design: Design) -> str:
    interval = gap(ahead.difference, design.objective, (ahead.low, ahead.high))
    ends = {"better": "the winner beats it", "worse": "it beats the winner"}.get(ahead.verdict, "no difference found")
    return f"Against the best baseline, {ahead.theirs}: {interval}, p = {ahead.p:.2g}, {ends}."
