"""The compiled machine means what the tensors mean."""

import random

import pytest
import torch
from tensors import KINKS, PRIOR, alike, on_tensors, points

from lossml import zoo
from lossml.backend import ProgramLoss, kernel, ops, stack
from lossml.backend.bytecode import assemble, fits
from lossml.backend.machine import LARGEST, Machine, make_machine, serves
from lossml.program import parse, show
from lossml.program.grammar import classification_grammar, generate
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
    assert {name for name, one in OPERATIONS.items() if one.removes and not name.endswith("_X")} <= set(kernel.CODES)
    known = [name for name in TERMINALS if fits(parse(f"-y*{name}" if name != "y" else "y*p"))]
    assert set(TERMINALS) - set(known) == {"s", "logs", "log1ms"}


def test_equal_parts_are_computed_once():
    """A part that stands twice is one instruction, and so is its broadcast."""
    code = assemble(parse("sum_C(y*p)*p + sum_C(y*p)*logp"))
    names = [one.op for one in code.instructions]
    assert names.count("sum_C") == 2  # the part, and the sum over the classes at the end
    assert names.count("expand") == 1


def test_a_stack_uses_the_machine_where_it_serves_and_tensors_elsewhere(monkeypatch):
    """Hard labels on a CPU go to the machine; masks, soft targets, weights, sigmoids and large logits do not."""
    calls = []
    kept = Machine.run
    monkeypatch.setattr(Machine, "run", lambda self, *args: calls.append(1) or kept(self, *args))
    logits, target = points(1, torch.float32)
    stack([ProgramLoss("-y*logp")])(logits, target)
    assert calls == [1]
    ignored = target.clone()
    ignored[0, 0] = -100
    pixels = logits.unsqueeze(3).expand(1, 7, 5, 2)
    stack([ProgramLoss("-y*logp")])(logits, ignored)
    stack([ProgramLoss("-y*logp")])(logits, logits.softmax(2))
    stack([ProgramLoss("-y*logp")])(pixels, target.unsqueeze(2).expand(1, 7, 2))
    stack([ProgramLoss("-y*logp", weight=torch.ones(5))])(logits, target)
    stack([ProgramLoss("-y*logs")])(logits, target)
    assert calls == [1]
    assert not serves(torch.zeros(1, LARGEST, 2), torch.zeros(1, LARGEST, dtype=torch.long), None)


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
    arrays = (machine.code, machine.constants, machine.bounds, machine.leaves, logits.numpy(), target.numpy())
    kernel.run.py_func(*arrays, PRIOR.numpy(), 0.3, 1e-300, losses.numpy(), gradients.numpy())
    torch.testing.assert_close((losses, gradients), compiled)
