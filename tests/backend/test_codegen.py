"""An exported loss is the program, in a file that needs torch and nothing else."""

import importlib.util
import pickle
import shutil
import subprocess
import sys
import warnings

import pytest
import torch

from lossml.backend import ProgramLoss, torch_source
from lossml.backend.codegen import TORCH
from lossml.backend.source import statements
from lossml.errors import UsageError
from lossml.program import Axes, parse
from tests.backend.test_batch import TEXTS
from tests.backend.test_module import batch, gradient

MORE = (
    "-y*logs - (1 - y)*log(1 - s)",
    "-(p - y)^2*max(p, -0.5)*-1",
    "-2^(-p)^3 + abs(-p - 1)*-p",
    "sum_C((y - p)^3)",
    "mean_C(pi) + sum_C(p^2*pi)",
    "exp(1000)*0 + p",
    "sum_B(sum_C(y*(p - 1)))",
    "C",
)


@pytest.fixture
def load_source(tmp_path, monkeypatch):
    def load(source, name="exported_loss"):
        path = tmp_path / f"{name}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module.Loss

    return load


@pytest.mark.parametrize("text", ["-y*logp*(1 - p)^(2*t)", "t*sum_C(p^2) - (1 - t)*sum_C(y*logp)"])
def test_an_export_that_reads_progress_lets_it_be_set(load_source, text):
    """At every moment the module equals the program; untold it is the loss of the end, and a state_dict keeps it."""
    exported, loss = load_source(torch_source(parse(text), header="A loss."))(), ProgramLoss(text)
    logits, target = batch((6, 5))
    logits = logits.detach()
    torch.testing.assert_close(exported(logits, target), loss(logits, target))
    values = []
    for progress in (0.0, 0.3, 1.0):
        exported.set_progress(progress)
        loss.set_progress(progress)
        values.append(float(exported(logits, target)))
        assert values[-1] == pytest.approx(float(loss(logits, target)))
    assert len(set(values)) == 3
    assert float(exported.state_dict()["progress"]) == 1.0
    assert "set_progress" not in torch_source(parse("-y*logp"), header="A loss.")


@pytest.mark.parametrize("text", TEXTS + MORE)
@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4, 2)])
def test_export_equals_the_program(load_source, text, shape):
    """The generated module equals the program in value and gradient for every reduction, weight and mask."""
    program = parse(text)
    exported = load_source(torch_source(program, header="A loss.", scale=0.3))
    logits, target = batch(shape)
    target.view(-1)[::3] = -100
    options = {"weight": torch.tensor([1.0, 2.0, 0.5, 0.1, 3.0])}
    if "pi" in text:
        options["prior"] = torch.tensor([0.1, 0.2, 0.3, 0.3, 0.1])
    reductions = ("mean", "sum", "none") if Axes.BATCH in program.type.axes else ("mean", "sum")
    for reduction in reductions:
        ours = exported(reduction=reduction, **options)(logits, target)
        loss = ProgramLoss(program, scale=0.3, reduction=reduction, **options)(logits, target)
        torch.testing.assert_close(ours, loss, equal_nan=True)
        if loss.requires_grad and loss.isfinite().all():
            torch.testing.assert_close(gradient(ours, logits), gradient(loss, logits))


def test_export_reads_soft_targets_and_half_precision(load_source):
    """Probabilities and bfloat16 logits work in the exported module as in the program."""
    exported = load_source(torch_source(parse("-y*logp"), header="A loss."))()
    logits, _ = batch((4, 3), torch.float32)
    soft = torch.full((4, 3), 1 / 3)
    torch.testing.assert_close(exported(logits.bfloat16(), soft), ProgramLoss("-y*logp")(logits.bfloat16(), soft))


@pytest.mark.parametrize("text", [TEXTS[2], TEXTS[4]], ids=["ngl", "dice"])
def test_export_compiles_in_one_graph_and_pickles(load_source, text):
    """torch.compile takes the exported module as one graph, with class numbers and shares, and it can be pickled."""
    exported = load_source(torch_source(parse(text), header="A loss."))(weight=torch.tensor([1.0, 2.0, 0.5]))
    logits, target = batch((2, 3, 4, 4), torch.float32)
    compiled = torch.compile(exported, fullgraph=True, backend="aot_eager")
    for given in (target, logits.detach().softmax(1)):
        torch.testing.assert_close(compiled(logits, given), exported(logits, given))
        torch.testing.assert_close(gradient(compiled(logits, given), logits), gradient(exported(logits, given), logits))
    torch.testing.assert_close(pickle.loads(pickle.dumps(exported))(logits, target), exported(logits, target))


@pytest.mark.slow
def test_export_compiles_to_machine_code(load_source):
    """What a C++ compiler makes of the module has its value and gradient; without one there is nothing to test."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler here")
    exported = load_source(torch_source(parse(TEXTS[2]), header="A loss."))()
    logits, target = batch((32, 5), torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler about the machine
        found = torch.compile(exported, fullgraph=True)(logits, target)
        ours = gradient(found, logits)
    torch.testing.assert_close(found, exported(logits, target))
    torch.testing.assert_close(ours, gradient(exported(logits, target), logits))


def test_torch_export_takes_the_module_for_any_batch(load_source):
    """torch.export makes one graph that serves other batch sizes."""
    exported = load_source(torch_source(parse(TEXTS[2]), header="A loss."))()
    logits, target = batch((4, 5), torch.float32)
    free = torch.export.Dim("B")
    graph = torch.export.export(exported, (logits.detach(), target), dynamic_shapes=({0: free}, {0: free})).module()
    logits, target = batch((9, 5), torch.float32)
    torch.testing.assert_close(graph(logits, target), exported(logits, target))


def test_export_needs_torch_alone(tmp_path):
    """A training loop runs on the exported file in a process that cannot import LossML."""
    (tmp_path / "loss.py").write_text(torch_source(parse(TEXTS[2]), header="A loss."))
    script = (
        "import sys; sys.modules['lossml'] = None\n"
        "import torch; from loss import Loss\n"
        "torch.manual_seed(0); x = torch.randn(64, 8); t = (x[:, 0] > 0).long(); net = torch.nn.Linear(8, 2)\n"
        "opt = torch.optim.Adam(net.parameters(), 0.05); loss = Loss()\n"
        "for _ in range(100): opt.zero_grad(); loss(net(x), t).backward(); opt.step()\n"
        "print((net(x).argmax(1) == t).float().mean().item())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.9


def test_a_header_cannot_break_out(load_source):
    """Quotes and backslashes in the header stay text."""
    source = torch_source(parse("-y*logp"), header='a """ quote and a \\ backslash')
    load_source(source)
    assert "backslash" in source


def test_equal_parts_are_computed_once():
    """A subexpression that is used twice becomes one statement."""
    lines, value = statements(parse("exp(p*y) + exp(p*y)^3"), TORCH)
    assert sum("exp" in line for line in lines) == 1
    assert value == lines[-1].split(" = ")[0]


@pytest.mark.parametrize("name", ["class", "finish", "torch", "Tensor", "print"])
def test_a_class_name_must_not_mean_something_else_in_the_file(name):
    """A keyword, a function that the file brings along, or a builtin: the file would break or mean another thing."""
    with pytest.raises(UsageError, match="means something else"):
        torch_source(parse("-sum_C(y*logp)"), header="", name=name)


def test_a_class_name_must_be_an_identifier():
    """A name that is no identifier is refused."""
    with pytest.raises(UsageError, match="my loss"):
        torch_source(parse("-y*logp"), header="", name="my loss")
