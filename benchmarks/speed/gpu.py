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
from types import SimpleNamespace

import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common
from proxies import passing, runs

from lossml.backend import ProgramLoss, stack
from lossml.program import Node
from lossml.proxy import Outcome, Run, Task, TaskSpec, Trainer, load_task, passes
from lossml.proxy.jobs import on_device
from lossml.proxy.networks import StridedConv
from lossml.proxy.train import SIXTEENTHS, advance

ROUNDS, COUNTS, SEEDS, CANDIDATES, ALONE = 3, (16, 256), 5, 32, 8
CROSS_ENTROPY = "-sum_C(y*logp)"


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    began = monotonic()
    work()
    torch.cuda.synchronize()
    return monotonic() - began


def train(task: Task, given: list[Run], stop: int = 1) -> object:
    return advance(task, stack, given, [None] * len(given), 0, stop)


def together(task: Task, programs: list[Node], count: int) -> dict[str, object]:
    """Train small networks to 1/16 as one batch; beside it fewer one after another, by graphs and by operations."""
    given = runs(programs[:count])
    alone = replace(task, network=partial(StridedConv, 3, 32, 10), compiled=0)
    ways: dict[str, Callable[[], object]] = {
        "alone by operations": lambda: by_operations(lambda: [train(alone, [run]) for run in given[:ALONE]]),
        "alone by graphs": lambda: [train(alone, [run]) for run in given[:ALONE]],
        "together": lambda: train(task, given),
    }
    for way in ways.values():
        way()
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    steps = {name: task.steps / SIXTEENTHS * (count if name == "together" else ALONE) for name in ways}
    speeds = {name: median(steps[name] / one[name] for one in rounds) for name in ways}
    return {
        "networks": count,
        "steps_per_second": {name: round(speed) for name, speed in speeds.items()},
        "ratio_to_operations": round(speeds["together"] / speeds["alone by operations"], 1),
        "ratio_to_graphs": round(speeds["together"] / speeds["alone by graphs"], 1),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
    }


def by_operations(work: Callable[[], object]) -> object:
    """Do work without graphs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_CAPTURED", SimpleNamespace(get=lambda *_: None))
        return work()


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


def large() -> dict[str, object]:
    """Train candidates for two epochs one after another as a search does, and cross-entropy to the end."""
    task = load_task(TaskSpec("cifar10"), "cuda")
    epoch, programs = len(task.train) // task.batch_size, passing(CANDIDATES)
    two = SIXTEENTHS * 2 * epoch // task.steps
    with Trainer(TaskSpec("cifar10"), stack, device="cuda") as trainer:
        first = seconds(lambda: trainer.advance(runs(programs[:1]), [None], 0, 1))
        found = seconds(lambda: trainer.advance(runs(programs), [None] * CANDIDATES, 0, two)) / CANDIDATES
        given = [Run(ProgramLoss(CROSS_ENTROPY), 1.0, seed) for seed in range(SEEDS)]
        ended: list[Outcome] = []
        full = seconds(lambda: ended.extend(trainer.advance(given, [None] * SEEDS, 0, SIXTEENTHS))) / SEEDS
        scores = [one.score.accuracy for one in trainer.evaluate([one.state for one in ended], "heldout")]
    return {
        "parameters": trainer.facts.parameters,
        "epochs": task.steps / epoch,
        "seconds_to_compile_and_record": round(first, 1),
        "two_epochs_seconds": round(found, 3),
        "two_epoch_candidates_an_hour": round(3600 / found),
        "full_training_seconds": round(full, 2),
        "validation_accuracy_of_cross_entropy": [round(one.score.accuracy, 4) for one in ended],
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
        result["large_network"] = large()
    common.write("speed_gpu", f"python benchmarks/speed/gpu.py {' '.join(sys.argv[1:])}".strip(), result, gpu=True)
    print(result)


if __name__ == "__main__":
    main()
