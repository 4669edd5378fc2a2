"""Functions of p alone are taken out of an export, with their slopes and polynomials that are as exact."""

from types import ModuleType

import pytest
import torch

from lossml import zoo
from lossml.backend import ProgramLoss, runtime, torch_source
from lossml.backend.curve import DEGREES, take_out
from lossml.backend.ops import ELEMENTWISE
from lossml.program import fold, parse, show
from lossml.program.tree import CONST

NGL = zoo.program_of("ngl")
EVERY_OPERATION = (
    "exp(sin(p))*cos(p) - p/(1 + exp(p))",
    "tanh(p^2)^2.5 + sqrt(p + 1)*log(p + 2)",
    "rsqrt1p(3*p) - exp(-p)",
)
SMOOTH = ("exp(sin(p))*cos(p) + 3*p + p/(1 + exp(p))", "rsqrt1p(p*0.3) + exp(-p)", "tanh(p + 1)*log(p + 2)")


def exported(program, **options):
    module = ModuleType("exported")
    exec(torch_source(program, header="A loss."), module.__dict__)  # noqa: S102 - the file, as a user runs it
    return module.Loss(**options)


def on_tensors(node, p):
    def visit(node, args):
        if node.op == CONST:
            return p.new_tensor(node.value)
        return ELEMENTWISE[node.op].function(*args) if args else p

    return fold(node, visit)


def batch():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(6, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    return logits, torch.tensor([0, 1, 2, 3, 4, 0])


@pytest.mark.parametrize("text", EVERY_OPERATION)
def test_the_slope_is_the_derivative(text):
    """The slope of every operation that a curve can hold is what automatic differentiation finds."""
    rest, (curve,) = take_out(parse(text))
    assert rest.op == curve.name
    p = torch.linspace(0.01, 0.99, 50, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(on_tensors(curve.value, p).sum(), p)
    torch.testing.assert_close(on_tensors(curve.slope, p), expected)


@pytest.mark.parametrize("text", [*SMOOTH, show(NGL.args[0]).replace("(1 + y)", "1")])
def test_a_polynomial_is_the_curve_to_single_precision(text):
    """On points that the fit has not seen, value and slope are right to a few roundings."""
    _, (curve,) = take_out(parse(text))
    assert len(curve.polynomials[0]) - 1 in DEGREES
    p = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).float().double()
    for node, coefficients in zip((curve.value, curve.slope), curve.polynomials, strict=True):
        exact, found = on_tensors(node, p), torch.zeros(len(p))
        for one in reversed(coefficients):
            found = found * p.float() + one
        assert ((found - exact).abs() / exact.abs()).max() < 2.0**-21


@pytest.mark.parametrize("text", ["exp(sqrt(p))", "cos(cos(sin(p)))", "sin(p)/p + exp(p)", "sin(p*1000)*exp(p)"])
def test_what_a_polynomial_does_not_reach_has_none(text):
    """An infinite slope, a slope whose zero needs every digit, an infinite value, too many waves: no polynomial."""
    _, (curve,) = take_out(parse(text))
    assert curve.polynomials is None


@pytest.mark.parametrize(
    "text", ["exp(p)*y", "exp(p) + z", "abs(exp(sin(p)))", "p^p*exp(p)", "sum_C(exp(p))", "1.5^p + p^t"]
)
def test_what_is_no_dear_curve_stays(text):
    """Cheap parts, parts that read more than p, and what has a kink or a variable exponent are left as they are."""
    program = parse(text)
    rest, curves = take_out(program)
    assert [show(curve.value) for curve in curves] == (["exp(sin(p))"] if "abs" in text else [])
    assert curves or rest == program


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_an_export_with_a_curve_is_the_program(compiled, kind):
    """Value and gradient are the program's, by sines and, compiled in single precision, by polynomials."""
    logits, target = batch()
    leaf = logits.detach().to(kind).requires_grad_()
    loss = exported(NGL)
    ours = (torch.compile(loss, fullgraph=True, backend="aot_eager") if compiled else loss)(leaf, target)
    theirs = ProgramLoss(NGL)(leaf, target)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(*(torch.autograd.grad(value, leaf)[0] for value in (ours, theirs)))
    assert "polynomial(p, slope)" in torch_source(NGL, header="")


def test_a_large_curve_is_computed_piece_by_piece():
    """Values and slopes of more numbers than a piece has are those of each number alone."""
    p = torch.rand(3, 30_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    calls = []

    def curve(p):
        calls.append(p.numel())
        return p.sin(), p.cos()

    runtime.by_curve(p, curve).sum().backward()
    assert len(calls) > 1
    assert sum(calls) == p.numel()
    torch.testing.assert_close(p.grad, p.detach().cos())


def test_a_curve_has_all_derivatives():
    """Second derivatives and gradients of one sample at a time go through it."""
    logits, target = batch()
    loss = exported(NGL)
    assert torch.autograd.gradgradcheck(lambda given: loss(given, target), (logits,))
    alone = torch.func.vmap(torch.func.grad(lambda given, label: loss(given[None], label[None])))(logits, target)
    (together,) = torch.autograd.grad(exported(NGL, reduction="sum")(logits, target), logits)
    torch.testing.assert_close(alone, together)


def test_a_slope_without_bound_at_no_probability_is_left_to_torch():
    """Where p underflows, a slope that overflows would be multiplied by zero: no curve is taken, all is finite."""
    program = parse("mean_C(exp(-p^-0.5)) - sum_C(y*p)")
    assert take_out(program)[1] == []
    logits, found = torch.tensor([[0.0, -200.0, 1.0]]), []
    for loss in (exported(program), ProgramLoss(program)):
        leaf = logits.clone().requires_grad_()
        loss(leaf, torch.tensor([0])).backward()
        found.append(leaf.grad)
    assert found[0].isfinite().all()
    torch.testing.assert_close(*found)
