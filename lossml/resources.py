"""The files that ship with the package: recipes, as TOML.

In a checkout they lie in `recipes/` beside the package, in an installed wheel inside it.
"""

from pathlib import Path

from lossml.errors import RecipeError

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
