"""A random program means the same in the interpreter, the batch, the stack and the export."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lossml.backend import ProgramLoss, stack, torch_source
from lossml.program import show
from lossml.program.grammar import classification_grammar, generate, segmentation_grammar

TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-10}
SHAPES = {"classification": (classification_grammar, (6, 5)), "segmentation": (segmentation_grammar, (3, 4, 3, 2))}


def programs(kind, seed, count):
    rng, grammar = random.Random(seed), SHAPES[kind][0]()
    return [generate(rng, grammar) for _ in range(count)]


def batch(shape, count, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, *shape, generator=generator, dtype=dtype).requires_grad_()
    return logits, torch.randint(0, shape[1], (count, shape[0], *shape[2:]), generator=generator)


def value_and_gradient(losses, logits):
    if not losses.requires_grad:
        return losses, torch.zeros_like(logits)
    return losses, torch.autograd.grad(losses.sum(), logits, materialize_grads=True, allow_unused=True)[0]


def alone(losses, logits, target):
    return value_and_gradient(torch.stack([loss(logits[k], target[k]) for k, loss in enumerate(losses)]), logits)


def well_conditioned(losses, logits, target):
    """Say of each loss whether float32 gives about its float64 gradient: only then do digits mean anything."""
    exact, rough = (
        alone(losses, logits.detach().to(dtype).requires_grad_(), target)[1] for dtype in (torch.float64, torch.float32)
    )
    error = (rough - exact).abs().flatten(1).amax(1)
    return (error <= 1e-3 * exact.abs().flatten(1).amax(1).clamp(1e-3, 1e6)).tolist()


def assert_same(ours, theirs, losses, logits, target):
    """Values and gradients agree for each loss whose digits mean anything, which is nearly every one."""
    judged = well_conditioned(losses, logits, target)
    tolerance = TOLERANCE[logits.dtype]
    assert sum(judged) >= 0.7 * len(losses)
    for k, loss in enumerate(losses):
        if judged[k]:
            for mine, other in zip(ours, theirs, strict=True):
                size = max(1.0, float(other[k].detach().abs().max()))
                torch.testing.assert_close(
                    mine[k], other[k], rtol=0.0, atol=tolerance * size, msg=lambda m, n=loss.program: f"{show(n)}\n{m}"
                )


@pytest.mark.parametrize("kind", SHAPES)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_the_stack_equals_the_interpreter(kind, seed):
    """Forty random programs evaluated together give each one's own value and gradient."""
    losses = [ProgramLoss(p) for p in programs(kind, seed, 40)]
    logits, target = batch(SHAPES[kind][1], len(losses), seed, torch.float64)
    together = value_and_gradient(stack(losses)(logits, target), logits)
    assert_same(together, alone(losses, logits, target), losses, logits, target)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_export_equals_the_interpreter(kind, dtype):
    """The generated source of random programs gives their values and gradients."""
    losses = [ProgramLoss(p, scale=0.5) for p in programs(kind, 7, 60)]
    exported = [compiled(torch_source(loss.program, header="One of many.", scale=0.5)) for loss in losses]
    logits, target = batch(SHAPES[kind][1], len(losses), 7, dtype)
    assert_same(alone(exported, logits, target), alone(losses, logits, target), losses, logits, target)


def compiled(source):
    names = {"__name__": "exported"}
    exec(compile(source, "exported", "exec"), names)  # noqa: S102  an export is code, and its meaning is the subject
    return names["Loss"]()


def test_half_precision_logits_are_computed_in_float32():
    """Under half precision a random program's value is that of the same logits in float32."""
    losses = [ProgramLoss(p) for p in programs("classification", 3, 40)]
    logits, target = batch((6, 5), len(losses), 3, torch.float32)
    halves = logits.detach().to(torch.bfloat16)
    for k, loss in enumerate(losses):
        assert torch.equal(loss(halves[k], target[k]).nan_to_num(), loss(halves[k].float(), target[k]).nan_to_num())
