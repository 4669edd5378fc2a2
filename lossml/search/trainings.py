"""The trainings of a comparison: which losses, how, and a store in which each is kept once it is done."""

import base64
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.trial import TrialState, create_trial

from lossml import zoo
from lossml.backend import ForeignLoss, ProgramLoss, foreign_scale, gradient_scale
from lossml.program import Node, parse, show
from lossml.search.cohort import loss_of
from lossml.search.journal import open_study
from lossml.search.known import known_as
from lossml.search.objective import read_objective
from lossml.search.recipe import Recipe
from lossml.search.records import Metrics, Trial, as_json
from lossml.search.results import Contender, Design
from lossml.zoo import FOREIGN, Foreign

STUDY = "confirm"
READ = "read:"


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


def contenders(
    programs: Sequence[tuple[str, Node | Foreign, int]], prior: Sequence[float], pixels: int = 1
) -> list[Contender]:
    """Describe losses given as (label, program, trial number or -1) for a task's class shares and pixels."""
    classes = len(prior)
    read = [program for _, program, _ in programs if isinstance(program, Node)]
    scales = iter(float(s) for s in gradient_scale(read, classes, pixels, prior))
    found: list[Contender] = []
    for label, program, trial in programs:
        if isinstance(program, Foreign):
            found.append(Contender(label, program.name, foreign_scale(program, classes, pixels), trial))
            continue
        scale = next(scales)
        known = known_as(program, classes, pixels)
        found.append(Contender(label, show(program), scale if math.isfinite(scale) else 1.0, trial, known, trial < 0))
    return found


def laid_out(baselines: Sequence[str], chosen: Sequence[Trial], prior: Sequence[float], pixels: int) -> list[Contender]:
    """Lay out baselines and candidates; a candidate that is a baseline takes its place, not a second one."""
    field = contenders([(name, zoo.contender(name), -1) for name in baselines], prior, pixels)
    for one in contenders([(f"#{t.number}", parse(t.program), t.number) for t in chosen], prior, pixels):
        twin = next((k for k, base in enumerate(field) if one.known and one.known == base.known), None)
        if twin is None:
            field.append(one)
        elif field[twin].trial < 0:
            field[twin] = replace(field[twin], trial=one.trial)
    return field


def sample_scores(parts: Mapping[str, NDArray[np.float32]], objective: str) -> NDArray[np.float64]:
    """Return each sample's part in the objective (N,), more is better; their mean is the objective."""
    weights = read_objective(objective).weights
    return np.sum([weight * parts[name].astype(float) for name, weight in weights], axis=0)


def design_of(recipe: Recipe) -> Design:
    """Return how a recipe's losses are compared."""
    return Design(
        seeds=recipe.confirm_seeds,
        learning_rates=recipe.learning_rates,
        objective=recipe.objective,
        alpha=recipe.alpha,
        seed=recipe.seed,
        keep=recipe.candidates,
        tuning_seeds=recipe.tuning_seeds,
    )


def module_of(contender: Contender, prior: Sequence[float]) -> ProgramLoss | ForeignLoss:
    """Build the loss that a contender trains with."""
    if contender.program in FOREIGN:
        return ForeignLoss(FOREIGN[contender.program], contender.scale)
    return loss_of(parse(contender.program), contender.scale, prior)


def study_of(task: str) -> str:
    """Name the study of a task's trainings; "" is the run's own task."""
    return f"{STUDY} on {task}" if task else STUDY


class Store:
    """The finished trainings of a comparison, in a study of a journal file; a leaf.

    Args:
        path: of the journal file.
        objective: what the trials' values are, and whose parts are kept sample by sample.
        task: another task than the run's own, as text: its trainings lie in a study of their own.
    """

    def __init__(self, path: Path, objective: str = "accuracy", task: str = "") -> None:
        """Open or create the study."""
        self._study, self._objective = open_study(path, study_of(task)), objective
        self._done = done_of(self._study)

    def reading(self, kind: str, programs: Iterable[str]) -> int:
        """Count the readings of the held-out split for candidates of a kind, and note this one before it happens.

        The same candidates read the same trainings again, which is no other reading.

        Returns:
            The number of this reading, from 1 on.
        """
        tested = sorted(set(programs))
        if not tested:
            return 1
        known: list[list[str]] = self._study.user_attrs.get(f"{READ}{kind}", [])
        if tested not in known:
            known = [*known, tested]
            self._study.set_user_attr(f"{READ}{kind}", known)
        return known.index(tested) + 1

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


def done_of(study: Study) -> dict[tuple[str, str, float, int], Done]:
    """Read finished trainings from a store's study, by stage, program, learning rate and seed."""
    return {_key(t.user_attrs): _done(t.user_attrs) for t in study.get_trials(deepcopy=False)}


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
