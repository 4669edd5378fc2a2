"""An exported JAX function is the program, in a file that needs jax and nothing else."""

import random
import subprocess
import sys

import pytest
import torch

from lossml import zoo
from lossml.backend import ProgramLoss, jax_source
from lossml.errors import UsageError
from lossml.program import Axes, operations, parse
from lossml.program.grammar import classification_grammar, generate, segmentation_grammar
from tests.backend.test_codegen import MORE
from tests.backend.test_one_meaning import alone, assert_same, batch

jax = pytest.importorskip("jax")
PRIOR = torch.tensor([0.1, 0.2, 0.3, 0.4])


def compiled(program, **options):
    names = {"__name__": "exported"}
    exec(compile(jax_source(program, header="One of many.", scale=0.5, **options), "exported", "exec"), names)  # noqa: S102 - what was just generated
    return names["loss"]


def array(tensor):
    return jax.numpy.asarray(tensor.detach().numpy())


def programs(grammar):
    rng = random.Random(5)
    published = [zoo.program_of(name) for name in zoo.names()]
    finite = [parse(text) for text in MORE if "exp(1000)" not in text]
    return [*published, *finite, *(generate(rng, grammar) for _ in range(10))]


def options_for(program, place):
    """Every third program with class weights and each reduction in turn; the prior where it is read."""
    weight = torch.tensor([1.0, 0.2, 3.0, 0.5]) if place % 3 == 0 else None
    reduction = ("none" if Axes.BATCH in program.type.axes else "mean", "mean", "sum")[place % 3]
    prior = {"prior": PRIOR} if "pi" in operations(program) else {}
    return {"weight": weight, "reduction": reduction, **prior}


def in_jax(found, logits, target):
    """Sums of all programs' values and their gradients, compiled together: one compilation for all."""
    options = [options_for(program, k).items() for k, program in enumerate(found)]
    arrays = [{name: array(v) if isinstance(v, torch.Tensor) else v for name, v in pairs} for pairs in options]
    functions = [compiled(program) for program in found]

    def total(x, t):
        values = [f(x[k], t[k], **a).sum() for k, (f, a) in enumerate(zip(functions, arrays, strict=True))]
        return sum(values), jax.numpy.stack(values)

    lowered = jax.jit(jax.value_and_grad(total, has_aux=True)).lower(array(logits), array(target))
    quickly = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
    (_, values), gradients = quickly(array(logits), array(target))
    return tuple(torch.from_numpy(jax.device_get(found).copy()) for found in (values, gradients))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "dtype", "grammar"),
    [
        ((6, 4), torch.float32, classification_grammar(prior=True, progress=True)),
        ((3, 4, 3, 2), torch.float64, segmentation_grammar()),
    ],
)
def test_the_jax_export_equals_the_program(shape, dtype, grammar):
    """Published and random programs: value and logit gradient are those of ProgramLoss, in float32 and float64."""
    found = programs(grammar)
    logits, target = batch(shape, len(found), 11, dtype)
    target.view(len(found), -1)[::2, ::4] = -100
    with jax.enable_x64(dtype is torch.float64):
        ours = in_jax(found, logits, target)
    losses = [Summed(ProgramLoss(p, scale=0.5, **options_for(p, k))) for k, p in enumerate(found)]
    assert_same(ours, alone(losses, logits, target), losses, logits, target)


class Summed:
    def __init__(self, loss):
        self.loss, self.program = loss, loss.program

    def __call__(self, logits, target):
        return self.loss(logits, target).sum()


def test_the_jax_export_is_jitted_and_reads_soft_targets_progress_and_half_precision():
    """Under jit, with probabilities, at any moment of training and in bfloat16 it is what ProgramLoss is."""
    text = "-sum_C(y*(1 - p)^(2*t)*logp)"
    function = jax.jit(compiled(parse(text)))
    loss = ProgramLoss(text, scale=0.5)
    loss.set_progress(0.3)
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    soft = torch.rand(5, 4, generator=torch.Generator().manual_seed(1)).softmax(1)
    assert float(function(array(logits), array(soft), progress=0.3)) == pytest.approx(
        float(loss(logits, soft)), rel=1e-5
    )
    half = array(logits).astype(jax.numpy.bfloat16)
    assert function(half, array(soft)).dtype == jax.numpy.float32


def test_the_jax_export_needs_jax_alone(tmp_path):
    """A few steps of training run on the exported file in a process that can import neither LossML nor torch."""
    (tmp_path / "my_loss.py").write_text(jax_source(zoo.program_of("ngl"), header="A loss."))
    script = (
        "import sys; sys.modules['lossml'] = sys.modules['torch'] = None\n"
        "import jax, jax.numpy as jnp; from my_loss import loss\n"
        "x = jax.random.normal(jax.random.key(0), (64, 8)); t = (x[:, 0] > 0).astype(int)\n"
        "step = jax.jit(lambda w: w - 0.5 * jax.grad(lambda v: loss(x @ v, t))(w))\n"
        "w = jnp.zeros((8, 2))\n"
        "for _ in range(100): w = step(w)\n"
        "print(((x @ w).argmax(1) == t).mean())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.9


def test_names_and_reductions_are_checked():
    """A function name that is taken and a reduction that there is not are refused with a sentence."""
    with pytest.raises(UsageError, match="means something else"):
        jax_source(parse("-y*logp"), header="", name="finish")
    with pytest.raises(ValueError, match="must be one of"):
        compiled(parse("mean_B(-y*logp)"))(jax.numpy.zeros((2, 3)), jax.numpy.zeros(2, int), reduction="none")
