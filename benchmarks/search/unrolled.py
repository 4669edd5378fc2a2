"""Constants by the gradient of the validation error through some unrolled steps of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from parts import constants
from torch import Tensor
from torch.nn import functional

from lossml.backend import gradient_scale
from lossml.backend.interpret import Inputs, evaluate, reduce
from lossml.backend.weighting import Weights
from lossml.program import Node
from lossml.proxy import Task

STEPS, TRACED = 48, 16  # of a training: how many there are, and through how many of the last the gradient goes
UPDATES, PACE = 6, 0.15  # of the constants' logarithms, by Adam
FIRST, SECOND, SMALL = 0.9, 0.999, 1e-8  # Adam's own
UNWEIGHTED = Weights(None, None, None)

Parameters = Sequence[Tensor]


@dataclass(eq=False)
class Descent:
    """Adam on tensors that remember how they came about."""

    parameters: Parameters
    first: Parameters
    second: Parameters
    count: int = 0

    def step(self, slopes: Sequence[Tensor], rate: float) -> None:
        self.count += 1
        self.first = [FIRST * m + (1 - FIRST) * g for m, g in zip(self.first, slopes, strict=True)]
        self.second = [SECOND * v + (1 - SECOND) * g * g for v, g in zip(self.second, slopes, strict=True)]
        low, high = 1 - FIRST**self.count, 1 - SECOND**self.count
        moved = zip(self.parameters, self.first, self.second, strict=True)
        self.parameters = [p - rate * (m / low) / ((v / high + SMALL**2).sqrt() + SMALL) for p, m, v in moved]

    def forget(self) -> None:
        self.parameters = [p.detach().requires_grad_() for p in self.parameters]
        self.first, self.second = ([t.detach() for t in some] for some in (self.first, self.second))


def logits(parameters: Parameters, x: Tensor) -> Tensor:
    """Run the tasks' network: one hidden layer."""
    w, b, v, c = parameters
    return functional.linear(functional.relu(functional.linear(x, w, b)), v, c)


def loss(program: Node, known: Mapping[Node, Tensor], out: Tensor, target: Tensor, prior: Tensor) -> Tensor:
    """Give a program's loss with constants that are tensors."""
    y = functional.one_hot(target, out.shape[-1]).to(out)[..., None]
    value = evaluate(program, Inputs(out[..., None], y, UNWEIGHTED, prior), dict(known))
    return reduce(value, program.type.axes, UNWEIGHTED, "mean")


def validation_error(task: Task, program: Node, values: Tensor, seed: int) -> Tensor:
    """Train for some steps; give the mean of 1 - p of the true class, which knows its slope in the constants."""
    known, prior = dict(zip(constants(program), values, strict=True)), torch.tensor(task.prior)
    scale = float(gradient_scale([program], task.classes, prior=task.prior)[0])
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    fresh = list(task.network().parameters())
    descent = Descent(fresh, [torch.zeros_like(p) for p in fresh], [torch.zeros_like(p) for p in fresh])
    for step in range(STEPS):
        index = torch.randint(len(task.train), (task.batch_size,), generator=generator)
        out = logits(descent.parameters, task.train.inputs[index])
        value = scale * loss(program, known, out, task.train.targets[index], prior)
        traced = step >= STEPS - TRACED
        descent.step(torch.autograd.grad(value, descent.parameters, create_graph=traced), task.learning_rate)
        if not traced:
            descent.forget()
    right = logits(descent.parameters, task.validation.inputs).softmax(-1)
    return 1.0 - right.gather(-1, task.validation.targets[:, None]).mean()


class Tuner:
    """Tunes constants on a task, each program once for a seed."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.tune = lru_cache(maxsize=None)(self._tune)

    def _tune(self, program: Node, seed: int) -> list[float]:
        first = torch.tensor([one.value for one in constants(program)])
        signs, logarithms = first.sign(), first.abs().log().requires_grad_()
        optimizer = torch.optim.Adam([logarithms], lr=PACE)
        for k in range(UPDATES):
            optimizer.zero_grad()
            error = validation_error(self._task, program, signs * logarithms.exp(), 1000 * seed + k)
            (slope,) = torch.autograd.grad(error, logarithms, allow_unused=True)
            if slope is None or not bool(slope.isfinite().all()):
                break
            logarithms.grad = slope
            optimizer.step()
        return [float(v) for v in signs * logarithms.detach().exp()]
