"""What a search is to do: a recipe, from defaults, a TOML file and flags, checked key by key."""

import json
import math
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from lossml import zoo
from lossml.errors import RecipeError
from lossml.resources import recipe_names, recipe_path
from lossml.search.objective import GAIN, RULE, is_objective
from lossml.search.records import FULL, RUNGS
from lossml.search.rules import FLAG, TEXT, Rule, checked, items, number, one_of, several, shown, whole

WILCOXON = "wilcoxon"
PRUNERS = ("asha", "hyperband", "median", WILCOXON, "none")
PROPOSERS = ("surrogate", "evolve", "random")
CONTROLS = ("none", "random")
NETWORKS = ("auto", "small", "large", "resnet18")
NOISE_KINDS = ("symmetric", "asymmetric")
BASELINES = ("ce", "label-smoothing", "focal", "poly1", "gce")
LONG_TAIL_BASELINE = "logit-adjustment"
LONGEST = 1e9  # seconds: more than any search takes, less than overflows a clock
DOUBT = 0.1  # p of Wilcoxon's test from which a trial goes on
SIGNS = math.ceil(-math.log2(DOUBT))  # trainings from which on that test, whose p is at least 2^-n, can stop a trial
MAY_CHANGE = frozenset({"budget", "confirm_on", "control", "time_limit", "trial_time_limit", "workers", "data_root"})
"""Keys that a resumed search may set anew: they do not change what a trial of it gives."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A search, as plain data.

    Attributes:
        dataset: a task's name.
        budget: how many programs are trained, pruned ones included.
        seed: of everything random; the same seed gives the same search.
        seeds: "zoo", "none", or a file with one loss a line: what is proposed first.
        proposer: "random"; "evolve", which varies what did well; or "surrogate", which varies much more and
            trains what a model of gradient and merit finds promising.
        pruner: "asha", "hyperband", "median" or "none"; of several trainings a trial "wilcoxon" or "none".
        control: "random" for a random search of equal training beside this one, or "none".
        rungs: fidelities at which trials are compared and pruned, in sixteenths of full training.
        cohort: how many trials train side by side before the next are proposed.
        label_noise: share of wrong training labels.
        label_noise_kind: "symmetric" for any wrong class, "asymmetric" for the one after the right one.
        train_size: labelled training samples; 0 for all there are.
        network: of classes of images, "small", "large" or "resnet18", the last two on a GPU; "auto" for large where a
            GPU trains, else small.
        long_tail: imbalance ratio of the training split.
        also_on: other tasks, such as "fashion-mnist" or "digits,label_noise=0.2", on which every trial is trained too.
        trial_seeds: trainings of every trial on each task, each with a seed of its own.
        schedules: whether losses may read t, the training progress, and so change while a network trains.
        objective: what is optimised: accuracy, balanced_accuracy, miou, nll, ece, or a sum of them; see
            `objective`.
        time_limit: seconds after which no further cohort starts; 0 for none.
        trial_time_limit: seconds that a group of trainings may take between two rungs.
        candidates: how many of the best are confirmed; 0 for none.
        confirm_seeds: paired seeds of the confirmation.
        tuning_seeds: seeds that the score of each learning rate is the mean of.
        learning_rates: multiples of the task's rate that every confirmed loss is tuned over.
        baselines: losses the candidates are confirmed against; the first is the reference. Under a long
            tail the default has logit adjustment besides.
        alpha: chance of calling equal losses different.
        confirm_on: other tasks on which what was confirmed is tested too, such as "fashion-mnist" or
            "digits,label_noise=0.2"; a resumed search adds to them.
        device: "auto", "cpu", "cuda", ...
        workers: processes; -1 for what suits the device.
        data_root: folder of the data sets; "" for LOSSML_DATA or a cache.
    """

    dataset: str
    budget: int = 200
    seed: int = 0
    seeds: str = "zoo"
    proposer: str = "surrogate"
    pruner: str = "asha"
    control: str = "none"
    rungs: tuple[int, ...] = RUNGS
    cohort: int = 16
    label_noise: float = 0.0
    label_noise_kind: str = "symmetric"
    train_size: int = 0
    network: str = "auto"
    long_tail: float = 1.0
    also_on: tuple[str, ...] = ()
    trial_seeds: int = 1
    schedules: bool = False
    objective: str = "accuracy"
    time_limit: float = 0.0
    trial_time_limit: float = 600.0
    candidates: int = 3
    confirm_seeds: int = 5
    tuning_seeds: int = 2
    learning_rates: tuple[float, ...] = (0.3, 1.0, 3.0)
    baselines: tuple[str, ...] = BASELINES
    alpha: float = 0.05
    confirm_on: tuple[str, ...] = ()
    device: str = "auto"
    workers: int = -1
    data_root: str = ""

    @property
    def trainings(self) -> int:
        """Return how many trainings a trial has; of several each is a full one."""
        return (1 + len(self.also_on)) * self.trial_seeds

    @property
    def aim(self) -> str:
        """Return what the search itself optimises: the objective, or over several trainings the gain in it."""
        return self.objective if self.trainings == 1 else GAIN

    @property
    def stages(self) -> tuple[int, ...]:
        """Return where trials are compared: the rungs, or after each of several trainings; in sixteenths of one."""
        return self.rungs if self.trainings == 1 else tuple(FULL * (k + 1) for k in range(self.trainings))

    @property
    def tested_on(self) -> tuple[str, ...]:
        """Return the tasks besides `dataset` on which what was confirmed is tested."""
        return (*self.also_on, *self.confirm_on)

    def to_toml(self) -> str:
        """Write the recipe as TOML; `read_recipe` gives it back."""
        return "".join(f"{key} = {_toml(value)}\n" for key, value in asdict(self).items())


def _is_rungs(value: object) -> bool:
    rungs = [item for item in items(value) if type(item) is int and item > 0]
    return value == tuple(sorted(set(rungs))) and rungs[-1:] == [FULL]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "dataset": (lambda v: isinstance(v, str) and bool(v), "must name a data set; `lossml data` lists them"),
        "budget": whole(1, 1_000_000),
        "seed": whole(0, 2**31 - 1),
        "seeds": (lambda v: isinstance(v, str) and bool(v), "must be zoo, none or a file with one loss a line"),
        "proposer": one_of(PROPOSERS),
        "pruner": one_of(PRUNERS),
        "control": one_of(CONTROLS),
        "rungs": (_is_rungs, f"must be a growing list of sixteenths of full training, the last {FULL}"),
        "cohort": whole(1, 1024),
        "label_noise": number(0.0, 0.95),
        "label_noise_kind": one_of(NOISE_KINDS),
        "train_size": whole(0, 1_000_000_000),
        "network": one_of(NETWORKS),
        "long_tail": number(1.0, 10_000.0),
        "also_on": several(TEXT, "tasks such as 'fashion-mnist' or 'digits,label_noise=0.2'", none=True),
        "trial_seeds": whole(1, 100),
        "schedules": FLAG,
        "objective": (is_objective, RULE),
        "time_limit": number(0.0, LONGEST),
        "trial_time_limit": number(0.1, LONGEST),
        "candidates": whole(0, 100),
        "confirm_seeds": whole(2, 1000),
        "tuning_seeds": whole(1, 1000),
        "learning_rates": several(number(1e-6, 1e6), "positive numbers"),
        "baselines": several(TEXT, "losses"),
        "alpha": number(1e-6, 0.5),
        "confirm_on": several(TEXT, "tasks such as 'fashion-mnist' or 'digits,label_noise=0.2'", none=True),
        "device": TEXT,
        "workers": whole(-1, 1024),
        "data_root": TEXT,
    }
)
KEYS = tuple(field.name for field in fields(Recipe))


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in items(cast('object', value)))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML has no surrogate pairs
    return str(value).lower() if isinstance(value, bool) else str(value)


def parsed_toml(path: Path) -> dict[str, object]:
    """Read a TOML file; a RecipeError where it cannot be read or is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {path}: {error}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RecipeError(f"{path} is no TOML: {error}") from error


def read_toml(path: Path) -> dict[str, object]:
    """Read a recipe file and check each key.

    Raises:
        RecipeError: where it cannot be read, is no TOML, or holds an unknown key or bad value.
    """
    return {key: checked(key, value, str(path), RULES) for key, value in parsed_toml(path).items()}


def make_recipe(flags: Mapping[str, object], file: str | None = None) -> Recipe:
    """Join flags over a recipe file over the shipped recipe of the data set over defaults.

    Args:
        flags: by key of `Recipe`, those given only.
        file: a recipe file, or the name of a shipped recipe.

    Raises:
        RecipeError: for an unknown key or a bad value, with the rule.
    """
    given = {key: checked(key, value, "option", RULES) for key, value in flags.items()}
    written = read_toml(_file(file)) if file else {}
    dataset = given.get("dataset", written.get("dataset"))
    if dataset is None:
        raise RecipeError("no data set is given; write --dataset digits, or name a recipe that has one")
    kind = re.sub(r"(?<=-folder):.*", "", str(dataset))  # one recipe serves every folder of a kind
    shipped = read_toml(recipe_path(kind)) if kind in recipe_names() else {}
    values: dict[str, Any] = {**shipped, **written, **given, "dataset": dataset}
    recipe = _with_baselines(Recipe(**values), chosen="baselines" in values)
    recipe = _with_stages(recipe, {*given, *(() if file in recipe_names() else written)})
    for name in recipe.baselines:
        zoo.contender(name)
    return recipe


def _with_baselines(recipe: Recipe, *, chosen: bool) -> Recipe:
    """A long tail has a standard answer; a claim that leaves it out would be cheap."""
    if chosen or recipe.long_tail == 1.0:
        return recipe
    return replace(recipe, baselines=(*recipe.baselines, LONG_TAIL_BASELINE))


def _with_stages(recipe: Recipe, chosen: Collection[str]) -> Recipe:
    """Take the one pruner that compares trials over several trainings, unless another was chosen that can."""
    if recipe.trainings == 1:
        if recipe.pruner == WILCOXON:
            raise RecipeError("pruner is 'wilcoxon', which compares over several trainings; set also_on or trial_seeds")
        return recipe
    several = f"a trial has {recipe.trainings} trainings (also_on, trial_seeds)"
    if "pruner" in chosen and recipe.pruner not in {WILCOXON, "none"}:
        raise RecipeError(f"pruner is {recipe.pruner!r}, and {several}; give wilcoxon or none, or leave it out")
    if "rungs" in chosen and recipe.rungs != (FULL,):
        raise RecipeError(f"rungs is {shown(recipe.rungs)}, and {several}, each of them a full one; leave rungs out")
    return replace(recipe, rungs=(FULL,), pruner=recipe.pruner if "pruner" in chosen else WILCOXON)


def _file(name: str) -> Path:
    return recipe_path(name) if name in recipe_names() else Path(name).expanduser()


def resumed(stored: Recipe, flags: Mapping[str, object]) -> Recipe:
    """Take a stored recipe up again with what may change; a RecipeError names a key that may not."""
    given = {key: checked(key, value, "option", RULES) for key, value in flags.items()}
    for key, value in given.items():
        if key not in MAY_CHANGE and getattr(stored, key) != value:
            raise RecipeError(
                f"this run was made with {key} = {shown(getattr(stored, key))}, not {shown(value)}; "
                f"a resumed search may change {', '.join(sorted(MAY_CHANGE))} only. Start another with --name"
            )
    if "confirm_on" in given:  # who could drop a task could drop the one where the loss is worse
        given["confirm_on"] = (*stored.confirm_on, *items(given["confirm_on"]))
    return replace(stored, **cast("dict[str, Any]", given))
