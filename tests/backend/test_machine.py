"""The compiled machine means what the tensors mean."""

import random

import numpy as np
import pytest
import torch
from tensors import KINKS, PRIOR, alike, on_tensors, points

from lossml import zoo
from lossml.backend import ProgramLoss, kernel, ops, runtime, stack, stages
from lossml.backend.batch import run, schedule
from lossml.backend.bytecode import assemble, fits
from lossml.backend.interpret import Inputs
from lossml.backend.machine import Machine, make_machine, serves, width_for
from lossml.backend.weighting import weights_of
from lossml.program import parse, show
from lossml.program.grammar import classification_grammar, generate, segmentation_grammar
from lossml.program.hard import hard_form
from lossml.program.primitives import OPERATIONS, TERMINALS


def random_programs(count: int, seed: int):
    rng, grammar = random.Random(seed), classification_grammar(prior=True, progress=True)
    return [generate(rng, grammar) for _ in range(count)]


@pytest.mark.parametrize("spread", [0.1, 2.0, 6.0])
def test_random_programs_have_the_same_value_and_gradient(spread):
    """On 600 random programs the machine agrees with the batched evaluator, at fresh, usual and confident logits.

    Left out are those that the last digit of the logits decides, on tensors alone: fewer than 3 of 100.
    """
    programs = random_programs(600, 11)
    logits, target = points(len(programs), torch.float64, spread)
    expected = on_tensors(programs, logits, target, 0.3)
    steady = alike(on_tensors(programs, logits * (1 + 1e-15), target, 0.3), expected, 1e-9)
    assert steady.double().mean() > 0.97
    ours = alike(make_machine(programs).run(logits, target, PRIOR, 0.3), expected, 1e-6)
    assert bool(ours[steady].all()), [show(programs[k]) for k in (steady & ~ours).nonzero().flatten().tolist()]


VOID = -100


def masks(count: int, dtype: torch.dtype, spread: float = 2.0, pixels: int = 900):
    """Logits (K, 3, 5, N) and masks (K, 3, N), with more void pixels in the second image and no others in the third."""
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(count, 3, 5, pixels, generator=generator, dtype=torch.float64).to(dtype) * spread
    target = torch.randint(0, 5, (count, 3, pixels), generator=generator)
    target[:, 0, :3], target[:, 1, ::3], target[:, 2] = VOID, VOID, VOID
    return logits, target


def masks_on_tensors(programs, logits, target, progress=0.3):
    leaf = logits.clone().requires_grad_()
    y, mask = runtime.one_hot(target, leaf, VOID)
    losses = run(schedule(programs), Inputs(leaf, y, weights_of(y, mask, None), PRIOR, progress))
    (gradient,) = torch.autograd.grad(losses.sum(), leaf, allow_unused=True, materialize_grads=True)
    return losses.detach(), gradient


def masks_on_machine(programs, logits, target):
    return make_machine(programs, masks=True, ignore_index=VOID).run(logits, target, PRIOR, 0.3)


@pytest.mark.parametrize("spread", [0.1, 2.0, 6.0])
def test_random_programs_have_the_same_value_and_gradient_on_masks(spread):
    """On random programs for masks, in several tiles and in one, the machine agrees with the batched evaluator.

    With void pixels, and an image that has no others. Left out is what the last digit of the logits decides.
    """
    rng, grammar = random.Random(12), segmentation_grammar(prior=True, progress=True)
    programs = [one for one in (generate(rng, grammar) for _ in range(150)) if fits(one, masks=True)]
    assert sum(len(stages.staged(assemble(one, masks=True))) > 0 for one in programs) > 20
    for pixels in (900, 40):
        logits, target = masks(len(programs), torch.float64, spread, pixels)
        expected = masks_on_tensors(programs, logits, target)
        steady = alike(masks_on_tensors(programs, logits * (1 + 1e-15), target), expected, 1e-9)
        assert steady.double().mean() > 0.95
        ours = alike(masks_on_machine(programs, logits, target), expected, 1e-6)
        assert bool(ours[steady].all()), [show(programs[k]) for k in (steady & ~ours).nonzero().flatten().tolist()]


@pytest.mark.parametrize(
    "text",
    [
        "p*mean_B(mean_X(y*p*mean_X(p*y)))",
        "(p - mean_X(p))^2*y/(1 + mean_X(z^2)) + mean_B(sum_X(y*p))*0.01",
        "sum_C(exp(mean_X(y*z)))*max_C(mean_X(p)) - y*logp*log(1 + mean_B(mean_X(max_C(z)))^2)",
        "mean_B(sum_X(p*y))*0.01*pi",
    ],
)
def test_sums_of_sums_take_several_passes(text):
    """What sums up what is computed from sums agrees with the tensors in value and gradient."""
    logits, target = masks(1, torch.float64)
    ours, theirs = (run([parse(text)], logits, target) for run in (masks_on_machine, masks_on_tensors))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [n for n, e in zoo.ENTRIES.items() if fits(zoo.program_of(n), masks=True)])
def test_published_losses_have_the_same_value_and_gradient_on_masks(name):
    """Every loss of the zoo agrees with the batched evaluator in single precision, channels first and last."""
    programs = [zoo.program_of(name)]
    logits, target = masks(1, torch.float32)
    expected = masks_on_tensors(programs, logits, target)
    for given in (logits, logits.movedim(2, 3).contiguous().movedim(3, 2)):
        losses, gradients = masks_on_machine(programs, given, target)
        torch.testing.assert_close(losses, expected[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradients, expected[1], rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("spread", [0.1, 4.0])
def test_hard_forms_have_the_same_value_and_gradient(spread):
    """A program as it is written for class numbers is, on the machine, the loss that it was, for samples and for masks.

    Left out is what is not finite: infinities times a y of zero are not written any more.
    """
    for grammar, of_masks in ((classification_grammar(prior=True), False), (segmentation_grammar(prior=True), True)):
        rng = random.Random(13)
        every = [generate(rng, grammar) for _ in range(200)]
        programs = [one for one in every if fits(one, masks=of_masks) and hard_form(one)]
        assert len(programs) > 50
        written = [hard_form(one) for one in programs]
        logits, target = (masks if of_masks else points)(len(programs), torch.float64, spread)
        ours = make_machine(written, masks=of_masks, ignore_index=VOID).run(logits, target, PRIOR, 1.0)
        on_all = masks_on_tensors if of_masks else on_tensors
        expected = on_all(programs, logits, target, 1.0)
        steady = alike(on_all(programs, logits * (1 + 1e-15), target, 1.0), expected, 1e-9)
        assert steady.double().mean() > 0.95
        steady &= expected[1].flatten(1).isfinite().all(1)
        fine = alike(ours, expected, 1e-6)
        assert bool(fine[steady].all()), [show(programs[k]) for k in (steady & ~fine).nonzero().flatten().tolist()]


def test_a_number_for_all_pixels_is_added_once():
    """What is one number for all pixels is added to the average, also where nothing counts."""
    programs = [parse("(2 - mean_B(sum_C(mean_X(y*p)))) - sum_C(y*logp)"), parse("-sum_C(y*logp) - 1/2")]
    assert all(sum(one.tiled for one in stages.staged(assemble(program, masks=True))) <= 2 for program in programs)
    logits, target = masks(2, torch.float64)
    for given in (target, torch.full_like(target, VOID)):
        torch.testing.assert_close(
            masks_on_machine(programs, logits, given), masks_on_tensors(programs, logits, given), rtol=1e-9, atol=1e-12
        )


def test_many_samples_are_taken_a_tile_at_a_time():
    """Classes of more samples than a tile holds agree with the tensors, sums over the batch among them."""
    programs = [parse("-sum_C(y*logp)"), parse("p*mean_B(y*p) + sum_B(y*z)*p*0.001")]
    generator = torch.Generator().manual_seed(7)
    logits = torch.randn(2, 1001, 5, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 5, (2, 1001), generator=generator)
    assert width_for(5) < 1001
    torch.testing.assert_close(
        make_machine(programs).run(logits, target, PRIOR, 0.3), on_tensors(programs, logits, target, 0.3)
    )


@pytest.mark.parametrize("name", [n for n, e in zoo.ENTRIES.items() if e.kind == "classification"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_published_losses_have_the_same_value_and_gradient(name, dtype):
    """Every loss of the zoo agrees with the batched evaluator in both precisions."""
    program = zoo.program_of(name)
    logits, target = points(3, dtype)
    losses, gradients = make_machine([program] * 3).run(logits, target, PRIOR, 0.3)
    expected, slopes = on_tensors([program] * 3, logits, target, 0.3)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(gradients, slopes, rtol=1e-4 if dtype == torch.float32 else 1e-7, atol=1e-6)


def test_confidently_wrong_answers_keep_their_gradient():
    """At logits of 100 on the wrong side cross-entropy's gradient is there, in float32."""
    logits = torch.full((1, 1, 5), -100.0)
    logits[..., 1] = 100.0
    losses, gradients = make_machine([parse("-sum_C(y*logp)")]).run(
        logits, torch.zeros(1, 1, dtype=torch.long), None, 0
    )
    assert losses.tolist() == [200.0]
    assert gradients[0, 0].tolist() == pytest.approx([-1, 1, 0, 0, 0])


@pytest.mark.parametrize("text", KINKS)
def test_ties_kinks_and_underflows_are_torchs(text):
    """Where arguments are equal, at a kink, and where p underflows to zero, slopes are what torch's are."""
    logits = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 200.0, 0.0], [50.0, 50.0, -50.0]]])
    target = torch.tensor([[0, 2, 1]])
    _, gradients = make_machine([parse(text)]).run(logits, target, None, 0)
    _, slopes = on_tensors([parse(text)], logits, target, 0)
    torch.testing.assert_close(gradients, slopes, equal_nan=True)


def test_a_power_of_zero_has_no_slope_where_p_is_nearly_zero():
    """p^t at the beginning, t = 0, of a p that is no normal number: the gradient is zero, as on tensors."""
    logits = torch.tensor([[[0.0, -92.0, 1.0]]], requires_grad=True)
    stack([ProgramLoss("-y*p^t")])(logits, torch.tensor([[1]])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_program_is_alone_whatever_stands_beside_it():
    """A program's value and gradient are the same to the last bit in any company."""
    programs = random_programs(40, 2)
    logits, target = points(len(programs), torch.float32)
    _, together = make_machine(programs).run(logits, target, PRIOR, 0.3)
    for k, program in enumerate(programs):
        _, alone = make_machine([program]).run(logits[k : k + 1], target[k : k + 1], PRIOR, 0.3)
        assert torch.equal(alone[0].nan_to_num(7), together[k].nan_to_num(7)), show(program)


def test_the_machine_knows_every_operation():
    """No operation of the language is missing, so none falls back by oversight."""
    assert set(ops.ELEMENTWISE) <= set(kernel.CODES)
    assert {name for name, one in OPERATIONS.items() if one.removes} <= set(kernel.CODES)
    known = [name for name in TERMINALS if fits(parse(f"-y*{name}" if name != "y" else "y*p"))]
    assert set(TERMINALS) - set(known) == {"s", "logs", "log1ms"}


def test_equal_parts_are_computed_once():
    """A part that stands twice is one instruction, and so is its broadcast."""
    code = assemble(parse("sum_C(y*p)*p + sum_C(y*p)*logp"))
    names = [one.op for one in code.instructions]
    assert names.count("sum_C") == 2  # the part, and the sum over the classes at the end
    assert names.count("expand") == 1


def test_a_stack_uses_the_machine_where_it_serves_and_tensors_elsewhere(monkeypatch):
    """Class numbers on a CPU go to the machine; soft targets, weights, sigmoids and sums over images alone do not."""
    calls = []
    kept = Machine.run
    monkeypatch.setattr(Machine, "run", lambda self, *args: calls.append(1) or kept(self, *args))
    logits, target = points(1, torch.float32)
    ignored = target.clone()
    ignored[0, 0] = -100
    pixels = logits.unsqueeze(3).expand(1, 7, 5, 2), target.unsqueeze(2).expand(1, 7, 2)
    stack([ProgramLoss("-y*logp")])(logits, target)
    stack([ProgramLoss("-y*logp", ignore_index=-100)])(logits, ignored)
    stack([ProgramLoss("-y*logp")])(*pixels)
    assert calls == [1, 1, 1]
    stack([ProgramLoss("-y*logp")])(logits, logits.softmax(2))
    stack([ProgramLoss("-y*logp", weight=torch.ones(5))])(logits, target)
    stack([ProgramLoss("-y*logs")])(logits, target)
    stack([ProgramLoss("-y*mean_B(p)")])(*pixels)
    assert calls == [1, 1, 1]
    assert not serves(logits, ignored, None)


@pytest.mark.parametrize("ignore_index", [0, 255])
def test_what_is_ignored_counts_for_nothing_on_a_stack(ignore_index):
    """A class that is to be ignored, also one there could be, weighs in a stack what it weighs alone."""
    logits, target = points(1, torch.float32)
    target[0, 2] = ignore_index
    loss = ProgramLoss("-y*logp", ignore_index=ignore_index)
    torch.testing.assert_close(stack([loss])(logits, target)[0], loss(logits[0], target[0]))


def test_a_class_that_is_none_is_refused_on_a_stack():
    """A target beyond the classes is an error and no silent zero."""
    logits, target = points(1, torch.float32)
    target[0, 2] = 5
    with pytest.raises(RuntimeError, match="index"):
        stack([ProgramLoss("-y*logp")])(logits, target)


def test_the_source_of_the_machine_runs_as_it_is_written():
    """The kernel gives the same uncompiled: its source is what is tested, not a stale cache."""
    programs = [parse("-sum_C(y*logp)*C + max_C(log(1-p))*t + pi*z + mean_C((p + 0.5)^1.5)")]
    logits, target = points(1, torch.float64)
    machine = make_machine(programs)
    compiled = machine.run(logits, target, PRIOR, 0.3)
    losses, gradients = torch.empty(1, dtype=torch.float64), torch.empty_like(logits)
    encoded = (machine.code, machine.constants, machine.bounds, machine.leaves)
    plan = (machine.passes, machine.pass_bounds, machine.orders, 4)
    arrays = (logits.unsqueeze(1).numpy(), target.unsqueeze(1).numpy(), -1, PRIOR.numpy(), 0.3, 1e-300)
    kernel.run.py_func(*encoded, *plan, *arrays, np.ones(1), losses.numpy(), gradients.unsqueeze(1).numpy())
    torch.testing.assert_close((losses, gradients), compiled)
