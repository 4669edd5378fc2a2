"""Probe points: fixed logits and labels at which programs are compared and screened."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from lossml.backend import runtime
from lossml.backend.batch import Schedule, run, schedule
from lossml.backend.interpret import Inputs
from lossml.backend.machine import make_machine
from lossml.backend.weighting import weights_of
from lossml.program import Node, operations, parse

CHUNK = 2_000_000  # logits evaluated at once: bounds memory, not results
IMAGES, PIXELS = 16, 64  # of a probe with a pixel axis
VOID = 0.4  # share of void pixels in its last image
SPREADS = (0.1, 1.0, 2.0, 4.0)  # from a fresh network to a confident one
MOMENTS = (0.0, 0.3, 0.7, 1.0)  # training progress at which programs that read t are looked at
CROSS_ENTROPY = parse("-sum_C(y*logp)")


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Points at which a program's logit gradient is taken.

    Attributes:
        logits: (B, C, N), float64.
        target: class numbers (B, N).
        prior: class shares (C,), not uniform, so that a program that reads pi shows it.
        mask: 1 where a pixel counts and 0 where it is void, (B, 1, N); None where all count.
    """

    logits: Tensor
    target: Tensor
    prior: Tensor
    mask: Tensor | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.logits.shape[1]

    @property
    def pixels(self) -> int:
        """Number of pixels of a sample."""
        return self.logits.shape[2]


def samples_for(classes: int, pixels: int = 1) -> int:
    """Choose how many probe samples to take: every class and every spread is met, memory is bounded."""
    return IMAGES if pixels > 1 else max(16, min(64, 4096 // classes))


def make_probe(classes: int, pixels: int = 1, spreads: tuple[float, ...] = SPREADS) -> Probe:
    """Make the probe for a number of classes; the same everywhere, for ever.

    Args:
        classes: number of classes.
        pixels: of a sample. More than one makes images with void pixels, so that what adds up over the pixels, the
            images or the batch, and what averages, are told apart; more than PIXELS would show nothing new.
        spreads: of the logits, one a sample in turn.
    """
    return _made(classes, min(pixels, PIXELS), spreads)


@lru_cache(maxsize=32)
def _made(classes: int, pixels: int, spreads: tuple[float, ...]) -> Probe:
    generator = torch.Generator().manual_seed(20240419)
    count = samples_for(classes, pixels)
    spread = torch.tensor(spreads, dtype=torch.float64).repeat(count // len(spreads) + 1)[:count]
    logits = torch.randn(count, classes, pixels, generator=generator, dtype=torch.float64) * spread.view(-1, 1, 1)
    target = torch.randint(0, classes, (count, pixels), generator=generator)
    prior = torch.arange(1, classes + 1, dtype=torch.float64)
    prior /= prior.sum()
    if pixels == 1:
        return Probe(logits, target, prior)
    return Probe(logits, target, prior, _voids(count, pixels, generator))


def _voids(count: int, pixels: int, generator: torch.Generator) -> Tensor:
    """Leave pixels out, more in some images than in others."""
    share = torch.linspace(0.0, VOID, count, dtype=torch.float64).view(-1, 1, 1)
    return (torch.rand(count, 1, pixels, generator=generator, dtype=torch.float64) >= share).double()


def logit_gradients(programs: Sequence[Node], logits: Tensor, probe: Probe) -> Tensor:
    """Take each program's gradient of the loss summed over samples.

    A program that reads t is another loss at every moment of training. Each sample shows it at one of
    MOMENTS, so that the result has one shape for all and what does not depend on t is not repeated.

    Args:
        programs: K programs.
        logits: (B, C, N) shared by all, or (K, B, C, N).
        probe: labels and prior.

    Returns:
        Gradients (K, B, C, N); about 1 per sample for cross-entropy at a wrong answer.
    """
    every = logits.expand(len(programs), *logits.shape[-3:])
    found = _at(programs, every, probe, MOMENTS[0])
    changing = [k for k, program in enumerate(programs) if "t" in operations(program)]
    if not changing:
        return found
    place = moments_of(logits.shape[-3])
    for moment in range(1, len(MOMENTS)):
        here = (place == moment).nonzero().squeeze(1)
        later = _at([programs[k] for k in changing], every[changing], probe, MOMENTS[moment])
        found[torch.tensor(changing).unsqueeze(1), here] = later[:, here]
    return found


def moments_of(samples: int) -> Tensor:
    """Return which of MOMENTS each sample shows, (B,): every one with every spread."""
    return torch.arange(samples) // len(SPREADS) % len(MOMENTS)


def _at(programs: Sequence[Node], logits: Tensor, probe: Probe, progress: float) -> Tensor:
    """Take gradients on logits (K, B, C, N) at one moment of training."""
    parts = [
        _gradients(programs[part], logits[part], probe, progress)
        for part in _chunks(len(programs), logits.shape[-3:].numel())
    ]
    return torch.cat(parts) if parts else logits.new_zeros(logits.shape)


def _chunks(count: int, numbers: int) -> Iterator[slice]:
    step = max(1, CHUNK // numbers)
    return (slice(start, start + step) for start in range(0, count, step))


def _gradients(programs: Sequence[Node], logits: Tensor, probe: Probe, progress: float) -> Tensor:
    machine = make_machine(programs) if probe.pixels == 1 and probe.mask is None else None
    if machine is None:
        return schedule_gradients(schedule(programs), logits, probe, progress)
    target = probe.target.squeeze(1).expand(len(programs), -1)
    _, gradients = machine.run(logits.squeeze(3), target, probe.prior, progress)
    return gradients.unsqueeze(3) * len(probe.target)


def schedule_gradients(plan: Schedule, logits: Tensor, probe: Probe, progress: float = 0.5) -> Tensor:
    """Take the gradients of K programs laid out before, at one moment of training; see `logit_gradients`."""
    leaf = logits.expand(plan.count, *logits.shape[-3:]).clone().requires_grad_()
    y, _ = runtime.one_hot(probe.target.expand(plan.count, *probe.target.shape), leaf, None)
    mask = None if probe.mask is None else probe.mask.expand(plan.count, *probe.mask.shape)
    losses = run(plan, Inputs(leaf, y, weights_of(y, mask, None), probe.prior, progress))
    if not losses.requires_grad:
        return torch.zeros_like(leaf)
    (gradient,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True, materialize_grads=True)
    return gradient * probe.target.numel()


def gradient_scale(
    programs: Sequence[Node], classes: int, pixels: int = 1, prior: Sequence[float] | None = None
) -> Tensor:
    """Return the factor (K,) that gives each program cross-entropy's gradient size at initialisation.

    The size is the root mean square of the logit gradient at the logits of a fresh network
    (spread 0.1), for a program that reads t over all of MOMENTS: a schedule may begin with nothing.
    A program without gradient there gets inf, one with an undefined gradient nan.

    A program that reads the prior treats classes differently, so its samples count as often as their
    classes occur. To all others the classes are alike, and every sample counts the same.

    Args:
        programs: K programs.
        classes: C.
        pixels: a sample has; the probe has as many, since a sum over them grows with their number.
        prior: class shares (C,); None for the probe's own.
    """
    probe = _made(classes, max(1, min(pixels, CHUNK // (IMAGES * classes))), (0.1,))
    if prior is not None:
        probe = replace(probe, prior=torch.tensor(prior, dtype=torch.float64))
    gradients = logit_gradients([CROSS_ENTROPY, *programs], probe.logits, probe)
    uneven = torch.tensor([False, *("pi" in operations(program) for program in programs)])
    share = probe.prior[probe.target].unsqueeze(1)
    often = gradients * (share / share.mean()).sqrt()
    sizes = torch.where(uneven, root_mean_square(often), root_mean_square(gradients))
    return sizes[0] / sizes[1:]


def root_mean_square(gradients: Tensor) -> Tensor:
    """Return the size (K,) of gradients (K, B, C, N); squares of large ones would overflow."""
    flat = gradients.flatten(1)
    largest = flat.abs().amax(1)
    unit = torch.where(largest > 0, largest, 1.0)
    return unit * (flat / unit.unsqueeze(1)).square().mean(1).sqrt()


def directions(programs: Sequence[Node], probe: Probe) -> Tensor:
    """Return each program's logit gradient on the probe with length 1, (K, D); zero for one without gradient."""
    return directions_of(logit_gradients(programs, probe.logits, probe))


def directions_of(gradients: Tensor) -> Tensor:
    """Return gradients (K, B, C, N) as vectors of length 1, (K, D)."""
    return nn.functional.normalize(gradients.flatten(1), dim=1)
