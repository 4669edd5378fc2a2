"""Rules for the keys of a recipe: what a value must be, in words and as a test."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import cast

from lossml.errors import RecipeError

Rule = tuple[Callable[[object], bool], str]


def whole(low: int, high: int) -> Rule:
    """Ask for a whole number in a range."""
    return (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"must be a whole number from {low} to {high}",
    )


def number(low: float, high: float) -> Rule:
    """Ask for a number in a range."""
    return (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and low <= v <= high,
        f"must be a number from {low:g} to {high:g}",
    )


def one_of(names: tuple[str, ...]) -> Rule:
    """Ask for one of some names."""
    return (lambda v: v in names, f"must be one of {', '.join(names)}")


def several(rule: Rule, what: str, *, none: bool = False) -> Rule:
    """Ask for a list, each of whose items keeps a rule; it may be empty where `none` says so."""

    def holds(value: object) -> bool:
        found = items(value)
        return (bool(found) or (none and value == ())) and all(rule[0](item) for item in found)

    return holds, f"must be a list of {what}"


def items(value: object) -> tuple[object, ...]:
    """Return a list's items; none of what is no list."""
    return cast("tuple[object, ...]", value) if isinstance(value, tuple) else ()


TEXT: Rule = (lambda v: isinstance(v, str), "must be a text")
FLAG: Rule = (lambda v: isinstance(v, bool), "must be true or false")


def checked(key: str, value: object, where: str, rules: Mapping[str, Rule]) -> object:
    """Check one key, a list becoming a tuple; a RecipeError says where it stands, what was given and the rule."""
    if key not in rules:
        near = get_close_matches(key, rules, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(rules)}"
        raise RecipeError(f"{where}: unknown key {key!r}; {hint}")
    value = tuple(cast("list[object]", value)) if isinstance(value, list) else value
    holds, rule = rules[key]
    if not holds(value):
        raise RecipeError(f"{where}: {key} is {shown(value)}; it {rule}")
    return value


def shown(value: object) -> str:
    """Write a value for a message."""
    return repr(value)[:80]
