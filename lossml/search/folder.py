"""The folder of a run: recipe, provenance, journal, verdict. Files are written beside and renamed."""

import fcntl
import json
import os
import platform
import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from lossml.errors import LossMLError, RunError
from lossml.search.recipe import Recipe, read_toml

RECIPE, RUN, JOURNAL, VERDICT, LOCK = "recipe.toml", "run.json", "journal.log", "verdict.json", "lock"
SUMMARY, TASKS = "summary.json", "tasks.json"
CONTROL = "control"  # folder of the control, within the run's
ROOT = "runs"
TASK, ALSO = "task", "also"  # keys of RUN: facts of the run's task, and of those in `also_on`
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and rename it, so that no kill leaves half of it.

    Raises:
        RunError: where it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise RunError(f"cannot write {path}: it is there and no ordinary file; choose another place")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except OSError as error:
        Path(beside).unlink(missing_ok=True)
        raise RunError(f"cannot write {path}: {error.strerror}; choose another place") from error


def create(recipe: Recipe, name: str | None = None, root: str = ROOT) -> Path:
    """Make a run's folder with its recipe in it.

    Args:
        recipe: what the run is to do.
        name: of the folder; None for the data set, the seed and, where taken, a number.
        root: where runs lie.

    Raises:
        RunError: where a folder of the name given is there already, or cannot be made.
    """
    if name and not _NAME.fullmatch(name):
        raise RunError(f"--name is {name[:50]!r}; it must be 1 to 100 letters, digits, dots, hyphens or underscores")
    base = name or f"{re.sub(r'[^A-Za-z0-9.]+', '-', recipe.dataset).strip('-')}-seed{recipe.seed}"
    folder = Path(root) / base
    number = 2
    while folder.exists():
        if name:
            raise RunError(f"{folder} is there already; go on with --resume {folder}, or choose another --name")
        folder = Path(root) / f"{base}-{number}"
        number += 1
    write_atomically(folder / RECIPE, recipe.to_toml())
    return folder


def provenance(folder: Path, **facts: object) -> None:
    """Write when, with what and where a run started; kept when it is resumed."""
    if (folder / RUN).exists():
        return
    found = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("lossml", "torch", "torchvision", "optuna", "numpy")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        **_card(str(facts.get("device", ""))),
        **facts,
    }
    write_atomically(folder / RUN, json.dumps(found, indent=2) + "\n")


def read_provenance(folder: Path) -> dict[str, Any]:
    """Return what `provenance` wrote; empty where it is missing or no JSON object."""
    try:
        found: object = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def check_device(folder: Path, device: str) -> None:
    """Refuse to go on with a run on another kind of device: its results would not be those of the trials before.

    Raises:
        RunError: where the run was started on another kind.
    """
    started = str(read_provenance(folder).get("device", device))  # nothing was trained yet, or nobody knows where
    if started.split(":", maxsplit=1)[0] != device.split(":", maxsplit=1)[0]:
        raise RunError(
            f"{folder} was started on {started}, and this is {device}; resume it where there is {started}, "
            "or start another run"
        )


def check_tasks(folder: Path, tasks: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to go on with a run whose tasks have changed since: its trials would be compared across two of them.

    Args:
        folder: of the run.
        tasks: facts of its tasks as they are now, as JSON has them; its own first, then those it trains on too.

    Raises:
        RunError: where a fact is another, such as the number of samples, the network's weights or the precision.
    """
    found = read_provenance(folder)
    for started, task in zip([found.get(TASK), *found.get(ALSO, [])], tasks, strict=False):
        _check_task(folder, cast("dict[str, Any]", started if isinstance(started, dict) else {}), task)


def _check_task(folder: Path, started: Mapping[str, Any], task: Mapping[str, Any]) -> None:
    for name in sorted(task, key="prior".__eq__):  # which is long, and another where the samples are others
        if (before := started.get(name, task[name])) != task[name]:
            raise RunError(
                f"{folder} was started with {name} = {before}, and now its task {task['name']} has {task[name]}: its "
                "data, its network, the processor or LossML are others; go on as it was started, or start another run"
            )


def _card(device: str) -> dict[str, str]:
    """Name the GPU that trains."""
    if not device.startswith("cuda"):
        return {}
    import torch  # noqa: PLC0415 - reading a run needs none

    return {"gpu": torch.cuda.get_device_name(device)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {os.cpu_count()} cores" if names else platform.processor()


@contextmanager
def held(folder: Path) -> Generator[None]:
    """Hold a folder while writing in it; the system lets go of it when the process dies.

    Raises:
        RunError: where another search or benchmark holds it.
    """
    try:
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise RunError(f"cannot write in {folder}: {error.strerror}; choose another place") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"another search or benchmark is running in {folder}; wait for its end, or choose another folder"
            ) from error
        yield


@contextmanager
def reading(folder: Path, remedy: str = "start another run") -> Generator[None]:
    """Read what lies in a folder; a RunError with the remedy where it is not what was written there."""
    try:
        yield
    except LossMLError:
        raise
    except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder} is damaged, or of another version ({type(error).__name__}: {error}); {remedy}"
        ) from error


def read_recipe(folder: Path) -> Recipe:
    """Read a run's recipe; a RunError where the folder is no run."""
    if not (folder / RECIPE).is_file():
        raise RunError(f"{folder} is no run: it has no {RECIPE}; `lossml search --dataset digits` makes one")
    found = read_toml(folder / RECIPE)
    if "dataset" not in found:
        raise RunError(f"{folder / RECIPE} is damaged: it names no data set; start another run")
    old = {"network": "small"}  # what every run trained before there were two
    return Recipe(**cast("dict[str, Any]", old | found))


def read_result(path: Path) -> dict[str, Any]:
    """Read a file of results; a RunError where it is not there or damaged."""
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RunError(f"{path} is not there; run its benchmark to the end") from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}; delete it and run its benchmark again") from error


def latest(root: str = ROOT) -> Path:
    """Return the run that was worked on last; a RunError where there is none."""
    runs = [path.parent for path in Path(root).glob(f"*/{RECIPE}")]
    if not runs:
        raise RunError(f"there is no run in {Path(root).resolve()}; `lossml search --dataset digits` makes one")
    return max(runs, key=lambda run: ((run / JOURNAL if (run / JOURNAL).exists() else run).stat().st_mtime, run.name))
