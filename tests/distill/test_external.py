"""Other engines propose, and what they write is read, judged and refined; PySR runs in a process of its own."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lossml.distill import Limits, distill, external, read_target
from lossml.distill.points import search_points
from lossml.distill.table import COLUMNS, tabulate
from lossml.errors import LossMLError, UsageError

# Stands in for pysr, which needs Julia: the same call, and a hall of fame as SymbolicRegression.jl writes it.
STAND_IN = '''
import sys
from pathlib import Path

class PySRRegressor:
    def __init__(self, **settings):
        assert "torch" not in sys.modules
        self.settings = settings

    def fit(self, X, y, variable_names):
        assert X.shape == (len(y), len(variable_names)) == (400, 3)
        run = Path(self.settings["output_directory"], self.settings["run_id"])
        run.mkdir()
        rows = f"""Complexity,Loss,Equation
1,0.9,"0.12"
5,0.1,"({variable_names[0]} * {variable_names[2]}) * -0.3f0"
9,0.1,"({variable_names[0]} * {variable_names[2]}) * -0.3f0 + (p - p)"
"""
        for ending in ("csv", "csv.bak"):
            (run / f"hall_of_fame.{ending}").write_text(rows)
'''
BROKEN = "raise ImportError('no Julia for this machine')\n"


@pytest.fixture
def pysr(tmp_path, monkeypatch):
    """Write a module that is imported as pysr, here and in the process of PySR."""

    def write(text):
        (tmp_path / "pysr.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        monkeypatch.syspath_prepend(tmp_path)

    return write


@pytest.mark.parametrize(
    ("name", "value"),
    [("ce", lambda y, p: -y * p.log()), ("brier", lambda y, p: (p - y) ** 2), ("mae", lambda y, p: y * (1 - p))],
)
def test_the_table_holds_the_loss(name, value):
    """A sum over the classes is recovered from its gradient: its values, up to scale and what has no gradient."""
    points = search_points(read_target(name), 10)
    table = tabulate(points)
    assert table.unexplained < 1e-6
    y, p, logp = table.inputs.T
    torch.testing.assert_close(logp, p.log())
    wanted = value(y, p)
    free = torch.stack([y, 1 - y, p, wanted], 1)  # a constant for each y, and p for every class, have no gradient
    residual = table.values - free @ torch.linalg.lstsq(free, table.values).solution
    assert float(residual.norm() / table.values.norm()) < 1e-4


def test_a_loss_that_is_no_sum_over_the_classes_says_how_far_it_is_from_one():
    """What no function of y and p explains is reported."""
    assert tabulate(search_points(read_target("sum_C(y*logp)/sum_C(logp)"), 10)).unexplained > 0.02


@pytest.mark.filterwarnings("default")  # Operon's own
def test_operon_finds_cross_entropy_twice_alike():
    """The real engine runs, its expressions are read, and a seed fixes the result."""
    target = read_target("-sum_C(y*(logp + 0*p))*2")
    one, two = (distill(target, limits=Limits(budget=8_000), engine="operon", seed=3) for _ in range(2))
    assert one.shortest is not None
    assert one.shortest.size <= 6  # Operon likes (sqrt(-logp)*y)^2
    assert replace(one, seconds=0.0) == replace(two, seconds=0.0)


def test_pysr_is_given_a_table_and_its_hall_of_fame_is_read(pysr):
    """The exchange with the other process: columns by name, equations back, torch not imported beside Julia."""
    pysr(STAND_IN)
    found = distill(read_target("ce"), limits=Limits(budget=100), engine="pysr")
    assert found.shortest is not None
    assert found.shortest.size == 4
    assert found.engine == "pysr"


def test_without_julia_it_is_said_what_to_install(pysr, monkeypatch):
    """The package alone is not enough, and the message holds its own reason too."""
    pysr(BROKEN)
    monkeypatch.setattr(external.shutil, "which", lambda _name: None)
    with pytest.raises(UsageError, match=r"no Julia for this machine.*julialang\.org"):
        distill(read_target("ce"), engine="pysr")
    monkeypatch.setattr(external.shutil, "which", lambda _name: "/usr/bin/julia")
    with pytest.raises(LossMLError, match="PySR failed: ImportError: no Julia") as error:
        distill(read_target("ce"), engine="pysr")
    assert not isinstance(error.value, UsageError)


@pytest.mark.parametrize(("engine", "package"), [("operon", "pyoperon"), ("pysr", "pysr")])
def test_an_engine_that_is_not_installed_says_what_to_install(monkeypatch, engine, package):
    """The sentence names the extra."""
    monkeypatch.setattr(external.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=rf"needs the package {package}.*lossml\[{engine}\]"):
        distill(read_target("ce"), engine=engine)


def test_the_process_of_pysr_imports_no_room_of_ours():
    """Started as a file it loads neither torch nor lossml."""
    text = (
        f"import runpy, sys; runpy.run_path({str(external.PYSR)!r}, run_name='x');"
        "print(*{'torch', 'lossml'} & {m.split('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert not done.stdout.strip()
    assert COLUMNS == ("y", "p", "logp")
