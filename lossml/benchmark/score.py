"""How good a trained network is on a split, whichever process computed which part of it.

torchmetrics adds up the metrics over batches and processes; beside them each sample's part in each metric is kept,
which the test of a difference needs (see `lossml.proxy.metrics`).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanMetric, Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from lossml.backend.weighting import IGNORED
from lossml.proxy.metrics import BINS, Answers, Score, answers, parts_of, parts_of_samples, tables

Rows = dict[str, Tensor]
TOP = 5


class BinnedCalibration(Metric):
    """The expected calibration error of the top class in equal bins (Guo et al. 2017).

    torchmetrics has it, too, but keeps every confidence, which the pixels of a data set do not allow.
    """

    full_state_update = False
    higher_is_better = False
    gap: Tensor
    count: Tensor

    def __init__(self) -> None:
        """Begin with empty bins."""
        super().__init__()
        for name in ("gap", "count"):
            self.add_state(name, torch.zeros(BINS, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Take in logits (M, C) and classes (M,)."""
        confidence, answer = logits.softmax(1).max(1)
        place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        self.gap.index_add_(0, place, confidence.double() - (answer == target).double())
        self.count.index_add_(0, place, torch.ones_like(confidence, dtype=torch.float64))

    def compute(self) -> Tensor:
        """Return the error."""
        return self.gap.abs().sum() / self.count.sum()


class Scorer:
    """Takes in batches of answers and gives a score; a leaf.

    Args:
        classes: number of classes.
        masks: whether targets are masks.
        device: of the answers.
    """

    def __init__(self, classes: int, device: torch.device, *, masks: bool) -> None:
        """Begin with nothing."""
        metrics: dict[str, Metric | MetricCollection] = {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "miou": MulticlassJaccardIndex(classes, average="macro"),
            "ece": BinnedCalibration(),
        }
        if not masks and classes > TOP:
            metrics["top5"] = MulticlassAccuracy(classes, top_k=TOP, average="micro")
        self._metrics = MetricCollection(metrics, compute_groups=False).to(device)
        self._nll = MeanMetric().to(device)
        self._classes, self._masks = classes, masks
        self._rows: list[Rows] = []

    def update(self, logits: Tensor, targets: Tensor, numbers: Tensor) -> None:
        """Take in logits (B, C) or (B, C, H, W), classes (B,) or masks (B, H, W), and the samples' numbers (B,)."""
        counts = targets != IGNORED
        flat, classes = logits.float().movedim(1, -1)[counts], targets[counts]
        if len(classes):
            self._metrics.update(flat, classes)
            self._nll.update(functional.cross_entropy(flat.double(), classes, reduction="none").float())
        self._rows.append({"number": numbers.cpu(), **self._row(logits.float().cpu(), targets.cpu())})

    def _row(self, logits: Tensor, targets: Tensor) -> Rows:
        if self._masks:
            return {
                f"{name}/{k}": part for name, both in tables(logits, targets).items() for k, part in enumerate(both)
            }
        found = answers(logits, targets)
        return {
            "targets": found.targets,
            "answer": found.answer,
            "confidence": found.confidence,
            "nll": found.nll,
        }

    def compute(self) -> Score:
        """Return the score of all processes' batches; every process must ask for it."""
        found = {name: float(value) for name, value in self._metrics.compute().items()}
        parts = self._parts(_gathered(self._rows))
        kept = {name: part.float().numpy() for name, part in parts.items()}
        nll, balanced = float(self._nll.compute()), float(parts["balanced_accuracy"].mean())
        return Score(**found, nll=nll, balanced_accuracy=balanced, parts=kept)

    def _parts(self, rows: Rows) -> Mapping[str, Tensor]:
        if self._masks:
            return parts_of({name: (rows[f"{name}/0"], rows[f"{name}/1"]) for name in _names(rows)})
        return parts_of_samples(
            Answers(rows["targets"], rows["answer"], rows["confidence"], rows["nll"], self._classes)
        )


def _names(rows: Rows) -> list[str]:
    return [key.removesuffix("/0") for key in rows if key.endswith("/0")]


def _gathered(rows: list[Rows]) -> Rows:
    """Collect the rows of all processes in the order of the samples."""
    mine: Any = {key: torch.cat([row[key] for row in rows]) for key in rows[0]} if rows else None
    every: list[Any] = [mine]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        every = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(every, mine)
    every = [one for one in every if one is not None]
    order = torch.cat([one["number"] for one in every]).argsort()
    return {key: torch.cat([one[key] for one in every])[order] for key in every[0]}
