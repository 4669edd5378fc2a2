"""What a search trains on: data in three splits, a network, and how long it trains."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lossml.backend.weighting import IGNORED
from lossml.errors import DataError
from lossml.proxy.augment import Augment


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Samples and their classes.

    Attributes:
        inputs: (N, ...), what the network takes; images may be uint8.
        targets: class numbers (N,), or masks (N, H, W) in which IGNORED marks what does not count; int64.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.targets)

    @property
    def counted(self) -> Tensor:
        """Return the class numbers that count, (M,)."""
        return self.targets[self.targets != IGNORED]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """A task for proxy training: classes of samples, or of their pixels where targets are masks.

    Attributes:
        name: for messages.
        classes: number of classes, at least 2.
        train: what networks learn from; label noise and long tails act here alone.
        validation: what the search selects on.
        heldout: what only the confirmation reads.
        network: builds the network; torch's random state decides its initial weights.
        steps: optimizer steps of full training, a multiple of 16.
        batch_size: samples a step.
        learning_rate: of AdamW at its peak; a run's own rate is a multiple of it.
        weight_decay: of AdamW.
        augment: changes a batch of inputs (B, ...) and its targets; draws from the generator alone.
        group: how many networks train as one batched network; 1 for networks with dropout, and for convolutions unless
            they are matrix products.
        bfloat16: train the network in bfloat16 under autocast.
        compiled: on a GPU, the number of networks together from which their passes are compiled, which takes up to a
            minute once; 0 for never.
    """

    name: str
    classes: int
    train: Split
    validation: Split
    heldout: Split
    network: Callable[[], nn.Module]
    steps: int
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    augment: Augment | None = None
    group: int = 1
    bfloat16: bool = False
    compiled: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained on, with the reason."""
        if self.classes < 2:
            raise DataError(f"task {self.name!r}: classes is {self.classes}; there must be at least 2")
        if self.steps < 16 or self.steps % 16:
            raise DataError(f"task {self.name!r}: steps is {self.steps}; it must be a positive multiple of 16")
        for name in ("train", "validation", "heldout"):
            self._check(name, getattr(self, name))
        if self.batch_size > len(self.train):
            raise DataError(f"task {self.name!r}: a batch of {self.batch_size} is larger than the training split")

    def _check(self, name: str, split: Split) -> None:
        if not len(split) or len(split.inputs) != len(split):
            raise DataError(
                f"task {self.name!r}: its {name} split has {len(split.inputs)} inputs and {len(split)} targets"
            )
        if not len(split.counted):
            raise DataError(f"task {self.name!r}: every pixel of its {name} split is ignored")
        low, high = int(split.counted.min()), int(split.counted.max())
        if low < 0 or high >= self.classes:
            raise DataError(
                f"task {self.name!r}: its {name} split holds class {high if low >= 0 else low}; "
                f"there are classes 0 to {self.classes - 1}"
            )

    @property
    def pixels(self) -> int:
        """Number of pixels of a mask; 1 where a sample has one class."""
        return self.train.targets[0].numel()

    @property
    def prior(self) -> tuple[float, ...]:
        """Share of each class in the training split; a class that is not there counts as one sample or pixel."""
        counts = torch.bincount(self.train.counted, minlength=self.classes).clamp_min(1).double()
        return tuple((counts / counts.sum()).tolist())
