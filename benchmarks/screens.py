"""Do the screens reject what cannot train, and nothing that can? 1,000 random programs, each trained all the same.

    python benchmarks/screens.py [PROGRAMS]

Every program of the classification grammar whose loss is not a duplicate is trained on digits to full
fidelity, with its gradient scaled as in a search, whatever the screens say of it. "At chance" is an accuracy
on the search-validation split within three standard errors of 1/10; "trains" is at least half way from
chance to cross-entropy's. The targets: at least 99% of those at chance are rejected, under 1% of those
that train.
"""

import random
import sys
from collections import Counter
from time import process_time

import common
import torch

from lossml.backend import ProgramLoss, Rejection, gradient_scale, make_probe, screen, stack
from lossml.program import parse, show
from lossml.program.grammar import classification_grammar, generate
from lossml.proxy import Run, TaskSpec, Trainer

SEED = 20261124  # the thresholds were chosen on programs of seed 1


def programs(count: int) -> list:
    rng, grammar = random.Random(SEED), classification_grammar()  # noqa: S311 - reproducible, nothing secret
    return [generate(rng, grammar) for _ in range(count)]


def train(found: list, trainer: Trainer) -> list[float]:
    """Train each program; 0 where the weights do not stay finite, which is no better than chance."""
    scales = [float(s) for s in gradient_scale(found, trainer.facts.classes)]
    usable = [scale if 0 < scale < 1e30 else 1.0 for scale in scales]
    prior = torch.tensor(trainer.facts.prior)
    runs = [Run(ProgramLoss(p, scale=s, prior=prior), 1.0, 0) for p, s in zip(found, usable, strict=True)]
    outcomes = trainer.advance(runs, [None] * len(runs), 0, 16)
    return [outcome.score.accuracy if outcome.score else 0.0 for outcome in outcomes]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    began = process_time()
    screened = screen(programs(count), make_probe(10))
    seconds = process_time() - began
    judged = [s for s in screened if s.rejection is not Rejection.DUPLICATE]
    with Trainer(TaskSpec("digits"), stack) as trainer:
        accuracies = train([s.program for s in judged], trainer)
        (reference,) = train([parse("-sum_C(y*logp)")], trainer)
        samples = trainer.facts.sizes[1]
    chance = 0.1 + 3 * (0.1 * 0.9 / samples) ** 0.5
    half = (0.1 + reference) / 2
    rows = list(zip(judged, accuracies, strict=True))
    dead = [s for s, a in rows if a <= chance]
    live = [(s, a) for s, a in rows if a >= half]
    caught = sum(s.rejection is not None for s in dead)
    wrong = [(s, a) for s, a in live if s.rejection is not None]
    common.write(
        "screens",
        f"python benchmarks/screens.py {count}",
        {
            "seed": SEED,
            "programs": count,
            "duplicates": count - len(judged),
            "rejections": dict(Counter(s.rejection.name for s in screened if s.rejection).most_common()),
            "screened_per_cpu_second": round(count / seconds, 1),
            "cross_entropy_accuracy": reference,
            "at_chance": len(dead),
            "at_chance_rejected": caught,
            "at_chance_passed": [show(s.program) for s in dead if s.rejection is None],
            "between": len(rows) - len(dead) - len(live),
            "between_rejected": sum(s.rejection is not None for s, a in rows if chance < a < half),
            "training": len(live),
            "training_rejected": len(wrong),
            "rejected_by_mistake": [
                {"program": show(s.program), "accuracy": a, "rejection": s.rejection.name} for s, a in wrong
            ],
        },
    )
    print(f"at chance: {caught} of {len(dead)} rejected; training: {len(wrong)} of {len(live)} rejected by mistake")


if __name__ == "__main__":
    main()
