"""Other engines: they fit the table of a target, and what they write is read, judged and refined as ours is."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from lossml.distill.engine import Limits
from lossml.distill.halloffame import equation_of, read_hall_of_fame
from lossml.distill.points import Points
from lossml.distill.table import COLUMNS, Table, tabulate
from lossml.errors import LossMLError, ProgramError, UsageError
from lossml.program import Node

LONGEST = 20  # nodes of an engine's expression
SYMBOLS = "add,sub,mul,div,constant,variable,exp,square,sqrt"
PYSR = Path(__file__).with_name("pysr_process.py")
PATIENCE = 600.0  # seconds that PySR may take where no time limit is given: it starts Julia and compiles
WITHOUT_OPERON = "the engine operon needs the package pyoperon; install it with: pip install 'lossml[operon]'"
WITHOUT_PYSR = (
    "the engine pysr needs the package pysr and the language Julia; install them with: pip install 'lossml[pysr]', "
    "and Julia from https://julialang.org/install, then run: python -c 'import pysr'"
)

Engine = Callable[[Table, Limits, int], Sequence[Node]]


def proposals(engine: str, points: Points, limits: Limits, seed: int) -> Sequence[Node]:
    """Let another engine propose programs for the target at points.

    Args:
        engine: "operon" or "pysr".
        points: of the search.
        limits: the engine's budget and time; its evaluations are counted by itself.
        seed: of the engine.

    Raises:
        UsageError: where the engine is not installed, with what to install.
        LossMLError: where it fails.
    """
    check(engine)
    found = ENGINES[engine](tabulate(points), limits, seed)
    if not found:
        raise LossMLError(f"the engine {engine} found no expression that is a loss; use the engine gp")
    return found


def check(engine: str) -> None:
    """Refuse an engine that is not installed, before anything is computed."""
    package, message = {"operon": ("pyoperon", WITHOUT_OPERON), "pysr": ("pysr", WITHOUT_PYSR)}[engine]
    if importlib.util.find_spec(package) is None:
        raise UsageError(message)


def _operon(table: Table, limits: Limits, seed: int) -> Sequence[Node]:
    from pyoperon.sklearn import SymbolicRegressor  # noqa: PLC0415 - optional

    model = SymbolicRegressor(
        allowed_symbols=SYMBOLS,
        objectives=["r2", "length"],
        max_length=LONGEST,
        max_evaluations=limits.budget,
        max_time=None if limits.seconds is None else max(1, round(limits.seconds)),
        population_size=500,
        optimizer_iterations=3,
        n_threads=1,  # with one thread the same seed gives the same result
        random_state=seed,
    )
    model.fit(table.inputs.numpy(), table.values.numpy())
    return list(_read(str(found["model"]) for found in model.pareto_front_))


def _read(texts: Iterator[str]) -> Iterator[Node]:
    """Read Operon's expressions, whose variables are X1, X2, ...; what our types do not allow is left out."""
    for text in texts:
        with suppress(ProgramError):
            yield equation_of(re.sub(r"\bX(\d+)\b", lambda found: COLUMNS[int(found[1]) - 1], text))


def _pysr(table: Table, limits: Limits, seed: int) -> Sequence[Node]:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = {"columns": COLUMNS, "maxsize": LONGEST, "max_evals": limits.budget, "seconds": limits.seconds}
        rows = {"inputs": table.inputs.tolist(), "values": table.values.tolist(), "seed": seed, "folder": folder}
        (place / "table.json").write_text(json.dumps({**settings, **rows}))
        _run_pysr(place, limits)
        found = [file for file in place.rglob("hall_of_fame*.csv") if file.is_file()]
        if not found:
            raise LossMLError("PySR wrote no hall of fame; use the engine gp")
        return [entry.program for entry in read_hall_of_fame(found[0]).entries]


def _run_pysr(folder: Path, limits: Limits) -> None:
    """Run PySR in a process of its own: Julia and torch do not share one well."""
    allowed = PATIENCE + (limits.seconds or 0.0)
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and a script of ours
            [sys.executable, str(PYSR), str(folder / "table.json")],
            capture_output=True,
            text=True,
            timeout=allowed,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LossMLError(
            f"PySR did not end within {allowed:.0f} s; give --time-limit, or use the engine gp"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if shutil.which("julia") is None:
            raise UsageError(f"PySR does not run here ({last}); {WITHOUT_PYSR}")
        raise LossMLError(f"PySR failed: {last}")


ENGINES: Mapping[str, Engine] = MappingProxyType({"operon": _operon, "pysr": _pysr})
