"""Comparing losses at full fidelity: learning rates tuned alike, paired seeds, a held-out split read at the end.

This is how a search confirms what it found, and how `lossml benchmark` compares any losses. Every
training is recorded as soon as its block is done. The next block has begun by then, so that no worker waits for
another; a kill costs those two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lossml.errors import LossMLError
from lossml.proxy import Facts, Outcome, Run, TrainingState
from lossml.search.cohort import Waiting, metrics_of
from lossml.search.events import Confirming, Listener
from lossml.search.objective import as_read, read_objective
from lossml.search.records import FULL
from lossml.search.results import Comparison, Contender, Design, Match, Row
from lossml.search.statistics import Difference, Judged, detectable, judge, paired_difference, seeds_needed, spent
from lossml.search.trainings import Done, Job, Store, module_of, sample_scores

EXTENSIONS = 3  # of the grid of learning rates, at either end


class Trains(Protocol):
    """Trains and scores for a comparison: proxies (`lossml.proxy.Trainer`) or full networks (`lossml.benchmark`)."""

    facts: Facts
    workers: int

    def begin(self, runs: Sequence[Run], states: Sequence[TrainingState | None], start: int, stop: int) -> Waiting:
        """Begin to train runs from one fidelity to another and to score them on the validation split."""
        ...

    def evaluate(self, states: Sequence[TrainingState], split: str) -> list[Outcome]:
        """Score trained networks on a split, sample by sample."""
        ...


def compare(
    trainer: Trains, losses: Sequence[Contender], design: Design, store: Store, listener: Listener
) -> Comparison:
    """Compare losses with the first of them.

    Args:
        trainer: trains and scores.
        losses: at least one.
        design: how to compare.
        store: where finished trainings are kept and looked up.
        listener: hears how far it is.

    Raises:
        LossMLError: where the reference itself cannot be trained.
    """
    work = _Work(trainer, tuple(losses), design, store, listener)
    tuned = _tuned(work)
    kept = _kept(work, tuned)
    work, rates = replace(work, losses=tuple(losses[k] for k in kept)), [_rate_of(tuned[k]) for k in kept]
    jobs = [
        Job("seeds", k, rate, seed) for seed in design.of("seeds") for k, rate in enumerate(rates) if rate is not None
    ]
    readings = _readings(work)
    work.train(jobs)
    return _judged(work, rates, readings)


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Trainings side by side.

    Attributes:
        start: how many are before them.
        jobs: which.
        waiting: waits for their outcomes; None where all are known.
    """

    start: int
    jobs: Sequence[Job]
    waiting: Waiting | None


@dataclass(frozen=True, slots=True)
class _Work:
    trainer: Trains
    losses: tuple[Contender, ...]
    design: Design
    store: Store
    listener: Listener

    def get(self, job: Job) -> Done:
        found = self.store.get(self.losses[job.contender], job)
        if found is None:
            raise LossMLError(f"the training {job} is not done")
        return found

    def train(self, jobs: Sequence[Job]) -> None:
        """Train what is not done yet, block by block.

        Blocks are cut before looking at what is done, so that networks that train as one group do
        so again after an interruption.
        """
        size = self.trainer.facts.group * max(1, self.trainer.workers)
        before: _Block | None = None
        for start in range(0, len(jobs), size):
            block = self._begun(start, jobs[start : start + size])
            if before is not None:
                self._finish(before, len(jobs))
            before = block
        if before is not None:
            self._finish(before, len(jobs))
            self.listener(Confirming(len(jobs), len(jobs), jobs[0].stage))

    def _begun(self, start: int, block: Sequence[Job]) -> _Block:
        """Begin a block, unless it is known."""
        if all(self.store.get(self.losses[job.contender], job) is not None for job in block):
            return _Block(start, block, None)
        prior = self.trainer.facts.prior
        runs = [Run(module_of(self.losses[job.contender], prior), job.lr, job.seed) for job in block]
        stop = FULL if block[0].stage == "seeds" else self.design.tuning
        return _Block(start, block, self.trainer.begin(runs, [None] * len(runs), 0, stop))

    def _finish(self, block: _Block, total: int) -> None:
        """Wait for a block and keep what it gave."""
        stage = block.jobs[0].stage
        self.listener(Confirming(block.start, total, stage))
        if block.waiting is None:
            return
        outcomes = block.waiting()
        if stage == "seeds":
            outcomes = self._on_heldout(outcomes)
        for job, outcome in zip(block.jobs, outcomes, strict=True):
            self.store.add(self.losses[job.contender], job, _finished(outcome))

    def _on_heldout(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        states = [outcome.state for outcome in outcomes if outcome.state is not None]
        scored = iter(self.trainer.evaluate(states, "heldout"))
        return [outcome if outcome.state is None else next(scored) for outcome in outcomes]


def _readings(work: _Work) -> tuple[int, int]:
    """Count this reading of the held-out split, before it is read."""
    found = [one for one in work.losses if one.trial >= 0]
    ours, theirs = ([one.program for one in found if one.control is control] for control in (False, True))
    return work.store.reading("search", ours), work.store.reading("control", theirs)


def _finished(outcome: Outcome) -> Done:
    if outcome.score is None:
        return Done(None, outcome.failure or "gave no result")
    return Done(metrics_of(outcome.score), "", outcome.score.parts)


Tried = dict[float, float]
"""Mean scores on the search-validation split by learning rate, of the rates at which no training failed."""


def _tuned(work: _Work) -> list[Tried]:
    """Train each loss over the grid of learning rates, and beyond while its best rate is at an end.

    Where there is one rate and nobody to leave out, there is nothing to choose and nothing is trained.
    """
    if len(work.design.learning_rates) == 1 and not work.design.keep:
        return [{work.design.learning_rates[0]: 0.0} for _ in work.losses]
    rates = {k: sorted(work.design.learning_rates) for k in range(len(work.losses))}
    asked = [(k, rate) for k, some in rates.items() for rate in some]
    tried: list[Tried] = [{} for _ in work.losses]
    for _ in range(1 + EXTENSIONS):
        _tune(work, asked, tried)
        asked = [(k, rate) for k, some in rates.items() if (rate := _beyond(some, tried[k])) is not None]
        for k, rate in asked:
            rates[k] = sorted([*rates[k], rate])
        if not asked:
            break
    return tried


def _tune(work: _Work, asked: Sequence[tuple[int, float]], tried: Sequence[Tried]) -> None:
    seeds = work.design.of("tune")
    work.train([Job("tune", k, rate, seed) for seed in seeds for k, rate in asked])
    for k, rate in asked:
        found = [work.get(Job("tune", k, rate, seed)) for seed in seeds]
        scores = _scores(found, work.design.objective)
        if len(scores) == len(seeds):
            tried[k][rate] = float(np.mean(scores))


def _beyond(rates: Sequence[float], tried: Tried) -> float | None:
    """Return the rate to try next: as far beyond an end as its neighbour is within, where the end is best."""
    best = _rate_of(tried)
    if best is None or len(rates) < 2 or best not in {rates[0], rates[-1]}:
        return None
    neighbour = rates[1] if best == rates[0] else rates[-2]
    return float(f"{best * best / neighbour:.6g}")


def _rate_of(tried: Tried) -> float | None:
    """Choose the best rate, at a tie the one nearest to the task's own; None where every training failed."""
    return max(tried, key=lambda lr: (tried[lr], -abs(math.log(lr)))) if tried else None


def _kept(work: _Work, tuned: Sequence[Tried]) -> list[int]:
    """Choose who goes on to the held-out split: all that were given by name, and the best that each search found."""
    kept = {k for k, one in enumerate(work.losses) if one.named}
    for control in (False, True):
        found = [k for k, one in enumerate(work.losses) if not one.named and one.control is control]
        best = sorted(found, key=lambda k: -max(tuned[k].values(), default=-math.inf))
        kept.update(best[: work.design.keep or None])
    return sorted(kept)


def _judged(work: _Work, rates: Sequence[float | None], readings: tuple[int, int]) -> Comparison:
    results = [_results(work, k, rate) for k, rate in enumerate(rates)]
    entries = [Entry(*one, 0) for one in zip(work.losses, rates, results, strict=True)]
    return judged_together(entries, work.design, work.trainer.facts.sizes[2], readings)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A loss's held-out results by seed, and the place of the reference that they are paired with."""

    contender: Contender
    rate: float | None
    results: Sequence[Done]
    reference: int = 0


def judged_together(
    entries: Sequence[Entry], design: Design, samples: int, readings: tuple[int, int] = (1, 1)
) -> Comparison:
    """Judge results; the first is the reference, and of several runs each has its own among the entries.

    Args:
        entries: the results.
        design: how they were compared.
        samples: size of the held-out split.
        readings: see `Comparison`.

    Raises:
        LossMLError: where a reference failed.
    """
    results = [one.results for one in entries]
    rows = [_row(one.contender, one.rate, one.results, design) for one in entries]
    references = {one.reference for one in entries}
    for k in references:
        if rows[k].verdict == "failed":
            raise LossMLError(f"the reference {rows[k].contender.label} could not be trained: {rows[k].reason}")
    alive = [k for k in range(len(rows)) if rows[k].verdict != "failed" and k not in references]
    # What was found, what the control found and what was known before are questions of their own, each corrected
    # for its own number.
    families = _families(rows, alive)
    for family, reading in zip(families, (*readings, 1), strict=True):
        differences = [_difference(results[k], results[entries[k].reference], design.objective) for k in family]
        for k, row in zip(family, _told([rows[k] for k in family], differences, design, reading), strict=True):
            rows[k] = row
    noise = math.sqrt(2.0) * rows[0].spread
    control = _match(rows, results, families, design, spent(sum(readings) - 1))
    ahead = _ahead(rows, results, len(families[0]), design, spent(readings[0]))
    return Comparison(tuple(rows), design, samples, noise, control, ahead, readings)


def _told(rows: Sequence[Row], differences: Sequence[Difference], design: Design, reading: int) -> list[Row]:
    """Judge the differences of a family and write the verdicts into its rows."""
    factor = spent(reading)
    judged = judge(differences, design.alpha, factor)
    return [with_verdict(*pair, design.alpha / factor / len(rows)) for pair in zip(rows, judged, strict=True)]


def _families(rows: Sequence[Row], alive: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    found = [k for k in alive if rows[k].contender.trial >= 0]
    ours, theirs = ([k for k in found if rows[k].contender.control is control] for control in (False, True))
    return ours, theirs, [k for k in alive if rows[k].contender.trial < 0]


def _match(
    rows: Sequence[Row],
    results: Sequence[Sequence[Done]],
    families: Sequence[Sequence[int]],
    design: Design,
    factor: float,
) -> Match | None:
    """Compare the best that the search found with the best of its control; each had as many candidates."""
    ours, theirs = families[0], families[1]
    if not ours or not theirs:
        return None
    one, other = (_best(rows, family, design) for family in (ours, theirs))
    return _paired(rows, results, (one, other), design, factor)


def _best(rows: Sequence[Row], family: Sequence[int], design: Design) -> int:
    sign = read_objective(design.objective).sign
    return max(family, key=lambda k: sign * rows[k].mean)


def _paired(
    rows: Sequence[Row], results: Sequence[Sequence[Done]], pair: tuple[int, int], design: Design, factor: float
) -> Match:
    one, other = pair
    (found,) = judge([_difference(results[one], results[other], design.objective)], design.alpha, factor)
    labels = rows[one].contender.label, rows[other].contender.label
    return Match(*labels, found.difference.mean, found.low, found.high, found.p_corrected, found.verdict)


def best_found(rows: Sequence[Row], design: Design) -> int | None:
    """Return the place of the best that the search found; None where nothing of it is left."""
    living = [k for k, row in enumerate(rows) if row.verdict != "failed"]
    found = [k for k in living if rows[k].contender.trial >= 0 and not rows[k].contender.control]
    return _best(rows, found, design) if found else None


def _ahead(
    rows: Sequence[Row], results: Sequence[Sequence[Done]], candidates: int, design: Design, factor: float
) -> Match | None:
    """Compare the best that the search found with the best baseline, both chosen by what is now compared.

    The choice among candidates can only flatter the one, the choice among baselines only the other: a difference
    in either direction is corrected for the larger of the two numbers.
    """
    ours = best_found(rows, design)
    known = [k for k, row in enumerate(rows) if row.contender.named and row.verdict != "failed" and k != ours]
    if not ours or not known:  # the reference itself, place 0, has nothing to be ahead of
        return None
    theirs = _best(rows, known, design)
    itself = rows[ours].contender.named and _best(rows, [ours, *known], design) == ours
    if theirs == 0 or itself:
        return None
    return _paired(rows, results, (ours, theirs), design, factor * max(candidates, len(known)))


def with_verdict(row: Row, found: Judged, alpha: float) -> Row:
    """Write what was judged into a row; alpha is the level that the strictest of the corrected tests asks for."""
    return replace(
        row,
        difference=found.difference.mean,
        low=found.low,
        high=found.high,
        p=found.p_corrected,
        verdict=found.verdict,
        detectable=detectable(found.difference, alpha),
        needed=seeds_needed(found.difference, alpha) or 0,
        raw=found.difference,
    )


def _results(work: _Work, k: int, rate: float | None) -> list[Done]:
    if rate is None:
        tune = work.design.of("tune")
        return [work.get(Job("tune", k, lr, seed)) for lr in work.design.learning_rates for seed in tune]
    return [work.get(Job("seeds", k, rate, seed)) for seed in work.design.of("seeds")]


def _row(contender: Contender, rate: float | None, results: Sequence[Done], design: Design) -> Row:
    metrics = tuple(done.metrics for done in results if done.metrics is not None)
    if rate is None or len(metrics) < len(results):
        reason = next(done.failure for done in results if done.metrics is None)
        return Row(contender, rate or 0.0, metrics, 0.0, 0.0, verdict="failed", reason=reason)
    values = [as_read(m.of(design.objective), design.objective) for m in metrics]
    return Row(contender, rate, metrics, float(np.mean(values)), float(np.std(values, ddof=1)))


def _difference(ours: Sequence[Done], reference: Sequence[Done], objective: str) -> Difference:
    return paired_difference(
        _scores(ours, objective),
        _scores(reference, objective),
        _samples(ours, objective),
        _samples(reference, objective),
    )


def _scores(results: Sequence[Done], objective: str) -> list[float]:
    return [done.metrics.of(objective) for done in results if done.metrics is not None]


def _samples(results: Sequence[Done], objective: str) -> NDArray[np.float64]:
    """Return each sample's part in the objective by seed and sample."""
    return np.asarray([sample_scores(done.parts, objective) for done in results])
