"""Proxy training: data, small networks, and the trainer of many networks at once. Losses are callables here."""

from lossml.backend.weighting import IGNORED
from lossml.proxy.data import DataStatus
from lossml.proxy.jobs import Facts
from lossml.proxy.metrics import Score
from lossml.proxy.task import Split, Task
from lossml.proxy.tasks import TaskSpec, datasets_status, load_task, task_names
from lossml.proxy.train import Outcome, Run, TrainingState
from lossml.proxy.trainer import Trainer

__all__ = [
    "IGNORED",
    "DataStatus",
    "Facts",
    "Outcome",
    "Run",
    "Score",
    "Split",
    "Task",
    "TaskSpec",
    "Trainer",
    "TrainingState",
    "datasets_status",
    "load_task",
    "task_names",
]
