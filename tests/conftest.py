"""What every test shares: one thread, reproducible properties, and the real data sets."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

# Before torch is imported, here and in every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

# The same examples on every machine; a slow machine is no failure, and neither is a narrow domain,
# in which hypothesis, which also draws constants it finds in the code, may miss many times over.
settings.register_profile(
    "lossml",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("lossml")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run side by side, and one thread each gives the same sums everywhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _server_ends() -> Iterator[None]:
    """What `multiprocessing` forks processes from has written down its coverage before the tests end."""
    yield
    forkserver._forkserver._stop()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; tests that ask for it run only where LOSSML_DATA names one."""
    root = Path(os.environ["LOSSML_DATA"])
    assert root.is_dir(), f"LOSSML_DATA is {root}, which is no folder"
    return root


@pytest.fixture
def own_module(tmp_path, monkeypatch) -> Callable[[str, str], str]:
    """(name, source) -> name: write a module as a user does, in an empty folder in which lossml then runs."""

    def write(name: str, source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", ["", *sys.path])
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        return name

    return write


def _has_data() -> bool:
    return bool(os.environ.get("LOSSML_DATA"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _has_data():
        return
    reading = [item for item in items if "data_root" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in reading]
    config.hook.pytest_deselected(items=reading)


def pytest_report_header() -> str:
    return f"real data: {os.environ.get('LOSSML_DATA') or 'none, tests that read it are deselected'}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _has_data():
        terminalreporter.write_line("Tests that read real data did not run: set LOSSML_DATA to a folder holding it.")
