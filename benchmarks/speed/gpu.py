"""What one GPU does: many small networks at once, losses on the device, and a large network candidate after candidate.

    LOSSML_DATA=... python benchmarks/speed/gpu.py [PART...]

Parts: "together", "losses", "large". Losses are random programs that pass the screens, as a search trains them; seconds
are on the clock, the device waited for, and each ratio is the median of rounds whose parts were measured in turn.
The targets: 256 small networks at 20 times the steps of one after another; 10,000 candidates an hour with two epochs
each on the large network.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common
from proxies import passing, runs

from lossml.backend import ProgramLoss, stack
from lossml.program import Node
from lossml.proxy import Run, Task, TaskSpec, load_task
from lossml.proxy.networks import MatrixConv, StridedConv
from lossml.proxy.train import SIXTEENTHS, advance, evaluate
from lossml.proxy.trainer import on_device

ROUNDS, COUNTS, SEEDS, CANDIDATES = 3, (16, 64, 256), 5, 32
CROSS_ENTROPY = "-sum_C(y*logp)"


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    began = monotonic()
    work()
    torch.cuda.synchronize()
    return monotonic() - began


def train(task: Task, given: list[Run], stop: int = 1) -> object:
    return advance(task, stack, given, [None] * len(given), 0, stop)


def together(task: Task, programs: list[Node], count: int, alone: int = 16) -> dict[str, object]:
    """Train small networks to 1/16 as one batch; beside it fewer one after another, by graphs and by operations."""
    given = runs(programs[:count])
    steps = task.steps / SIXTEENTHS
    ways = {
        "alone": partial(StridedConv, 3, 32, 10),
        "together": partial(MatrixConv, 3, 32, 10),
    }
    tasks = {name: replace(task, network=network) for name, network in ways.items()}
    train(tasks["alone"], given[:1])
    train(tasks["together"], given)
    rows = []
    for _ in range(ROUNDS):
        one = seconds(lambda: [train(tasks["alone"], [run]) for run in given[:alone]]) / alone
        rows.append((one, seconds(lambda: train(tasks["together"], given)) / count))
    return {
        "networks": count,
        "steps_per_second_alone": round(steps / median(a for a, _ in rows)),
        "steps_per_second_together": round(steps / median(b for _, b in rows)),
        "ratio": round(median(a / b for a, b in rows), 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
    }


def losses(programs: list[Node], samples: int, classes: int, way: str) -> float:
    """Give milliseconds for value and gradient of all programs, by the machine or by tensor operations."""
    loss = stack([ProgramLoss(program) for program in programs]).cuda()
    logits = torch.randn(len(programs), samples, classes, device="cuda", requires_grad=True)
    target = torch.randint(0, classes, (len(programs), samples), device="cuda")

    def once() -> None:
        value = loss(logits, target) if way == "machine" else loss.on_tensors(logits.unsqueeze(-1), target)
        torch.autograd.grad(value.sum(), logits)

    for _ in range(3):
        once()
    return round(1000 * median(seconds(lambda: [once() for _ in range(10)]) / 10 for _ in range(ROUNDS)), 3)


def large(task: Task) -> dict[str, object]:
    """Train candidates for two epochs one after another, and cross-entropy to the end on a few seeds."""
    programs = passing(CANDIDATES)
    epoch = len(task.train) // task.batch_size
    two = SIXTEENTHS * 2 * epoch // task.steps
    train(task, runs(programs[:1]))
    found = seconds(lambda: [train(task, [run], two) for run in runs(programs)]) / CANDIDATES
    given = [Run(ProgramLoss(CROSS_ENTROPY), 1.0, seed) for seed in range(SEEDS)]
    ended: list[object] = []
    full = seconds(lambda: ended.extend(train(task, [run], SIXTEENTHS)[0] for run in given)) / SEEDS
    scores = [evaluate(task, [one.state], "heldout")[0].score.accuracy for one in ended]
    return {
        "parameters": sum(p.numel() for p in task.network().parameters()),
        "epochs": task.steps / epoch,
        "two_epochs_seconds": round(found, 3),
        "two_epoch_candidates_an_hour": round(3600 / found),
        "full_training_seconds": round(full, 2),
        "heldout_accuracy_of_cross_entropy": [round(score, 4) for score in scores],
    }


def main() -> None:
    parts = sys.argv[1:] or ["together", "losses", "large"]
    result: dict[str, object] = {}
    if "together" in parts:
        small = on_device(load_task(TaskSpec("cifar10", network="small"), "cuda"), "cuda")
        programs = passing(max(COUNTS))
        result["small_networks"] = [together(small, programs, count) for count in COUNTS]
        print(result, flush=True)
    if "losses" in parts:
        programs = passing(256)
        result["losses_milliseconds"] = [
            {"programs": count, "samples": samples, "classes": classes}
            | {way: losses(programs[:count], samples, classes, way) for way in ("machine", "tensors")}
            for count, samples, classes in ((1, 500, 10), (256, 128, 10), (64, 128, 100))
        ]
        print(result, flush=True)
    if "large" in parts:
        result["large_network"] = large(on_device(load_task(TaskSpec("cifar10"), "cuda"), "cuda"))
    common.write("speed_gpu", f"python benchmarks/speed/gpu.py {' '.join(sys.argv[1:])}".strip(), result, gpu=True)
    print(result)


if __name__ == "__main__":
    main()
