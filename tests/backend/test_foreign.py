"""Losses that are no programs train beside programs, with the same conventions."""

import pickle

import pytest
import torch

from lossml import zoo
from lossml.backend import ForeignLoss, ProgramLoss, foreign_scale, stack

LOVASZ = zoo.FOREIGN["lovasz"]


def lovasz(probabilities, target, classes):
    """Compute the paper's algorithm 1 in plain numbers: the Lovász extension of the Jaccard loss, class by class."""
    total = []
    for c in range(classes):
        inside = [t == c for t in target]
        if not any(inside):
            continue
        errors = [1 - p[c] if here else p[c] for p, here in zip(probabilities, inside, strict=True)]
        order = sorted(range(len(errors)), key=lambda k: -errors[k])
        before = loss = 0.0
        missed = added = 0
        for k in order:
            missed, added = missed + inside[k], added + (not inside[k])
            now = 1 - (sum(inside) - missed) / (sum(inside) + added)
            loss, before = loss + errors[k] * (now - before), now
        total.append(loss)
    return sum(total) / len(total)


def test_lovasz_is_the_papers():
    """On every pixel that counts, of the whole batch together, times the scale."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 2, 5, generator=generator)
    target = torch.randint(0, 4, (3, 2, 5), generator=generator)
    target[1, 0] = -100
    counts = target != -100
    expected = lovasz(logits.softmax(1).movedim(1, -1)[counts].tolist(), target[counts].tolist(), 4)
    assert float(ForeignLoss(LOVASZ, 2.0)(logits, target)) == pytest.approx(2 * expected, rel=1e-5)


def test_a_batch_without_a_pixel_that_counts_has_no_loss():
    """It is zero and has a gradient, so that training goes on."""
    logits = torch.randn(2, 3, 4, requires_grad=True)
    loss = ForeignLoss(LOVASZ)(logits, torch.full((2, 4), -100))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def test_programs_and_others_are_stacked():
    """Each network gets its own loss, also after the stack has travelled to a worker."""
    logits, target = torch.randn(2, 4, 3, 6, 6), torch.randint(0, 3, (2, 4, 6, 6))
    losses = [ForeignLoss(LOVASZ), ProgramLoss("-sum_C(y*logp)*t")]
    together = pickle.loads(pickle.dumps(stack(losses)))
    together.set_progress(0.5)
    found = together(logits, target)
    assert found[0] == pytest.approx(float(losses[0](logits[0], target[0])))
    assert found[1] == pytest.approx(0.5 * float(torch.nn.functional.cross_entropy(logits[1], target[1])), rel=1e-5)


def test_its_scale_gives_it_cross_entropys_gradient():
    """The overlap's gradient is some times smaller than cross-entropy's at the start."""
    assert 4.0 < foreign_scale(LOVASZ, 11, 3072) < 20.0
    assert 1.0 < foreign_scale(LOVASZ, 10) < 20.0


def test_its_name_is_that_of_a_contender():
    """A program's name gives its program, this one's what it is."""
    assert zoo.contender("lovasz") is LOVASZ
    assert zoo.contender("focal(gamma=3)") == zoo.program_of("focal(gamma=3)")
