"""The journal: an Optuna study in an append-only file, one line a fact.

A line is either whole or not there. A cohort's results are one line, so that they are known
together; the study's trials are then added from it, each one line again. Whatever is killed, the
next start adds what is missing, and no trial is trained or added twice.
"""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from lossml.errors import RunError
from lossml.search.recorded import STUDY, Recorded, read_cohorts, written
from lossml.search.records import RUNGS, Cohort, State, Trial, as_json

OBJECTIVE = "objective"
_STATES = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAILED: TrialState.FAIL}


class _Bare(JournalFileBackend):
    """A journal's file that shows which studies and trials there are, with states and values, and nothing else of them.

    Optuna keeps in memory whatever it reads back of the lines it writes: each trial twice, in its cohort and alone. The
    names of a study's attributes stay, as Optuna counts on one in each such line.
    """

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any]]:
        """Yield the operations from one on."""
        for log in super().read_logs(log_number_from):
            names = dict.fromkeys(log.get("user_attr", ()))
            yield {**log, "user_attr": names, "user_attrs": {}, "intermediate_values": {}}


def _mend(path: Path) -> None:
    """Cut off a last line that a kill left unfinished, and remove the lock that it left.

    Every line before is whole. The caller holds the run's folder: nobody else is writing.
    """
    for lock in path.parent.glob(f"{path.name}.lock*"):
        lock.unlink(missing_ok=True)
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            file.truncate(end)


def _storage(path: Path, kind: type[JournalFileBackend] = JournalFileBackend) -> JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return JournalStorage(kind(str(path)))
    except (ValueError, KeyError) as error:
        raise RunError(f"{path} is damaged ({error}); the run cannot be used, start another") from error


def open_study(path: Path, name: str, *, bare: bool = False) -> optuna.Study:
    """Open or create a study in a journal file for writing, mending the file's end.

    Args:
        path: of the journal file.
        name: of the study.
        bare: whether the study need not know what its attributes and its trials say, and so does not keep it in memory.

    Raises:
        RunError: where the file is damaged before its end.
    """
    _mend(path)
    storage = _storage(path, _Bare if bare else JournalFileBackend)
    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


def read_study(path: Path, name: str) -> optuna.Study | None:
    """Open a study for reading; None where there is none yet. Nothing is written: a search may be going on.

    Raises:
        RunError: where the file is damaged before its end.
    """
    if not path.exists():
        return None
    storage = _storage(path)
    there = name in optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage) if there else None


class Journal:
    """The cohorts and trials of a search in a journal file; a leaf, one writer at a time.

    Args:
        path: of the journal file.
        objective: what the trials' values are.
        rungs: the fidelities they were taken at.
    """

    def __init__(self, path: Path, objective: str, rungs: Sequence[int] = RUNGS) -> None:
        """Open or create the study and add the trials that a kill left out."""
        self._path, self._study = path, open_study(path, STUDY, bare=True)
        self._objective, self._rungs = objective, rungs
        self._study.set_user_attr(OBJECTIVE, objective)
        for _, trials in self.cohorts():
            self._add(trials)

    def cohorts(self) -> Recorded:
        """Return the recorded cohorts with their trials, in order."""
        return read_cohorts(self._path)

    def record(self, cohort: Cohort, trials: Sequence[Trial]) -> None:
        """Write a cohort's results in one line, then add its trials to the study."""
        self._study.set_user_attr(*written(cohort, trials))
        self._add(trials)

    def _add(self, trials: Sequence[Trial]) -> None:
        there = len(self._study.get_trials(deepcopy=False))
        for trial in trials:
            if trial.number >= there:
                self._study.add_trial(_frozen(trial, self._objective, self._rungs))


def _frozen(trial: Trial, objective: str, rungs: Sequence[int]) -> FrozenTrial:
    attributes = {key: value for key, value in as_json(trial).items() if key not in {"number", "state"}}
    scores, reported = trial.scores(objective), [m.of(objective) for m in trial.metrics]
    return create_trial(
        state=_STATES[trial.state],
        value=scores[-1] if scores and trial.state is not State.FAILED else None,
        intermediate_values=dict(zip(rungs, reported, strict=False)),
        user_attrs=attributes,
    )
