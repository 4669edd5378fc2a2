"""What a full proxy training costs and reaches, and what training many digits networks at once saves.

    LOSSML_DATA=... python benchmarks/proxy_cost.py

Seconds are of one core: everything runs in this process with one thread.
"""

from time import process_time

import common
import torch

from lossml import zoo
from lossml.backend import ProgramLoss, gradient_scale, stack
from lossml.proxy import Run, TaskSpec, load_task
from lossml.proxy.train import advance

NAMES = [name for name, entry in zoo.ENTRIES.items() if entry.kind == "classification" and name != "logit-adjustment"]


def runs(count: int) -> list[Run]:
    programs = [zoo.program_of(NAMES[k % len(NAMES)]) for k in range(count)]
    scales = gradient_scale(programs, 10)
    return [Run(ProgramLoss(p, scale=float(s)), 1.0, 0) for p, s in zip(programs, scales, strict=True)]


def full(name: str) -> dict[str, float]:
    task = load_task(TaskSpec(name))
    began = process_time()
    (outcome,) = advance(task, stack, runs(1), [None], 0, 16)
    return {"seconds": round(process_time() - began, 2), "validation_accuracy": outcome.score.accuracy}


def together(count: int) -> dict[str, float]:
    """Train `count` different losses to 1/16, one after another and as one batch."""
    task = load_task(TaskSpec("digits"))
    began = process_time()
    for run in runs(count):
        advance(task, stack, [run], [None], 0, 1)
    alone = process_time() - began
    began = process_time()
    advance(task, stack, runs(count), [None] * count, 0, 1)
    batched = process_time() - began
    return {
        "networks": count,
        "alone": round(alone, 2),
        "batched": round(batched, 2),
        "ratio": round(alone / batched, 1),
    }


def main() -> None:
    torch.set_num_threads(1)
    advance(load_task(TaskSpec("digits")), stack, runs(1), [None], 0, 1)  # warm up
    tasks = {name: full(name) for name in ("digits", "fashion-mnist", "cifar10")}
    result = {"seed": 0, "tasks": tasks, "digits_batched": [together(k) for k in (4, 16, 64)]}
    common.write("proxy_cost", "python benchmarks/proxy_cost.py", result)
    print(result)


if __name__ == "__main__":
    main()
