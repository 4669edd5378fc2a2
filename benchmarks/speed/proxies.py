"""How fast proxies train and programs are screened, as ratios within one run.

    LOSSML_DATA=... python benchmarks/speed/proxies.py

Losses are random programs that pass the screens, as a search trains them; seconds are processor seconds of one thread,
but for the two workers, which are on the clock. Each ratio is the median of three rounds, its parts measured in turn.
The targets: 64 digits networks at 8 times the steps of one after another, 16 at 4 times; two workers at 1.8 times one;
bfloat16 at 2.3 times float32 where it is native; losses under 5% of a step with masks of 21 classes; 20,000 programs
screened a minute.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic, process_time

import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parent.parent))

import common

from lossml import zoo
from lossml.backend import ProgramLoss, gradient_scale, make_probe, screen, stack
from lossml.backend.machine import make_machine
from lossml.program import Node
from lossml.program.grammar import classification_grammar, generate
from lossml.proxy import Run, Task, TaskSpec, Trainer, load_task
from lossml.proxy.networks import EncoderDecoder, StridedConv
from lossml.proxy.tasks import has_fast_bfloat16
from lossml.proxy.train import advance

ROUNDS, PROGRAMS = 3, 2000
MASKS = ("ce", "dice+ce", "focal", "tversky")


def seconds(work: Callable[[], object], clock: Callable[[], float] = process_time) -> float:
    began = clock()
    work()
    return clock() - began


def passing(count: int) -> list[Node]:
    """Generate random programs until so many pass the screens."""
    rng, found = random.Random(1), []  # noqa: S311 - reproducible, nothing secret
    while len(found) < count:
        some = [generate(rng, classification_grammar()) for _ in range(400)]
        found += [one.program for one in screen(some, make_probe(10)) if one.rejection is None]
    return found[:count]


def runs(programs: list[Node]) -> list[Run]:
    scales = gradient_scale(programs, 10)
    return [Run(ProgramLoss(p, scale=float(s)), 1.0, k) for k, (p, s) in enumerate(zip(programs, scales, strict=True))]


def together(task: Task, programs: list[Node], count: int) -> dict[str, float]:
    """Train networks to 1/16 one after another and as one batch."""
    given = runs(programs[:count])
    steps = count * task.steps / 16
    rows = []
    for _ in range(ROUNDS):
        alone = seconds(lambda: [advance(task, stack, [one], [None], 0, 1) for one in given])
        rows.append((alone, seconds(lambda: advance(task, stack, given, [None] * count, 0, 1))))
    return {
        "networks": count,
        "steps_per_second_alone": round(steps / median(a for a, _ in rows)),
        "steps_per_second_together": round(steps / median(b for _, b in rows)),
        "ratio": round(median(a / b for a, b in rows), 1),
    }


def share(task: Task, programs: list[Node]) -> float:
    """Give the part of a training step that goes into values and gradients of the losses."""
    given = runs(programs)
    whole = seconds(lambda: advance(task, stack, given, [None] * len(given), 0, 1)) / (task.steps / 16)
    machine = make_machine([ProgramLoss(program).for_classes for program in programs])
    logits = torch.randn(len(programs), task.batch_size, task.classes)
    target = torch.randint(0, task.classes, logits.shape[:2])
    alone = seconds(lambda: [machine.run(logits, target, None, 0.5) for _ in range(20)]) / 20
    return round(alone / whole, 3)


def masks(losses: list[Callable[[Tensor, Tensor], Tensor]]) -> float:
    """Give the part that losses have in a step of the network for masks, 8 of 21 classes and 128 by 128 pixels."""
    torch.manual_seed(0)
    images, target = torch.randint(0, 255, (8, 3, 128, 128), dtype=torch.uint8), torch.randint(0, 21, (8, 128, 128))
    network, rows = EncoderDecoder(3, 21), []
    logits = network(images).detach().requires_grad_()
    for loss in losses:

        def step(loss: Callable[[Tensor, Tensor], Tensor] = loss) -> None:
            loss(network(images), target).backward()

        def alone(loss: Callable[[Tensor, Tensor], Tensor] = loss) -> None:
            torch.autograd.grad(loss(logits, target), logits)

        step()
        whole = seconds(lambda step=step: [step() for _ in range(ROUNDS)])
        rows.append(seconds(lambda alone=alone: [alone() for _ in range(ROUNDS)]) / whole)
    return round(median(rows), 3)


def stacked(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Give a loss as a search trains with it."""
    loss = stack([ProgramLoss(zoo.program_of(name))])
    return lambda logits, target: loss(logits.unsqueeze(0), target.unsqueeze(0)).sum()


class Plain(StridedConv):
    """The CIFAR-10 network with images and features channels first."""

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images.contiguous().float() / 127.5 - 1.0).flatten(1))


def precision() -> float:
    """Give how many times the steps of plain float32 a CIFAR-10 network does in bfloat16, channels last."""
    task, given = load_task(TaskSpec("cifar10")), runs(passing(1))
    ways = (replace(task, bfloat16=False, network=partial(Plain, 3, 32, 10)), replace(task, bfloat16=True))
    rows = [[seconds(partial(advance, way, stack, given, [None], 0, 1)) for way in ways] for _ in range(ROUNDS)]
    return round(median(a / b for a, b in rows), 2)


def workers(count: int) -> float:
    """Give seconds on the clock for 8 CIFAR-10 networks to 1/16 with so many workers."""
    with Trainer(TaskSpec("cifar10"), stack, device="cpu", workers=count) as trainer:
        given = runs(passing(8))
        trainer.advance(given[:2], [None] * 2, 0, 1)
        return seconds(lambda: trainer.advance(given, [None] * 8, 0, 1), monotonic)


def main() -> None:
    torch.set_num_threads(1)
    programs, digits = passing(64), load_task(TaskSpec("digits"))
    advance(digits, stack, runs(programs[:2]), [None] * 2, 0, 1)  # compiles what is compiled
    rng = random.Random(2)  # noqa: S311 - the same
    fresh = [generate(rng, classification_grammar()) for _ in range(PROGRAMS)]
    pairs = [(workers(1), workers(2)) for _ in range(ROUNDS)]
    result = {
        "digits": [together(digits, programs, count) for count in (4, 16, 64)],
        "loss_share_digits_64": share(digits, programs),
        "loss_share_cifar10": share(load_task(TaskSpec("cifar10")), programs[:1]),
        "cifar10_two_workers": round(median(one / two for one, two in pairs), 2),
        "bfloat16_is_native": has_fast_bfloat16(),
        "bfloat16_ratio": precision() if has_fast_bfloat16() else None,
        "loss_share_masks": masks([stacked(name) for name in MASKS]),
        "loss_share_masks_of_torch": masks([nn.CrossEntropyLoss()]),
        "screened_per_minute": round(60 * PROGRAMS / seconds(lambda: screen(fresh, make_probe(10)))),
    }
    common.write("speed_proxies", "python benchmarks/speed/proxies.py", result)
    print(result)


if __name__ == "__main__":
    main()
