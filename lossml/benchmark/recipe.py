"""Recipes of full training: plain data from shipped TOML or a file, checked key by key."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from lossml.errors import RecipeError
from lossml.resources import is_file, recipes_folder
from lossml.search.objective import RULE, is_objective
from lossml.search.recipe import parsed_toml
from lossml.search.records import FULL
from lossml.search.rules import FLAG, TEXT, Rule, checked, number, one_of, several, whole

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("cosine", "step", "plateau", "constant")
PRECISIONS = ("auto", "32-true", "bf16-mixed")
AUGMENTS = ("none", "shift", "crop", "randaugment", "scale")
SHORT = "short"  # the table of a recipe that makes it short


@dataclass(frozen=True, slots=True)
class Training:
    """A recipe of full training.

    Attributes:
        name: of the recipe, "-short" behind it where it is the short variant.
        data: a data set's name; see `sources`.
        network: a network's name; see `networks`.
        width: output channels of the first stage of a small network; others have theirs.
        depth: blocks in each stage of a small network.
        stem: stride of the first convolution of a small network.
        epochs: passes over the training split.
        batch_size: samples an optimizer step, over all devices and accumulated parts together.
        accumulate: parts in which a batch is computed.
        optimizer: "sgd", "adam" or "adamw".
        learning_rate: at its peak; a loss's own rate is a multiple of it.
        momentum: of SGD.
        weight_decay: of SGD and Adam as a part of the gradient, of AdamW apart from it.
        decay_norms: whether biases and normalisation weights decay, too.
        schedule: "cosine", "step", "plateau" or "constant".
        step_epochs: epochs between two steps; for "plateau" those without gain before one.
        step_factor: what a step multiplies the learning rate by.
        lowest_rate: share of the peak that the learning rate does not fall below.
        warmup: share of the epochs over which the learning rate rises from 1% of its peak.
        clip: largest norm of the gradient; 0 for any.
        ema: decay of the weights' exponential moving average, which is scored then; 0 for none.
        precision: "auto" for bfloat16 on GPUs that have it and 32 bits elsewhere, "32-true" or "bf16-mixed".
        compile: whether torch.compile is used.
        size: height and width of training images.
        resize: height and width images are evaluated at: of classes, the shorter side before the middle of `size`
            is cut out; of masks, the box that an image is reduced to fit, and filled up to with void.
        augment: "none"; "shift" for tensors; "crop" or "randaugment" for images; "scale" for images with masks.
        scales: of masks under "scale", smallest and largest, of the shorter side of `resize`.
        cache: whether decoded images are kept in memory.
        objective: what is compared.
        validation: share of the training data that learning rates are chosen on.
        train_size: training samples used; 0 for all.
        heldout_size: samples of the held-out split used; 0 for all.
        losses: what is compared where nothing is asked for; the first is the reference.
        learning_rates: multiples every loss is tuned over.
        tuning: length of a training that chooses a learning rate, in sixteenths of `epochs`.
        tuning_seeds: seeds that the score of each learning rate is the mean of.
        seeds: paired seeds.
        alpha: chance of calling equal losses different.
        match_gradients: whether every loss trains with its gradient scaled to cross-entropy's at the start.
        needs: what it takes, in words.
    """

    name: str
    data: str
    network: str
    epochs: int
    batch_size: int
    learning_rate: float
    size: tuple[int, int]
    resize: tuple[int, int]
    width: int = 16
    depth: int = 1
    stem: int = 1
    accumulate: int = 1
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_norms: bool = True
    schedule: str = "cosine"
    step_epochs: float = 30
    step_factor: float = 0.1
    lowest_rate: float = 0.0
    warmup: float = 0.0
    clip: float = 0.0
    ema: float = 0.0
    precision: str = "auto"
    compile: bool = False
    augment: str = "none"
    scales: tuple[float, float] = (0.5, 2.0)
    cache: bool = False
    objective: str = "accuracy"
    validation: float = 0.1
    train_size: int = 0
    heldout_size: int = 0
    losses: tuple[str, ...] = ("ce", "label-smoothing", "poly1", "ngl")
    learning_rates: tuple[float, ...] = (0.3, 1.0, 3.0)
    tuning: int = FULL
    tuning_seeds: int = 1
    seeds: int = 3
    alpha: float = 0.05
    match_gradients: bool = True
    needs: str = ""

    def lasting(self, sixteenths: int) -> "Training":
        """Return the same training over some sixteenths of its epochs, the schedule run through to its end."""
        if sixteenths == FULL:
            return self
        epochs = max(1, round(self.epochs * sixteenths / FULL))
        steps = self.step_epochs if self.schedule == "plateau" else self.step_epochs * epochs / self.epochs
        return replace(self, epochs=epochs, step_epochs=steps)


def _pair(rule: Rule, what: str) -> Rule:
    every, text = several(rule, what)
    return (lambda v: every(v) and len(cast("tuple[object, ...]", v)) == 2, f"{text}, two of them")


_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "data": (lambda v: isinstance(v, str) and bool(v), "must name a data set; `lossml data` lists them"),
        "network": (lambda v: isinstance(v, str) and bool(v), "must name a network"),
        "width": whole(
            8, 1024
        ),  # with 4, convolutions of torch 2.15 on a CPU, channels last, write beyond their memory
        "depth": whole(1, 64),
        "stem": whole(1, 4),
        "epochs": whole(1, 10_000),
        "batch_size": whole(2, 65_536),
        "accumulate": whole(1, 1024),
        "optimizer": one_of(OPTIMIZERS),
        "learning_rate": number(1e-9, 1e3),
        "momentum": number(0.0, 0.9999),
        "weight_decay": number(0.0, 10.0),
        "decay_norms": FLAG,
        "schedule": one_of(SCHEDULES),
        "step_epochs": number(0.01, 10_000.0),
        "step_factor": number(0.0, 1.0),
        "lowest_rate": number(0.0, 1.0),
        "warmup": number(0.0, 0.9),
        "clip": number(0.0, 1e6),
        "ema": number(0.0, 0.999999),
        "precision": one_of(PRECISIONS),
        "compile": FLAG,
        "size": _pair(whole(8, 4096), "numbers of pixels from 8 to 4096"),
        "resize": _pair(whole(8, 4096), "numbers of pixels from 8 to 4096"),
        "augment": one_of(AUGMENTS),
        "scales": _pair(number(0.05, 20.0), "numbers from 0.05 to 20"),
        "cache": FLAG,
        "objective": (is_objective, RULE),
        "validation": number(0.001, 0.5),
        "train_size": whole(0, 1_000_000_000),
        "heldout_size": whole(0, 1_000_000_000),
        "losses": several(TEXT, "losses"),
        "learning_rates": several(number(1e-6, 1e6), "positive numbers"),
        "tuning": whole(1, FULL),
        "tuning_seeds": whole(1, 1000),
        "seeds": whole(2, 1000),
        "alpha": number(1e-6, 0.5),
        "match_gradients": FLAG,
        "needs": TEXT,
    }
)


def folder() -> Path:
    """Return the folder of the shipped recipes of full training."""
    return recipes_folder() / "benchmark"


def names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def is_recipe(name: str) -> bool:
    """Say whether a name, or the path of a TOML file, means a recipe of full training."""
    return name in names() or (name.endswith(".toml") and is_file(Path(name)))


def check_recipe_name(name: str) -> None:
    """Refuse a name that is no recipe; a RecipeError says what there is."""
    if not is_recipe(name):
        near = get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names())}"
        raise RecipeError(f"no recipe of full training {name!r}; {hint}")


def read(name: str, given: Mapping[str, object] | None = None, *, short: bool = False) -> Training:
    """Read a recipe.

    Args:
        name: of a shipped recipe, or the path of a TOML file.
        given: keys that win over the file's.
        short: whether the table [short] wins over the rest of the file.

    Raises:
        RecipeError: where it is not there, lacks a key, or holds an unknown key or a bad value.
    """
    check_recipe_name(name)
    path = folder() / f"{name}.toml" if name in names() else Path(name)
    written = parsed_toml(path)
    changes = _short_of(written.pop(SHORT, None), name) if short else {}
    written.pop(SHORT, None)
    layers = (written, str(path)), (changes, f"{path} [{SHORT}]"), (given or {}, "option")
    values = {key: checked(key, value, where, _RULES) for layer, where in layers for key, value in layer.items()}
    values["name"] = f"{path.stem}-{SHORT}" if short else path.stem
    return _checked(_made(values, path))


def _short_of(found: object, name: str) -> Mapping[str, object]:
    if not isinstance(found, dict):
        raise RecipeError(f"{name} has no short variant; leave --short out")
    return cast("Mapping[str, object]", found)


def _made(values: dict[str, Any], path: Path) -> Training:
    required = [f.name for f in fields(Training)[1:8]]  # those without a default
    missing = [key for key in required if key not in values]
    if missing:
        raise RecipeError(f"{path} lacks {', '.join(missing)}; a recipe must say them")
    return Training(**values)


def _checked(recipe: Training) -> Training:
    """Check what several keys say together."""
    if recipe.batch_size % recipe.accumulate:
        raise RecipeError(
            f"{recipe.name}: batch_size is {recipe.batch_size}, accumulate {recipe.accumulate}; "
            "the parts of a batch must be of one size"
        )
    return recipe


def settings(pairs: Sequence[str]) -> dict[str, object]:
    """Read "KEY=VALUE" pairs as TOML reads them, a bare word as a text.

    Raises:
        RecipeError: for what is no such pair.
    """
    found: dict[str, object] = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key.strip() or "\n" in pair:
            raise RecipeError(f"--set is {pair[:80]!r}; it must be KEY=VALUE, such as epochs=2")
        found[key.strip()] = _value(text.strip())
    return found


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
