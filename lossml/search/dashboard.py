"""A run for optuna-dashboard: a study of its own in memory, so that nothing done there reaches the run's journal."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from lossml.errors import UsageError
from lossml.program import parse
from lossml.search.objective import as_read, read_objective
from lossml.search.reading import RunRecord
from lossml.search.records import State, Trial

HOST = "127.0.0.1"
WITHOUT = "the dashboard needs the package optuna-dashboard; install it with: pip install 'lossml[dashboard]'"
STATES = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}

Draw = Callable[[Trial], Mapping[str, str]]
"""Gives a trial's drawings: SVG documents by name."""


def needs_dashboard() -> None:
    """Check that optuna-dashboard is there.

    Raises:
        UsageError: where it is not, with what to install.
    """
    _library()


def _library() -> tuple[Callable[[optuna.Trial, str], None], Callable[..., Any]]:
    """Return what writes a note, and what makes a web application of a storage."""
    try:
        from optuna_dashboard import (  # pyright: ignore[reportMissingTypeStubs] - its types are not declared as such
            save_note,
            wsgi,  # pyright: ignore[reportUnknownVariableType] - the same
        )
    except ImportError as error:
        raise UsageError(WITHOUT) from error
    return save_note, wsgi  # pyright: ignore[reportUnknownVariableType] - the same


def serve(record: RunRecord, draw: Draw, port: int, ready: Callable[[str], None]) -> None:
    """Show a run in optuna-dashboard until interrupted.

    The dashboard works on a study of its own, filled from the run; what is changed there is gone when it stops.

    Args:
        record: the run.
        draw: draws a trial.
        port: of 127.0.0.1; 0 for any that is free.
        ready: is told the address once it answers.

    Raises:
        UsageError: where optuna-dashboard is not installed, or the port cannot be had.
    """
    _, wsgi = _library()
    with tempfile.TemporaryDirectory(prefix="lossml-dashboard-") as folder:
        server = _server(port)
        with server:
            storage, store = InMemoryStorage(), FileSystemArtifactStore(folder)
            fill(record, draw, storage, store, Path(folder))
            server.set_app(wsgi(storage, artifact_store=store))
            ready(f"http://{HOST}:{server.server_port}/dashboard")
            server.serve_forever()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser holds its connections open


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Say nothing of requests."""


def _server(port: int) -> WSGIServer:
    """Take the port first, so that a taken one is refused before anything is drawn."""
    try:
        return _Server((HOST, port), _Quiet)
    except OSError as error:
        raise UsageError(f"port {port} of {HOST} cannot be had: {error.strerror}; choose another --port") from error


def fill(
    record: RunRecord, draw: Draw, storage: InMemoryStorage, store: FileSystemArtifactStore, folder: Path
) -> optuna.Study:
    """Make a study of a run, with a note and drawings for each trial.

    Args:
        record: the run.
        draw: draws a trial.
        storage: where the study is made.
        store: where drawings are kept.
        folder: where they are written on the way there.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    objective = record.recipe.aim
    direction = "minimize" if read_objective(objective).sign < 0 else "maximize"
    study = optuna.create_study(study_name=record.path.name, storage=storage, direction=direction)
    study.set_user_attr("objective", objective)
    for trial in record.trials:
        _add(study, trial, record, {f"{name}.svg": text for name, text in draw(trial).items()}, (store, folder))
    return study


def _add(
    study: optuna.Study,
    trial: Trial,
    record: RunRecord,
    drawings: Mapping[str, str],
    places: tuple[FileSystemArtifactStore, Path],
) -> None:
    save_note, _ = _library()
    made = study.ask()
    save_note(made, note(trial))
    for key, value in _attributes(trial).items():
        made.set_user_attr(key, value)
    for name, text in drawings.items():
        path = places[1] / name
        path.write_text(text, encoding="utf-8")
        upload_artifact(study_or_trial=made, file_path=str(path), artifact_store=places[0])
    aim = record.recipe.aim
    scores = [as_read(score, aim) for score in trial.scores(aim)]
    for rung, metrics in zip(record.recipe.stages, trial.metrics, strict=False):
        made.report(as_read(metrics.of(aim), aim), rung)
    done = trial.state is State.COMPLETE
    study.tell(made, scores[-1] if done else None, state=STATES[trial.state])


def note(trial: Trial) -> str:
    """Write a trial's note, in Markdown: the formula, and how long it is."""
    program = parse(trial.program)
    return f"```\n{trial.program}\n```\n\n{program.size} nodes on {program.depth} levels"


def _attributes(trial: Trial) -> dict[str, object]:
    found: dict[str, object] = {
        "formula": trial.program,
        "operator": trial.operator,
        "parents": ", ".join(map(str, trial.parents)),
        "size": parse(trial.program).size,
        "scale": trial.scale,
    }
    return {**found, "reason": trial.reason} if trial.reason else found
