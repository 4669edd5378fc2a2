"""Other tasks than the one searched, as text: a data set and what is made hard about it.

"fashion-mnist" or "digits,label_noise=0.2": a name as `--dataset` takes it, and settings after commas. Another task
is a recipe of its own: what a search would be told that is run there.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from difflib import get_close_matches
from typing import Any

from lossml.errors import RecipeError
from lossml.search.recipe import LONG_TAIL_BASELINE, RULES, Recipe
from lossml.search.rules import checked

PLAIN: Mapping[str, Any] = {
    "label_noise": 0.0,
    "label_noise_kind": "symmetric",
    "long_tail": 1.0,
    "train_size": 0,
}
"""What can be set of another task, with the defaults."""


def there(recipe: Recipe, text: str) -> Recipe:
    """Return the recipe of a search on another task; all but the data is as it was.

    Args:
        recipe: of the search.
        text: the other task.

    Raises:
        RecipeError: where a setting is unknown or out of range.
    """
    name, settings = _read(text)
    found = replace(recipe, **{**PLAIN, "dataset": name, **settings}, confirm_on=())
    if found.long_tail == 1.0 or LONG_TAIL_BASELINE in found.baselines:
        return found
    return replace(found, baselines=(*found.baselines, LONG_TAIL_BASELINE))


def _read(text: str) -> tuple[str, dict[str, Any]]:
    """Split a text into name and settings; a comma that no setting follows belongs to the name, a folder's say."""
    name, settings = text, dict[str, Any]()
    while "=" in (last := name.rpartition(","))[2] and last[1]:
        name = last[0]
        key, _, value = last[2].partition("=")
        key = key.strip().replace("-", "_")
        settings[key] = _value(key, value.strip(), text)
    return str(checked("dataset", name.strip(), f"confirm_on {text!r}", RULES)), settings


def _value(key: str, value: str, text: str) -> object:
    if key not in PLAIN:
        near = get_close_matches(key, PLAIN, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PLAIN)}"
        raise RecipeError(f"confirm_on {text!r}: unknown setting {key!r}; {hint}")
    return checked(key, _number(value), f"confirm_on {text!r}", RULES)


def _number(value: str) -> object:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def written(recipe: Recipe) -> str:
    """Write the task of a recipe as text, the same for the same task."""
    found = asdict(recipe)
    settings = [f",{key}={_short(found[key])}" for key, usual in PLAIN.items() if found[key] != usual]
    return recipe.dataset + "".join(settings)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_tasks(recipe: Recipe) -> Recipe:
    """Return the recipe with the other tasks in one spelling, each once.

    Raises:
        RecipeError: for a task that cannot be one, the one searched, or without candidates.
    """
    tasks = tuple(dict.fromkeys(written(there(recipe, text)) for text in recipe.confirm_on))
    if tasks and not recipe.candidates:
        raise RecipeError("confirm_on names other tasks, and candidates is 0; nothing would be confirmed there")
    if written(recipe) in tasks:
        raise RecipeError(f"confirm_on names {written(recipe)}, which is the task that is searched; name others")
    return replace(recipe, confirm_on=tasks)
