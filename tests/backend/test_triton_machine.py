"""The machine on a GPU means what the tensors mean: natively where there is a GPU, else in Triton's interpreter."""

import os
import pickle
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import interpreted
import pytest
import tensors
import torch
from torch._subclasses import FakeTensorMode

from lossml.backend import ProgramLoss, gpu, stack
from lossml.backend.bytecode import STEPS, assemble
from lossml.backend.machine import make_machine
from lossml.program import parse, show
from lossml.program.grammar import classification_grammar, generate
from lossml.program.hard import hard_form

pytestmark = pytest.mark.skipif(not gpu.triton_is_there(), reason="Triton is not installed")
NATIVE = torch.cuda.is_available()
on_a_gpu = pytest.mark.skipif(not NATIVE, reason="no GPU")
PRIOR = tensors.PRIOR.float()

EVERY_STEP = (
    "-sum_C(y*logp) + mean_C(p*C) - max_C(z*y)*0.1",
    "y*sin(z) - p*cos(z*3 + t) + p*tanh(z)*tanh(z*0.1)",
    "p*mean_B(y*p) + sum_B(y*z)*p*0.1 + pi*logp*y",
    "(p + 0.1)^(1.5*t) + (p*y)^0.7 + sqrt(p)*y + 1.3^p*y",
    "max(p, y)*y + min(p, 0.3) + abs(y - p) + logabs(y - p) + rsqrt1p(z)*y",
    "log(1 - p)*y - log(p + 1)/(p + 2) + (p - y)^2 + exp(p)*y",
    "z^3*y + z^2*(1 - y) + exp(mean_B(mean_C(p*y)))",
    "(0 - log(max_C(mean_B(p)) + sum_C(mean_B(y*p))))*mean_B(max_C(z))",
)


@pytest.fixture(scope="module")
def machine_run():
    """(programs, logits, target, ignore_index=None) -> losses and gradients, by the kernel."""

    def natively(programs, logits, target, ignore_index=None):
        found = interpreted.run(programs, logits.cuda(), target.cuda(), PRIOR.cuda(), ignore_index)
        return tuple(one.cpu() for one in found)

    def elsewhere(programs, logits, target, ignore_index=None):
        given = programs, logits, target, PRIOR, ignore_index
        return pickle.loads(pool.submit(interpreted.run_pickled, pickle.dumps(given)).result())

    if NATIVE:
        yield natively
        return
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:  # decided when Triton is imported, so not in this process
            patch.setenv("TRITON_INTERPRET", "1")
            assert pool.submit(os.getenv, "TRITON_INTERPRET").result() == "1"
        yield elsewhere


def points(count, spread=2.0, samples=6, classes=5):
    return tensors.points(count, torch.float32, spread, samples, classes)


def on_tensors(programs, logits, target, ignore_index=None):
    return tensors.on_tensors(programs, logits, target, 0.3, ignore_index)


def alike(ours, theirs, tolerance):
    return tensors.alike(ours, theirs, tolerance, smallest=1e-2)


def assert_alike(programs, ours, theirs):
    agree = alike(ours, theirs, 1e-3)
    assert bool(agree.all()), [show(programs[k]) for k in (~agree).nonzero().flatten().tolist()]


@pytest.mark.parametrize(("spread", "ignore_index"), [(0.1, None), (2.0, -100), (30.0, 2)])
def test_random_programs_have_the_same_value_and_gradient(machine_run, spread, ignore_index):
    """Random programs agree with the tensors at fresh, usual and extreme logits, also where samples are ignored.

    Left out are those that single precision itself decides, on tensors: few.
    """
    rng, grammar = random.Random(11), classification_grammar(prior=True, progress=True)
    programs = [generate(rng, grammar) for _ in range(24)]
    logits, target = points(len(programs), spread)
    if ignore_index is not None:
        target[:, 1] = ignore_index
    expected = on_tensors(programs, logits.double(), target, ignore_index)
    steady = alike(on_tensors(programs, logits, target, ignore_index), expected, 1e-4)
    assert steady.double().mean() > 0.7
    ours = alike(machine_run(programs, logits, target, ignore_index), expected, 1e-3)
    assert bool(ours[steady].all()), [show(programs[k]) for k in (steady & ~ours).nonzero().flatten().tolist()]


@pytest.mark.parametrize("ignore_index", [None, 1])
def test_every_step_has_the_same_value_and_gradient(machine_run, ignore_index):
    """Programs that take every step of the bytecode agree with the tensors, aggregates over the batch among them."""
    programs = [parse(text) for text in EVERY_STEP]
    elsewhere = {"pick", "any", "sum_X", "mean_X", "sum_I", "mean_I"}  # of hard forms, of masks
    assert {one.op for program in programs for one in assemble(program).instructions} == set(STEPS) - elsewhere
    logits, target = points(len(programs))
    assert_alike(
        programs,
        machine_run(programs, logits, target, ignore_index),
        on_tensors(programs, logits.double(), target, ignore_index),
    )


@pytest.mark.parametrize("ignore_index", [None, 1])
def test_hard_forms_have_the_same_value_and_gradient(machine_run, ignore_index):
    """Programs written for class numbers are the losses that they were."""
    programs = [parse(text) for text in ("-y*logp*pi", "(p - y)^2 + log(1 - p)*y", "-sum_C(y*z)*mean_C(p^2)")]
    logits, target = points(len(programs))
    ours = machine_run([hard_form(program) for program in programs], logits, target, ignore_index)
    assert_alike(programs, ours, on_tensors(programs, logits.double(), target, ignore_index))


def test_ties_kinks_and_underflows_are_torchs(machine_run):
    """Where arguments are equal, at a kink, and where p underflows to zero, slopes are what torch's are."""
    programs = [parse(text) for text in tensors.KINKS]
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 200.0, 0.0], [50.0, 50.0, -50.0]]).repeat(len(programs), 1, 1)
    target = torch.tensor([[0, 2, 1]]).repeat(len(programs), 1)
    assert_alike(programs, machine_run(programs, logits, target), on_tensors(programs, logits, target))


def test_numbers_too_small_to_be_normal_are_numbers(machine_run):
    """Where p is smaller than the smallest normal number, its logarithm and the slopes of roots are finite."""
    programs = [parse(text) for text in ("log(p)*y", "sqrt(p)*y", "p^0.7*y")]
    logits = torch.tensor([[[50.0, 45.0, -45.0]]]).repeat(3, 1, 1)
    target = torch.full((3, 1), 1)
    losses, slopes = machine_run(programs, logits, target)
    assert losses.isfinite().all()
    assert slopes.isfinite().all()


def test_small_arguments_keep_their_digits(machine_run):
    """log(1 - p) and tanh keep single precision where p and the argument are far below one."""
    programs = [parse("log(1-p)*y"), parse("tanh(p*0.001)*y")]
    logits = torch.tensor([[[12.0, 0.0, -4.0]]]).repeat(2, 1, 1)
    target = torch.ones(2, 1, dtype=torch.long)
    losses, _ = machine_run(programs, logits, target)
    torch.testing.assert_close(losses.double(), on_tensors(programs, logits.double(), target)[0], rtol=1e-5, atol=0)


def test_what_is_ignored_has_no_gradient_and_moves_nothing(machine_run):
    """An ignored sample's gradient is zero to the bit, and what its logits are, even no number, does not matter."""
    programs = [parse(text) for text in EVERY_STEP]
    logits, target = points(len(programs))
    target[:, 2] = -100
    other = logits.clone()
    other[:, 2] = torch.nan
    first, second = (machine_run(programs, one, target, -100) for one in (logits, other))
    assert not first[1][:, 2].any()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    nothing, slopes = machine_run([parse("-sum_C(y*logp)")], logits[:1], torch.full_like(target[:1], -100), -100)
    assert nothing.item() == 0
    assert not slopes.any()


def test_a_target_that_is_no_class_is_no_silent_zero(machine_run):
    """A target beyond the classes makes the loss no number: to refuse it would be to wait for the GPU."""
    logits, target = points(1)
    target[0, 2] = 5
    losses, _ = machine_run([parse("-y*logp")], logits, target)
    assert losses.isnan().all()


def test_a_program_is_alone_whatever_stands_beside_it(machine_run):
    """A program's value and gradient are the same to the last bit in any company."""
    programs = [parse(text) for text in EVERY_STEP[:4]]
    logits, target = points(len(programs))
    _, together = machine_run(programs, logits, target)
    _, alone = machine_run(programs[2:3], logits[2:3], target[2:3])
    assert torch.equal(alone[0], together[2])


def test_the_gpu_takes_what_fits_and_leaves_the_rest_to_tensors():
    """Hard labels in single precision go to the GPU's machine; pixels, weights, soft targets and large ones do not."""
    machine, with_prior = make_machine([parse("-y*logp")]), make_machine([parse("-y*logp*pi")])
    with FakeTensorMode():
        logits, target = torch.empty(1, 6, 5, device="cuda"), torch.empty(1, 6, dtype=torch.long, device="cuda")
        assert gpu.serves(machine, logits, target, None, None)
        assert gpu.serves(with_prior, logits, target, None, torch.empty(5))
        assert not gpu.serves(with_prior, logits, target, None, None)
        assert not gpu.serves(machine, logits.cpu(), target, None, None)
        assert not gpu.serves(machine, logits.double(), target, None, None)
        assert not gpu.serves(machine, logits.unsqueeze(3), target, None, None)
        assert not gpu.serves(machine, logits, logits, None, None)
        assert not gpu.serves(machine, logits, target, torch.empty(5), None)
        assert gpu.serves(machine, torch.empty(1, 1024, 16, device="cuda"), target, None, None)
        assert not gpu.serves(machine, torch.empty(1, 1025, 16, device="cuda"), target, None, None)
        assert not gpu.serves(machine, logits[:, :0], target[:, :0], None, None)


def test_triton_is_imported_only_where_it_runs():
    """Neither the package nor a stack on a CPU imports Triton."""
    code = (
        "import sys, torch; from lossml.backend import ProgramLoss, stack\n"
        "stack([ProgramLoss('-y*logp')])(torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.long))\n"
        "assert 'triton' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_kernel_compiles_for_a_gpu_that_is_not_there(tmp_path, monkeypatch):
    """The kernel lowers to the code of an H100, not only to what the interpreter takes."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(interpreted.compile_for_hopper, 128, 16).result() > 0


def on_device(device):
    """Losses and gradient of a stack, by whatever serves there."""
    logits, target = points(2)
    target[:, 1] = 255
    leaf = logits.to(device).requires_grad_()
    losses = [ProgramLoss(text, ignore_index=255) for text in ("-sum_C(y*logp)", "p*mean_B(y*p)")]
    value = stack(losses)(leaf, target.to(device))
    (2 * value).sum().backward()
    return value.detach().cpu(), leaf.grad.cpu()


@on_a_gpu
def test_a_stack_on_a_gpu_uses_the_machine(monkeypatch):
    """A stack gives the same on a GPU as on the CPU, and by the machine."""
    calls, kept = [], gpu.GpuMachine.run
    monkeypatch.setattr(gpu.GpuMachine, "run", lambda self, *args: calls.append(1) or kept(self, *args))
    torch.testing.assert_close(on_device("cuda"), on_device("cpu"), rtol=1e-4, atol=1e-6)
    assert calls == [1]


@on_a_gpu
@pytest.mark.parametrize(("samples", "classes"), [(100, 10), (1000, 10), (33, 100), (700, 16)])
def test_large_batches_have_the_same_value_and_gradient(machine_run, samples, classes):
    """Batches that many threads share agree with the tensors."""
    programs = [parse(text) for text in EVERY_STEP if "pi" not in text]
    logits, target = points(len(programs), samples=samples, classes=classes)
    assert_alike(programs, machine_run(programs, logits, target), on_tensors(programs, logits.double(), target))


@on_a_gpu
def test_a_stack_can_be_recorded():
    """The work of a stack can be recorded as a graph and replayed on other numbers: nothing waits for the GPU."""
    logits, target = (one.cuda() for one in points(1))
    leaf, whole = logits.requires_grad_(), stack([ProgramLoss("-sum_C(y*logp)")])
    torch.autograd.grad(whole(leaf, target).sum(), leaf)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = whole(leaf, target)
        (slopes,) = torch.autograd.grad(value.sum(), leaf)
    leaf.data.mul_(0.5)
    graph.replay()
    again = whole(leaf, target)
    torch.testing.assert_close((value, slopes), (again, torch.autograd.grad(again.sum(), leaf)[0]))
