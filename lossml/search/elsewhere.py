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


def there(recipe: Recipe, text: str, key: str = "confirm_on") -> Recipe:
    """Return the recipe of a search on another task; all but the data is as it was.

    Args:
        recipe: of the search.
        text: the other task.
        key: where it was named.

    Raises:
        RecipeError: where a setting is unknown or out of range.
    """
    name, settings = _read(text, f"{key} {text!r}")
    found = replace(recipe, **{**PLAIN, "dataset": name, **settings}, also_on=(), confirm_on=())
    if found.long_tail == 1.0 or LONG_TAIL_BASELINE in found.baselines:
        return found
    return replace(found, baselines=(*found.baselines, LONG_TAIL_BASELINE))


def _read(text: str, where: str) -> tuple[str, dict[str, Any]]:
    """Split a text into name and settings; a comma that no setting follows belongs to the name, a folder's say."""
    name, settings = text, dict[str, Any]()
    while "=" in (last := name.rpartition(","))[2] and last[1]:
        name = last[0]
        key, _, value = last[2].partition("=")
        key = key.strip().replace("-", "_")
        settings[key] = _value(key, value.strip(), where)
    return str(checked("dataset", name.strip(), where, RULES)), settings


def _value(key: str, value: str, where: str) -> object:
    if key not in PLAIN:
        near = get_close_matches(key, PLAIN, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PLAIN)}"
        raise RecipeError(f"{where}: unknown setting {key!r}; {hint}")
    return checked(key, _number(value), where, RULES)


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


def searched_on(recipe: Recipe) -> tuple[str, ...]:
    """Return the tasks that every trial is trained on, as text."""
    return (written(recipe), *recipe.also_on)


def with_tasks(recipe: Recipe) -> Recipe:
    """Return the recipe with the other tasks in one spelling, those to confirm on each once.

    Raises:
        RecipeError: for a task that cannot be one, one of the search named again, or none to confirm.
    """
    recipe = replace(recipe, also_on=tuple(written(there(recipe, text, "also_on")) for text in recipe.also_on))
    for place, text in enumerate(recipe.also_on):
        if text in searched_on(recipe)[: place + 1]:
            raise RecipeError(
                f"also_on names {text}, on which every trial is trained already; name another task, or set trial_seeds "
                "for several trainings on each"
            )
    tasks = tuple(dict.fromkeys(written(there(recipe, text)) for text in recipe.confirm_on))
    if tasks and not recipe.candidates:
        raise RecipeError("confirm_on names other tasks, and candidates is 0; nothing would be confirmed there")
    for text in searched_on(recipe):
        if text in tasks:
            raise RecipeError(f"confirm_on names {text}, {_why(recipe, text)}; name others")
    return replace(recipe, confirm_on=tasks)


def _why(recipe: Recipe, text: str) -> str:
    if text in recipe.also_on:
        return "a task of the search, on which its result is tested anyway"
    return "which is the task that is searched"
