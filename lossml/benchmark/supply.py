"""From a data set to batches: three uses of the data, transforms, and an order that any step can be entered at.

What a sample looks like never follows from the process that reads it or from what was read before. A picture from a
file follows from (seed, epoch, sample) alone. Images in memory are augmented a batch at a time, by one draw made of
(seed, epoch, first sample): a sample there follows from the batch it is in too, and with it from the number of devices
that share a batch. A training that was killed goes on with the very batches it would have had, on as many devices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lossml.backend.weighting import IGNORED
from lossml.benchmark import sources
from lossml.benchmark.recipe import Training
from lossml.benchmark.sources import Files, Labelled, Tensors
from lossml.errors import DataError, UsageError
from lossml.proxy.augment import flip_and_shift
from lossml.proxy.masks import Pair
from lossml.proxy.task import Split

CHOICE = 0  # seed of which samples are split off; the same for every training
PRIOR_MASKS = 500  # masks that class shares are counted on
GREY = 127  # what images are filled up with

Key = tuple[int, int]
"""A sample's number and its draw: the seed of its augmentation, 0 for none."""
Batch = tuple[Tensor, Tensor, Tensor]
"""Images (B, 3, H, W) of uint8, classes (B,) or masks (B, H, W), and the samples' numbers (B,)."""


class Supply(Protocol):
    """Samples that are read in batches."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Read a batch."""
        ...

    def targets(self, numbers: Sequence[int]) -> Tensor:
        """Read classes (B,), or masks (B, H, W) as they are scored, of samples by number; no image is read."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A data set in its three uses.

    Attributes:
        classes: number of classes.
        train: what networks learn from.
        validation: what learning rates are chosen on.
        heldout: what is read once per final training.
        pixels: of a training mask; 1 for classes.
        masks: whether targets are masks.
    """

    classes: int
    train: Supply
    validation: Supply
    heldout: Supply
    pixels: int
    masks: bool

    def prior(self) -> tuple[float, ...]:
        """Count each class's share of the training data, of masks on the first of a random order; none is 0."""
        numbers = order(len(self.train), CHOICE).tolist()
        chosen, together = (numbers[:PRIOR_MASKS], 16) if self.masks else (numbers, len(numbers))
        counts = torch.zeros(self.classes, dtype=torch.float64)
        for start in range(0, len(chosen), together):
            target = self.train.targets(chosen[start : start + together])
            counts += torch.bincount(target[target != IGNORED], minlength=self.classes)
        return tuple((counts.clamp_min(1) / counts.clamp_min(1).sum()).tolist())


def order(count: int, seed: int) -> Tensor:
    """Return a random order of `count` samples."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def mixed(*numbers: int) -> int:
    """Make one positive seed of several numbers."""
    seed = 1
    for number in numbers:
        seed = (seed * 1_000_003 + number + 12_345) % (2**61 - 1)
    return seed + 1


@lru_cache(maxsize=2)
def load(recipe: Training, data_root: str | None) -> Data:
    """Open a recipe's data.

    Raises:
        DataError: where it is missing or incomplete; UsageError where the recipe does not fit it.
    """
    found = sources.read(recipe.data, data_root)
    masks = isinstance(found, Files) and found.void is not None
    if (recipe.augment == "scale") != masks and recipe.augment != "none":
        raise UsageError(f"augment is {recipe.augment!r}; {recipe.data} has {'masks: scale' if masks else 'classes'}")
    data = _of_tensors(found, recipe) if isinstance(found, Tensors) else _of_files(found, recipe)
    if len(data.train) < recipe.batch_size:
        raise DataError(
            f"{recipe.data} has {len(data.train)} training samples, fewer than a batch of {recipe.batch_size}; "
            "give --set batch_size=..."
        )
    return data


def _shares(count: int, recipe: Training, *, heldout: bool, validation: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the training, validation and held-out samples of `count`, where the latter two are asked for."""
    shuffled = order(count, CHOICE)
    held = count // 5 if heldout else 0
    rest = shuffled[held:]
    most = min(len(rest), recipe.train_size or len(rest))
    val = max(1, round(recipe.validation * most)) if validation else 0
    return rest[val:most] if recipe.train_size else rest[val:], rest[:val], _first(shuffled[:held], recipe)


def _first(chosen: Tensor, recipe: Training) -> Tensor:
    return chosen[: recipe.heldout_size] if recipe.heldout_size else chosen


def _heldout(count: int, recipe: Training) -> Tensor:
    """Choose samples of an official held-out split: all, or some in a random order."""
    return _first(order(count, CHOICE), recipe).sort().values


def _of_tensors(found: Tensors, recipe: Training) -> Data:
    train, val, _ = _shares(len(found.train), recipe, heldout=False, validation=found.validation is None)
    validation = _chosen(found.train, val) if found.validation is None else found.validation
    parts = _chosen(found.train, train), validation, _chosen(found.heldout, _heldout(len(found.heldout), recipe))
    return Data(found.classes, *(InMemory(split, recipe) for split in parts), pixels=1, masks=False)


def _chosen(split: Split, chosen: Tensor) -> Split:
    return Split(split.inputs[chosen], split.targets[chosen])


def _of_files(found: Files, recipe: Training) -> Data:
    train, val, held = _shares(len(found.train), recipe, heldout=not found.heldout, validation=not found.validation)
    heldout = [found.heldout[k] for k in _heldout(len(found.heldout), recipe).tolist()] if found.heldout else None
    parts = (
        [found.train[k] for k in train.tolist()],
        found.validation or [found.train[k] for k in val.tolist()],
        heldout or [found.train[k] for k in held.tolist()],
    )
    height, width = recipe.size
    pixels = 1 if found.void is None else height * width
    supplies = (Pictures(part, recipe, found.void, found.classes) for part in parts)
    return Data(found.classes, *supplies, pixels=pixels, masks=found.void is not None)


class InMemory:
    """A split whose images lie in memory; a batch is an index.

    Args:
        split: its images and classes.
        recipe: says size and augmentation.
    """

    def __init__(self, split: Split, recipe: Training) -> None:
        """Keep the split."""
        self._split, self._recipe = split, recipe

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._split)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Read a batch, mirrored and shifted together where its draw asks for it."""
        numbers = torch.tensor([number for number, _ in keys])
        images, targets = self._split.inputs[numbers], self._split.targets[numbers]
        images = _sized(images.expand(-1, 3, -1, -1), self._recipe.size)
        if keys[0][1] and self._recipe.augment != "none":
            images, _ = flip_and_shift(images, targets, torch.Generator().manual_seed(mixed(*keys[0])))
        return images, targets, numbers

    def targets(self, numbers: Sequence[int]) -> Tensor:
        """Read classes by number."""
        return self._split.targets[torch.as_tensor(numbers)]


def _sized(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2:] == size:
        return images
    from torchvision.transforms.v2 import functional

    return functional.resize(images, list(size), antialias=True)


class Pictures:
    """A split whose pictures are read from files; torchvision's transforms, masks with them.

    Args:
        samples: pictures with their classes or masks.
        recipe: says sizes and augmentation.
        void: value of a mask's pixels that do not count; None for classes.
        classes: number of classes.
    """

    def __init__(self, samples: Sequence[Labelled | Pair], recipe: Training, void: int | None, classes: int) -> None:
        """Build the transforms."""
        self._samples, self._void, self._classes = samples, void, classes
        self._learning, self._scoring = _transforms(recipe, masks=void is not None)
        self._boxed = Boxed(recipe.resize)
        self._kept: dict[int, tuple[Any, Any]] | None = {} if recipe.cache else None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._samples)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """Read a batch."""
        rows = [self._drawn(number, draw) for number, draw in keys]
        images = torch.stack([torch.as_tensor(image) for image, _ in rows])
        targets = torch.stack([torch.as_tensor(target) for _, target in rows]).long()
        return images, targets, torch.tensor([number for number, _ in keys])

    def targets(self, numbers: Sequence[int]) -> Tensor:
        """Read classes, or masks fitted as for scoring, and no picture."""
        return torch.stack([torch.as_tensor(self._target_alone(number)) for number in numbers]).long()

    def _target_alone(self, number: int) -> Any:  # noqa: ANN401 - a tv_tensor or a number
        image, target = self._samples[number]
        found = self._target(target, image)
        return found if isinstance(target, int) else self._boxed.mask(found)

    def _drawn(self, number: int, draw: int) -> tuple[Tensor, Any]:
        image, target = self._decoded(number)
        if not draw:
            return self._scoring(image, target)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed(number, draw))
            return self._learning(image, target)

    def _decoded(self, number: int) -> tuple[Any, Any]:
        if self._kept is not None and number in self._kept:
            return self._kept[number]
        image, target = self._samples[number]
        found = picture(image), self._target(target, image)
        if self._kept is not None:
            self._kept[number] = found
        return found

    def _target(self, target: Path | int, image: Path) -> Any:  # noqa: ANN401 - a tv_tensor or a number
        if isinstance(target, int):
            return target
        return mask(target, image, self._void, self._classes)


def picture(path: Path) -> Any:  # noqa: ANN401 - a tv_tensor
    """Read a picture as an image of uint8 (3, H, W); a DataError where it cannot be read."""
    from torchvision import tv_tensors

    try:
        with Image.open(path) as found:
            pixels = np.array(found.convert("RGB"))
    except OSError as error:
        raise DataError(f"{path} cannot be read as an image: {error}; get it again") from error
    return tv_tensors.Image(torch.as_tensor(pixels).permute(2, 0, 1).contiguous())


def mask(path: Path, image: Path, void: int | None, classes: int) -> Any:  # noqa: ANN401 - a tv_tensor
    """Read a mask of class numbers (H, W), IGNORED where it is void; a DataError where it is none."""
    from torchvision import tv_tensors

    try:
        with Image.open(path) as found:
            pixels = torch.as_tensor(np.array(found)).to(torch.int16)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a mask: {error}; get it again") from error
    if pixels.dim() != 2:
        raise DataError(f"{path} has shape {tuple(pixels.shape)}; the mask of {image.name} has one number a pixel")
    pixels[pixels == void] = IGNORED
    if int(pixels.max()) >= classes:
        raise DataError(f"{path} holds the value {int(pixels.max())}; there are classes 0 to {classes - 1}")
    return tv_tensors.Mask(pixels)


def _transforms(recipe: Training, *, masks: bool) -> tuple[Any, Any]:
    """Build torchvision's transforms for learning and for scoring."""
    from torchvision.transforms import v2

    if masks:
        return _with_masks(recipe)
    shorter, size = min(recipe.resize), list(recipe.size)
    scoring = v2.Compose([v2.Resize(shorter, antialias=True), v2.CenterCrop(size)])
    if recipe.augment == "none":
        return scoring, scoring
    crop = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
    return v2.Compose(crop + ([v2.RandAugment()] if recipe.augment == "randaugment" else [])), scoring


def _with_masks(recipe: Training) -> tuple[Any, Any]:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    fill: dict[Any, Any] = {tv_tensors.Image: GREY, tv_tensors.Mask: IGNORED}
    scoring = Boxed(recipe.resize)
    if recipe.augment == "none":
        return scoring, scoring
    low, high = (round(scale * min(recipe.resize)) for scale in recipe.scales)
    crop = v2.RandomCrop(list(recipe.size), pad_if_needed=True, fill=fill)
    return v2.Compose([v2.RandomResize(low, high + 1, antialias=True), crop, v2.RandomHorizontalFlip()]), scoring


class Boxed:
    """Fits an image with its mask into a box: reduced where it is larger, then filled up, masks with void.

    Args:
        box: height and width.
    """

    def __init__(self, box: tuple[int, int]) -> None:
        """Keep the box."""
        self._box = box

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:  # noqa: ANN401 - tv_tensors
        """Fit an image and its mask."""
        from torchvision.transforms.v2 import InterpolationMode

        size = self._size(image)
        return self._filled(image, size, GREY, InterpolationMode.BILINEAR), self._mask(target, size)

    def mask(self, target: Any) -> Any:  # noqa: ANN401 - a tv_tensor
        """Fit a mask without its image."""
        return self._mask(target, self._size(target))

    def _size(self, found: Any) -> list[int]:  # noqa: ANN401 - a tv_tensor
        share = min(1.0, *(room / side for room, side in zip(self._box, found.shape[-2:], strict=True)))
        return [max(1, round(share * side)) for side in found.shape[-2:]]

    def _mask(self, target: Any, size: list[int]) -> Any:  # noqa: ANN401 - a tv_tensor
        from torchvision.transforms.v2 import InterpolationMode

        return self._filled(target, size, IGNORED, InterpolationMode.NEAREST)

    def _filled(self, found: Any, size: list[int], fill: int, mode: Any) -> Any:  # noqa: ANN401 - a tv_tensor, an enum
        from torchvision.transforms.v2 import functional

        if list(found.shape[-2:]) != size:
            found = functional.resize(found, size, interpolation=mode, antialias=True)
        return functional.pad(found, [0, 0, self._box[1] - size[1], self._box[0] - size[0]], fill=fill)


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of every batch a process computes: process `rank` of `world`."""

    rank: int = 0
    world: int = 1

    def of(self, count: int) -> slice:
        """Return this process's part of `count` samples; the parts are of one size."""
        size = count // self.world
        return slice(self.rank * size, (self.rank + 1) * size)


@dataclass(frozen=True, slots=True)
class Batches:
    """The training batches of a process from a step on: a fresh random order each epoch, the last odd batch left out.

    Attributes:
        count: number of training samples.
        size: samples of a batch, of all processes together.
        seed: of the order and of augmentation.
        start: step to begin with.
        stop: step to end before.
        share: this process's part.
    """

    count: int
    size: int
    seed: int
    start: int
    stop: int
    share: Share

    def __iter__(self) -> Iterator[list[Key]]:
        """Yield the keys of each batch."""
        steps = self.count // self.size
        for step in range(self.start, self.stop):
            epoch, place = divmod(step, steps)
            chosen = _epoch(self.count, self.seed, epoch)[place * self.size : (place + 1) * self.size]
            draw = mixed(self.seed, epoch, 1)
            yield [(number, draw) for number in chosen[self.share.of(self.size)].tolist()]

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.stop - self.start


@lru_cache(maxsize=4)
def _epoch(count: int, seed: int, epoch: int) -> Tensor:
    return order(count, mixed(seed, epoch))


def unaugmented(count: int, size: int, share: Share) -> list[list[Key]]:
    """Return a process's batches for scoring: every sample once, by no two processes."""
    mine = range(share.rank, count, share.world)
    return [[(k, 0) for k in mine[start : start + size]] for start in range(0, len(mine), size)]


def loader(supply: Supply, batches: Any, workers: int, *, pinned: bool) -> DataLoader[Batch]:  # noqa: ANN401 - an iterable of keys
    """Read batches, with some processes where `workers` is not 0."""
    dataset: Any = supply
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=_as_it_is, pin_memory=pinned)


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401 - the loader knows lists of samples, and this is a batch
    return batch
