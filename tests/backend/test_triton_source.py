"""A loss exported with Triton kernels is the program: natively where there is a GPU, else in Triton's interpreter."""

import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import tensors
import torch
from torch.nn import functional as F

from lossml import zoo
from lossml.backend import ProgramLoss, gpu, triton_source
from lossml.backend.triton_source import OPS, obstacle
from lossml.errors import UsageError
from lossml.program import Axes, nodes, operations, parse, show
from lossml.program.grammar import classification_grammar, generate
from lossml.program.primitives import OPERATIONS

pytestmark = pytest.mark.skipif(not gpu.triton_is_there(), reason="Triton is not installed")
NATIVE = torch.cuda.is_available()
on_a_gpu = pytest.mark.skipif(not NATIVE, reason="no GPU")

PRIOR = torch.tensor([0.4, 0.3, 0.1, 0.15, 0.05])
WEIGHT = torch.tensor([1.0, 2.0, 0.5, 0.1, 3.0]).repeat_interleave(2)[::2]  # as a column of a table lies in memory
SHAPES = ((6, 5), (3, 5, 4, 2))
EVERY_OPERATION = (
    "y*sin(z) - p*cos(z*3 + t) + p*tanh(z)*tanh(z*0.1) + logs*(1 - y) - y*log1ms*s",
    "(p + 0.1)^(1.5*t) + (p*y)^0.7 + sqrt(p)*y + 1.3^p*y + pi*logp*y",
    "max(p, y)*y + min(p, 0.3) + abs(y - p) + logabs(y - p) + rsqrt1p(z)*y",
    "log(1 - p)*y - log(p + 1)/(p + 2) + (p - y)^2 + exp(p)*y",
    "-sum_C(y*logp) + mean_C(p*C) - max_C(z*y)*0.1 + z*y*max_C(p)",
)
KINKS = (*tensors.KINKS[:-1], "-y*logp")


@pytest.fixture(scope="module")
def helper():
    """The module beside this one, by a name that another process can import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        import fused

        yield fused


@pytest.fixture(scope="module")
def elsewhere(helper):
    """A process in which Triton interprets, which is decided when it is imported."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(abs, 1).result()
        yield pool


@pytest.fixture(scope="module")
def kernels(helper, elsewhere):
    """[(program, options, logits, target)] -> [[value, gradient]], by the kernels of the exported files."""

    def run(cases):
        given = [
            (triton_source(program, header="A loss.", scale=0.3), options, logits, target, 0.4)
            for program, options, logits, target in cases
        ]
        if NATIVE:
            return [[one.cpu() for one in helper.run(*on_device(case))] for case in given]
        return pickle.loads(elsewhere.submit(helper.run_pickled, pickle.dumps(given)).result())

    return run


def on_device(case):
    source, options, logits, target, progress = case
    return source, options, logits.cuda(), target.cuda(), progress


def points(shape, spread=2.0, ignored=1):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(shape, generator=generator) * spread
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    target.view(-1)[:ignored] = -100
    return logits, target


@pytest.fixture(scope="module")
def called(helper, elsewhere):
    """Calls a function of the module beside this one where there are kernels."""

    def call(name, *arguments):
        if NATIVE:
            there = [one.cuda() if isinstance(one, torch.Tensor) else one for one in arguments]
            return getattr(helper, name)(*there)
        return pickle.loads(elsewhere.submit(helper.pickled, name, pickle.dumps(arguments)).result())

    return call


def options(program, reduction="mean", weight=WEIGHT):
    return {"reduction": reduction, "weight": weight} | ({"prior": PRIOR} if "pi" in operations(program) else {})


def on_tensors(helper, program, given, logits, target):
    loss = ProgramLoss(program, scale=0.3, **given).to(logits.dtype)
    loss.set_progress(0.4)
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    (value * helper.weighing(value)).sum().backward()
    return [value.detach(), leaf.grad]


def alike(ours, theirs, tolerance):
    """Say whether two [value, gradient] agree, relative to their size."""
    sizes = [one.abs().nan_to_num(0.0, 0.0).amax().clamp_min(1e-2) for one in theirs]
    pairs = zip(ours, theirs, sizes, strict=True)
    return all(
        torch.allclose(a.double() / s, b.double() / s, tolerance, tolerance, equal_nan=True) for a, b, s in pairs
    )


def assert_alike(helper, kernels, cases, tolerance=1e-4):
    for case, ours in zip(cases, kernels(cases), strict=True):
        program, given, logits, target = case
        theirs = on_tensors(helper, program, given, logits.double(), target)
        assert alike(ours, theirs, tolerance), (show(program), tuple(logits.shape), given)


def test_published_losses_have_the_same_value_and_gradient(helper, kernels):
    """Every loss of the zoo that fuses equals the program, with weights, void pixels and every reduction."""
    programs = [program for program in map(zoo.program_of, zoo.names()) if obstacle(program) is None]
    assert len(programs) >= 20
    assert_alike(
        helper,
        kernels,
        [
            (program, options(program, reduction), *points(shape))
            for program in programs
            for shape, reduction in zip(SHAPES * 2, ("mean", "none", "sum", "mean"), strict=True)
        ],
    )


@pytest.mark.parametrize("spread", [0.1, 2.0, 30.0])
def test_random_programs_have_the_same_value_and_gradient(helper, kernels, spread):
    """Random programs agree with the tensors at fresh, usual and extreme logits.

    Left out are those that single precision itself decides, on tensors: few.
    """
    rng, grammar = random.Random(12), classification_grammar(prior=True, progress=True)
    programs = [one for one in (generate(rng, grammar) for _ in range(60)) if obstacle(one) is None]
    assert len(programs) > 20
    cases = [(one, options(one, "none", None), *points((6, 5), spread, ignored=0)) for one in programs]
    agreed = 0
    for case, ours in zip(cases, kernels(cases), strict=True):
        program, given, logits, target = case
        expected = on_tensors(helper, program, given, logits.double(), target)
        if alike(on_tensors(helper, program, given, logits, target), expected, 1e-4):
            assert alike(ours, expected, 1e-3), show(program)
            agreed += 1
    assert agreed > 0.7 * len(programs)


def test_every_operation_has_the_same_value_and_gradient(helper, kernels):
    """Programs that use every operation and terminal which fuses agree with the tensors."""
    programs = [parse(text) for text in EVERY_OPERATION]
    used = {node.op for program in programs for _, node in nodes(program)}
    assert set(OPS) <= used
    assert {name for name, op in OPERATIONS.items() if op.removes in {Axes.SCALAR, Axes.CLASS}} == set(OPS)
    assert_alike(helper, kernels, [(one, options(one), *points(shape)) for one in programs for shape in SHAPES])


def test_ties_kinks_and_underflows_are_torchs(helper, kernels):
    """Where arguments are equal, at a kink, and where p underflows to zero, slopes are what torch's are."""
    logits = torch.tensor([[0.0, 0.0, 0.0], [0.0, 200.0, 0.0], [50.0, 50.0, -50.0]])
    cases = [(parse(text), options(parse(text), weight=None), logits, torch.tensor([0, 2, 1])) for text in KINKS]
    for case, ours in zip(cases, kernels(cases), strict=True):
        assert alike(ours, on_tensors(helper, *case), 1e-4), show(case[0])


def test_memory_layouts_many_classes_and_half_precision(helper, kernels):
    """Channels last, rows that fill a tile alone, strided rows and half precision are read as they lie."""
    program = zoo.program_of("ngl")
    pixels, target = points((2, 5, 8, 4))
    many, labels = points((3, 2500))
    last = pixels.contiguous(memory_format=torch.channels_last)
    rows = points((5, 6))[0].t()[:6, :5]
    cases = [(last, target), (many, labels), (rows, torch.tensor([0, 1, 2, -100, 4, 3]))]
    assert_alike(helper, kernels, [(program, options(program, weight=None), *case) for case in cases])
    half = (program, options(program, weight=None), pixels.half(), target)
    (ours,) = kernels([half])
    assert ours[1].dtype == torch.float16
    assert alike(ours, on_tensors(helper, program, half[1], pixels.half().double(), target), 1e-3)


def test_what_is_ignored_has_no_gradient_and_moves_nothing(kernels):
    """An ignored sample's gradient is zero whatever its logits are; where nothing counts the loss is zero."""
    program = parse(EVERY_OPERATION[0])
    logits, target = points((6, 5))
    other = logits.clone()
    other[0] = torch.nan
    given = options(program)
    first, second, nothing = kernels(
        [(program, given, one, label) for one, label in ((logits, target), (other, target), (other, target * 0 - 100))]
    )
    assert not first[1][0].any()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert nothing[0].item() == 0
    assert not nothing[1].any()


def test_a_target_that_is_no_class_is_no_silent_zero(kernels):
    """A target beyond the classes makes the loss no number: to refuse it would be to wait for the GPU."""
    logits, target = points((6, 5), ignored=0)
    target[2] = 5
    ((value, _),) = kernels([(parse("-y*logp"), options(parse("-y*logp"), weight=None), logits, target)])
    assert value.isnan()


def test_a_gradient_of_the_gradient_is_the_torch_forms(helper, elsewhere):
    """Asked for second derivatives, the fused loss gives those of the torch form."""
    source, (logits, target) = triton_source(parse("sum_C((p - y)^2)"), header="A loss."), points((6, 5))
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ProgramLoss("sum_C((p - y)^2)")(leaf, target), leaf, create_graph=True)
    (expected,) = torch.autograd.grad(slope.square().sum(), leaf)
    if NATIVE:
        ours = helper.second(source, logits.cuda(), target.cuda()).cpu()
    else:
        ours = pickle.loads(elsewhere.submit(helper.second_pickled, pickle.dumps((source, logits, target))).result())
    torch.testing.assert_close(ours, expected)


def test_a_second_backward_gives_the_same_gradient(called):
    """Backward leaves what forward kept as it was, so that with retain_graph it can be taken again."""
    for shape in SHAPES:
        first, again, before, after = called("twice", triton_source(parse("-y*logp"), header="A loss."), *points(shape))
        assert first.any()
        torch.testing.assert_close([again, after], [first, before], rtol=0, atol=0)


def test_a_gradient_that_is_not_needed_is_neither_computed_nor_kept(called):
    """Only logits that need a gradient, with autograd on, make the kernel compute one."""
    found = called("asked", triton_source(parse("-y*logp"), header="A loss."), *points((6, 5)))
    assert found == [(True, True), (False, False), (False, False)]


def test_what_is_ignored_has_no_gradient_under_any_slope(called):
    """Neither an infinite slope of an ignored sample's value nor a large one of a loss of nothing makes NaN."""
    source, (logits, target) = triton_source(parse("-y*logp"), header="A loss."), points((6, 5))
    infinite = torch.full((6,), 0.5).masked_fill(target < 0, torch.inf)
    found = called("under", source, {"reduction": "none"}, logits, target, infinite)
    assert not found[0].any()
    assert found[1:].any(1).all()
    nothing = called("under", source, {}, logits.half(), target * 0 - 100, torch.tensor(2.0**20))
    assert nothing.dtype == torch.float16
    assert not nothing.any()


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_a_half_precision_gradient_is_scaled_in_single_precision(called, reduction):
    """A slope such as a loss scale, and a mean's total, come before rounding: nothing is lost below or above."""
    logits, target = points((64, 10), spread=4.0)
    logits, shape = logits.half(), (64,) if reduction == "none" else ()
    for text in ("-y*logp", "(p - y)^2", "y/p"):
        source = triton_source(parse(text), header="A loss.")
        for scale in (2.0**-14 / 3, 1.0, 2.0**16 / 3):
            found = called("under", source, {"reduction": reduction}, logits, target, torch.full(shape, scale))
            exact = called("under", source, {"reduction": reduction}, logits.float(), target, torch.full(shape, scale))
            torch.testing.assert_close(found, exact.half(), rtol=2e-3, atol=2.0**-24)


def test_without_a_gpu_the_file_is_the_torch_form(helper):
    """On a CPU, with shares as targets and in double precision the exported file needs no kernel."""
    module = helper.load(triton_source(parse("-y*logp"), header="A loss."), anywhere=False)
    logits, target = points((6, 5))
    for given, wanted in ((logits, target), (logits, logits.softmax(1)), (logits.double(), target)):
        torch.testing.assert_close(module.Loss()(given, wanted), F.cross_entropy(given, wanted))
    with torch._subclasses.FakeTensorMode():
        there, label = torch.empty(6, 5, device="cuda"), torch.empty(6, dtype=torch.long, device="cuda")
        assert module.fits(there, label)
        assert not module.fits(there, there)
        assert not module.fits(there.double(), label)
        assert not module.fits(there.cpu(), label)
        assert not module.fits(torch.empty(6, 20_000, device="cuda"), label)


@pytest.mark.parametrize("name", ["dice", "dice+ce", "ganetic"])
def test_what_a_tile_cannot_hold_is_refused(name):
    """A loss that aggregates over pixels or the batch is refused, with what to do instead."""
    with pytest.raises(UsageError, match="use --format torch"):
        triton_source(zoo.program_of(name), header="A loss.")


@pytest.mark.parametrize("text", ["y", "sum_C(pi)*p"])
def test_what_is_no_samples_is_refused(text):
    """A loss that reads no logits, or that aggregates what no sample has, is no kernel either."""
    with pytest.raises(UsageError, match="cannot be one kernel"):
        triton_source(parse(text), header="A loss.")


def test_a_class_name_must_not_mean_something_else_in_the_file():
    """The names of the kernels and of what calls them are taken."""
    with pytest.raises(UsageError, match="means something else"):
        triton_source(parse("-y*logp"), header="", name="Fused")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["mean_C(exp(2.4 - p*(1 + y)) - cos(cos(sin(p))))", "log(1-p)*(1 - y) + pi*t*p^1.5"])
def test_the_kernels_compile_for_a_gpu_that_is_not_there(helper, tmp_path, monkeypatch, text):
    """The kernel lowers to the code of an H100, not only to what the interpreter takes."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        sizes = pool.submit(helper.compile_for_hopper, triton_source(parse(text), header="A loss.")).result()
    assert len(sizes) == 4
    assert min(sizes) > 0


@on_a_gpu
@pytest.mark.parametrize("shape", [(4096, 100), (64, 16_000), (2, 21, 128, 128)])
def test_large_shapes_on_a_gpu(helper, kernels, shape):
    """Shapes of many tiles agree with the tensors, and take less memory than torch's cross-entropy."""
    program, (logits, target) = zoo.program_of("ngl"), points(shape)
    assert_alike(helper, kernels, [(program, options(program, weight=None), logits, target)])
    loss = helper.load(triton_source(program, header="A loss."), anywhere=False).Loss()
    assert peak(loss, logits.cuda(), target.cuda()) <= peak(F.cross_entropy, logits.cuda(), target.cuda())


def peak(loss, logits, target):
    leaf = logits.requires_grad_()
    loss(leaf, target).backward()
    leaf.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss(leaf, target).backward()
    return torch.cuda.max_memory_allocated() - before
