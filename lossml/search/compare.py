"""Comparing losses at full fidelity: learning rates tuned alike, paired seeds, a held-out split read once.

This is how a search confirms what it found, and how `lossml benchmark` compares any losses. Every
training is recorded as soon as its block is done, so that a kill costs one block.
"""

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState, create_trial

from lossml.backend import gradient_scale
from lossml.errors import LossMLError
from lossml.program import Node, parse, show
from lossml.proxy import Outcome, Run, Trainer
from lossml.search.events import Confirming, Listener
from lossml.search.journal import open_study
from lossml.search.known import known_as
from lossml.search.loop import loss_of, metrics_of
from lossml.search.objective import as_read, read_objective
from lossml.search.records import FULL, Metrics, as_json
from lossml.search.statistics import Difference, Judged, detectable, judge, paired_difference, seeds_needed

STUDY = "confirm"

TUNING_SEED, FIRST_SEED = 1_000_003, 2_000_003  # far from a search's seeds, so that no luck is reused


@dataclass(frozen=True, slots=True)
class Contender:
    """A loss to compare.

    Attributes:
        label: how people call it.
        program: its text.
        scale: factor that gives it cross-entropy's gradient size at the start.
        trial: number of the trial it comes from, -1 for a baseline.
        known: the zoo's name for it, up to scale; "" where it has none.
    """

    label: str
    program: str
    scale: float
    trial: int = -1
    known: str = ""


@dataclass(frozen=True, slots=True)
class Design:
    """How losses are compared; the first contender is the reference.

    Attributes:
        seeds: number of paired seeds, at least 2.
        learning_rates: multiples of the task's rate that each loss is tuned over.
        objective: what is compared.
        alpha: chance of calling equal losses different.
        seed: shifts all seeds.
    """

    seeds: int
    learning_rates: tuple[float, ...]
    objective: str = "accuracy"
    alpha: float = 0.05
    seed: int = 0

    def of(self, stage: str) -> tuple[int, ...]:
        """Return the seeds of a stage, "tune" or "seeds"."""
        if stage == "tune":
            return (TUNING_SEED + self.seed,)
        return tuple(FIRST_SEED + 1000 * self.seed + k for k in range(self.seeds))


@dataclass(frozen=True, slots=True)
class Job:
    """One full training: a contender, a multiple of the learning rate, a seed."""

    stage: str
    contender: int
    lr: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """A finished training.

    Attributes:
        metrics: None where it failed.
        failure: why.
        parts: each held-out sample's part in each metric; see `lossml.proxy.Score`.
    """

    metrics: Metrics | None
    failure: str = ""
    parts: Mapping[str, NDArray[np.float32]] = field(default_factory=dict[str, NDArray[np.float32]])


@dataclass(frozen=True, slots=True)
class Row:
    """A contender's result.

    Attributes:
        contender: which loss.
        lr: its tuned multiple of the learning rate.
        metrics: on the held-out split, one per seed.
        mean: mean objective over the seeds, as people read it; 0 for a loss that failed, as the next.
        spread: standard deviation over the seeds.
        difference: to the reference; None for the reference and for a loss that failed.
        low: lower end of the interval of the difference.
        high: upper end.
        p: corrected p-value.
        verdict: "reference", "better", "worse", "no difference" or "failed".
        detectable: the smallest difference this design would have seen four times out of five.
        needed: seeds that would see the observed difference; 0 where no number would.
        reason: why it failed.
    """

    contender: Contender
    lr: float
    metrics: tuple[Metrics, ...]
    mean: float
    spread: float
    difference: float | None = None
    low: float = 0.0
    high: float = 0.0
    p: float = 1.0
    verdict: str = "reference"
    detectable: float = 0.0
    needed: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison.

    Attributes:
        rows: the reference first, then in the order given.
        design: how it was compared.
        samples: size of the held-out split.
        noise: standard deviation of the difference between two trainings of the reference.
    """

    rows: tuple[Row, ...]
    design: Design
    samples: int
    noise: float


def contenders(programs: Sequence[tuple[str, Node, int]], classes: int) -> list[Contender]:
    """Describe losses given as (label, program, trial number or -1)."""
    scales = [float(s) for s in gradient_scale([p for _, p, _ in programs], classes)]
    return [
        Contender(label, show(program), scale if math.isfinite(scale) else 1.0, trial, known_as(program, classes))
        for (label, program, trial), scale in zip(programs, scales, strict=True)
    ]


class Store:
    """The finished trainings of a comparison, in a study of a journal file; a leaf.

    Args:
        path: of the journal file.
        objective: what the trials' values are, and whose parts are kept sample by sample.
    """

    def __init__(self, path: Path, objective: str = "accuracy") -> None:
        """Open or create the study."""
        self._study, self._objective = open_study(path, STUDY), objective
        trials = self._study.get_trials(deepcopy=False)
        self._done = {_key(t.user_attrs): _done(t.user_attrs) for t in trials}

    def get(self, contender: Contender, job: Job) -> Done | None:
        """Return a finished training, None where it is not done."""
        return self._done.get(_key(_attributes(contender, job)))

    def add(self, contender: Contender, job: Job, done: Done) -> None:
        """Record a finished training, once."""
        attributes = _attributes(contender, job)
        if _key(attributes) in self._done:
            return
        self._done[_key(attributes)] = done
        names = [name for name, _ in read_objective(self._objective).weights if name in done.parts]
        rest = {
            "metrics": json.dumps(as_json(done.metrics)),
            "failure": done.failure,
            "parts": {name: _packed(done.parts[name]) for name in names},
        }
        state = TrialState.FAIL if done.metrics is None else TrialState.COMPLETE
        value = None if done.metrics is None else done.metrics.of(self._objective)
        self._study.add_trial(create_trial(state=state, value=value, user_attrs={**attributes, **rest}))


def _attributes(contender: Contender, job: Job) -> dict[str, Any]:
    return {"stage": job.stage, "program": contender.program, "lr": job.lr, "seed": job.seed}


def _key(found: Mapping[str, Any]) -> tuple[str, str, float, int]:
    return found["stage"], found["program"], found["lr"], found["seed"]


def _done(found: Mapping[str, Any]) -> Done:
    metrics = json.loads(found["metrics"])
    parts = {name: _unpacked(text) for name, text in found["parts"].items()}
    return Done(Metrics(**metrics) if metrics else None, found["failure"], parts)


def _packed(part: NDArray[np.float32]) -> str:
    return base64.b64encode(zlib.compress(part.astype("<f4").tobytes())).decode()


def _unpacked(text: str) -> NDArray[np.float32]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4")


def compare(
    trainer: Trainer, losses: Sequence[Contender], design: Design, store: Store, listener: Listener
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
    rates = _tuned(work)
    jobs = [
        Job("seeds", k, rate, seed) for seed in design.of("seeds") for k, rate in enumerate(rates) if rate is not None
    ]
    work.train(jobs)
    return _judged(work, rates)


@dataclass(frozen=True, slots=True)
class _Work:
    trainer: Trainer
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
        for start in range(0, len(jobs), size):
            block = jobs[start : start + size]
            self.listener(Confirming(start, len(jobs), block[0].stage))
            if any(self.store.get(self.losses[job.contender], job) is None for job in block):
                self._train_block(block)
        if jobs:
            self.listener(Confirming(len(jobs), len(jobs), jobs[0].stage))

    def _train_block(self, block: Sequence[Job]) -> None:
        prior = self.trainer.facts.prior
        losses = [self.losses[job.contender] for job in block]
        runs = [
            Run(loss_of(parse(one.program), one.scale, prior), job.lr, job.seed)
            for one, job in zip(losses, block, strict=True)
        ]
        outcomes = self.trainer.advance(runs, [None] * len(runs), 0, FULL)
        if block[0].stage == "seeds":
            outcomes = self._on_heldout(outcomes)
        for one, job, outcome in zip(losses, block, outcomes, strict=True):
            self.store.add(one, job, _finished(outcome))

    def _on_heldout(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        states = [outcome.state for outcome in outcomes if outcome.state is not None]
        scored = iter(self.trainer.evaluate(states, "heldout"))
        return [outcome if outcome.state is None else next(scored) for outcome in outcomes]


def _finished(outcome: Outcome) -> Done:
    if outcome.score is None:
        return Done(None, outcome.failure or "gave no result")
    return Done(metrics_of(outcome.score), "", outcome.score.parts)


def _tuned(work: _Work) -> list[float | None]:
    """Choose each loss's learning rate on the search-validation split; None where it always fails."""
    (seed,) = work.design.of("tune")
    rates = work.design.learning_rates
    jobs = [Job("tune", k, rate, seed) for k in range(len(work.losses)) for rate in rates]
    work.train(jobs)
    return [_best_rate(work, jobs[k * len(rates) : (k + 1) * len(rates)]) for k in range(len(work.losses))]


def _best_rate(work: _Work, jobs: Sequence[Job]) -> float | None:
    """Choose the best rate, at a tie the one nearest to the task's own."""
    found = [(job.lr, work.get(job).metrics) for job in jobs]
    scored = [(m.of(work.design.objective), lr) for lr, m in found if m is not None]
    return max(scored, key=lambda row: (row[0], -abs(math.log(row[1]))))[1] if scored else None


def _judged(work: _Work, rates: Sequence[float | None]) -> Comparison:
    results = [_results(work, k, rate) for k, rate in enumerate(rates)]
    rows = [_row(*row, work.design) for row in zip(work.losses, rates, results, strict=True)]
    if rows[0].verdict == "failed":
        raise LossMLError(f"the reference {rows[0].contender.label} could not be trained: {rows[0].reason}")
    alive = [k for k in range(1, len(rows)) if rows[k].verdict != "failed"]
    # What was found and what was known before are two questions, each corrected for its own number.
    for family in (
        [k for k in alive if rows[k].contender.trial >= 0],
        [k for k in alive if rows[k].contender.trial < 0],
    ):
        differences = [_difference(results[k], results[0], work.design.objective) for k in family]
        for k, found in zip(family, judge(differences, work.design.alpha), strict=True):
            rows[k] = _with_verdict(rows[k], found, work.design.alpha)
    noise = math.sqrt(2.0) * rows[0].spread
    return Comparison(tuple(rows), work.design, work.trainer.facts.sizes[2], noise)


def _with_verdict(row: Row, found: Judged, alpha: float) -> Row:
    return replace(
        row,
        difference=found.difference.mean,
        low=found.low,
        high=found.high,
        p=found.p_corrected,
        verdict=found.verdict,
        detectable=detectable(found.difference, alpha),
        needed=seeds_needed(found.difference, alpha) or 0,
    )


def _results(work: _Work, k: int, rate: float | None) -> list[Done]:
    if rate is None:
        (seed,) = work.design.of("tune")
        return [work.get(Job("tune", k, lr, seed)) for lr in work.design.learning_rates]
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
    """Return each sample's part in the objective by seed and sample; their mean over samples is the objective."""
    weights = read_objective(objective).weights
    return np.asarray([sum(weight * done.parts[name].astype(float) for name, weight in weights) for done in results])
