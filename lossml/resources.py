"""What lies outside the code: recipes that ship with the package, as TOML, and what a user names as module:attribute.

In a checkout recipes lie in `recipes/` beside the package, in an installed wheel inside it.
"""

import importlib
import sys
from pathlib import Path

from lossml.errors import RecipeError, UsageError

_PACKAGE = Path(__file__).resolve().parent


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def recipe_path(name: str) -> Path:
    """Return the file of a shipped recipe.

    Args:
        name: as in `recipe_names()`, without `.toml`.

    Raises:
        RecipeError: where no recipe of that name is shipped.
    """
    if name not in recipe_names():
        raise RecipeError(f"no recipe {name!r} is shipped; there are {', '.join(recipe_names())}, or give a file")
    return recipes_folder() / f"{name}.toml"


def is_file(path: Path) -> bool:
    """Say whether a file is there; unlike Path.is_file, no for a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def imported(name: str) -> object:
    """Import what a user names as "module:attribute"; the one place where something a user names is run.

    Args:
        name: a module of this folder or an installed one, a colon, and an attribute of it.

    Raises:
        UsageError: where the module cannot be imported or has no such attribute.
    """
    module_name, attribute = name.split(":", 1)
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise UsageError(
            f"{name}: cannot import {module_name!r} ({error}); it must lie in this folder or be installed"
        ) from error
    except AttributeError as error:
        raise UsageError(f"{name}: module {module_name!r} has no {attribute!r}") from error
