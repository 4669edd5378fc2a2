"""How short, how fast, and which way of fitting constants pays: `lossml distill` measured.

    python benchmarks/distill.py

Losses: each published loss below is distilled twice over, as a program (it is among the seeds) and as a black box
(nothing is known but its gradient), from two seeds, to 1%; run it with OMP_NUM_THREADS=1. Programs per second leave out
the evaluations that fit constants, but not their time. Constants: five structures are fitted to a target from a
start off by a factor, by Levenberg-Marquardt as the search does it, by an Optuna sampler (TPE), and by log-normal
jitter that keeps what is better, with the same number of evaluated programs (the median over seeds for the latter two);
"floor" is where Levenberg-Marquardt ends with many times as many.
"""

import random
import statistics
from time import process_time

import common
import optuna

from lossml.distill import Limits, Target, distill, read_target
from lossml.distill.fit import FEWEST, fitted
from lossml.distill.points import Points, disagreement, judge, search_points
from lossml.distill.shape import constants, with_constants
from lossml.errors import ProgramError
from lossml.evolve.vary import mutate_constant
from lossml.program import Node, parse
from lossml.program.grammar import classification_grammar

BLOATED = "-sum_C(y*(logp*exp(0.0001*p) + 0.0001*p*p - 0.0001*p^2))*3 + 2*sum_C(p) - log(exp(2)) + mean_C(tanh(y)*y)"
LOSSES = (BLOATED, "focal", "label-smoothing", "gce", "ngl", "sce", "asl")
SEEDS = (0, 1)
STRUCTURES = (
    ("focal(gamma=2.7)", "-y*(1 - p)^0.6*logp"),
    ("gce(q=0.35)", "-y*p^1.1"),
    ("ngl", "exp(-p*(0.3 + y))"),
    ("sce", "y*(-3*p - 2*logp)"),
    ("focal(gamma=0.7)", "y*(p - 3)*logp"),
)
STEPS = (3, 6, 12)
GRAMMAR = classification_grammar()


def shortened(what: str) -> dict[str, object]:
    target = read_target(what)
    blind = Target(what, target.gradient)
    return {"loss": what, "nodes": target.program.size, "program": runs(target), "black_box": runs(blind)}


def runs(target: Target) -> dict[str, object]:
    found, seconds = [], []
    for seed in SEEDS:
        began = process_time()
        found.append(distill(target, limits=Limits(), seed=seed))
        seconds.append(process_time() - began)
    best = [one.shortest for one in found if one.shortest]
    return {
        "sizes": [one.shortest.size if one.shortest else None for one in found],
        "formula": min(best, key=lambda f: (f.size, f.disagreement)).formula if best else None,
        "processor_seconds": [round(s, 1) for s in seconds],
        "programs_per_second": round(statistics.median(f.evaluated / s for f, s in zip(found, seconds, strict=True))),
    }


def reached(program: Node, points: Points) -> float:
    return float(disagreement(judge([program], points).rows, points)[0])


def by_sampler(program: Node, points: Points, evaluations: int, seed: int) -> float:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    start = constants(program)
    for _ in range(evaluations):
        trial = study.ask()
        values = [x * 2.0 ** trial.suggest_float(f"c{k}", -4, 4) for k, x in enumerate(start)]
        try:
            study.tell(trial, reached(with_constants(program, values), points))
        except ProgramError:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    done = [t.value for t in study.trials if t.value is not None]
    return min([reached(program, points), *done])


def by_jitter(program: Node, points: Points, evaluations: int, seed: int) -> float:
    rng, best, value = random.Random(seed), program, reached(program, points)  # noqa: S311 - reproducible
    for _ in range(evaluations):
        child = mutate_constant(rng, GRAMMAR, best)
        if child is not None and (found := reached(child, points)) < value:
            best, value = child, found
    return value


def fits() -> list[dict[str, object]]:
    rows = []
    for target, text in STRUCTURES:
        points, program = search_points(read_target(target), 10), parse(text)
        floor = min(reached(p, points) for p in fitted([program], points, 120))
        copies = 2 * max(FEWEST, 1 + len(constants(program)))
        for steps in STEPS:
            began = process_time()
            own = [reached(p, points) for p in fitted([program], points, steps)]
            middle = process_time()
            sampler = [by_sampler(program, points, steps * copies, seed) for seed in SEEDS]
            rows.append(
                {
                    "target": target,
                    "structure": text,
                    "evaluations": steps * copies,
                    "start": reached(program, points),
                    "floor": floor,
                    "levenberg_marquardt": min([reached(program, points), *own]),
                    "sampler": statistics.median(sampler),
                    "jitter": statistics.median(by_jitter(program, points, steps * copies, s) for s in SEEDS),
                    "seconds": round(middle - began, 3),
                    "sampler_seconds": round((process_time() - middle) / len(SEEDS), 3),
                }
            )
    return rows


def main() -> None:
    found = {"tolerance": Limits().tolerance, "seeds": SEEDS, "constants": fits()}
    losses = []
    for what in LOSSES:
        losses.append(shortened(what))
        print(losses[-1])
    common.write("distill", "python benchmarks/distill.py", {**found, "losses": losses})


if __name__ == "__main__":
    main()
