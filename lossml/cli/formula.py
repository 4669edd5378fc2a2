"""A loss as an argument: a formula may begin with a minus sign and is then no option."""

import re

import click

# A formula that begins with a minus sign; no formula begins with -o, which names a file.
_FORMULA = re.compile(r" *-(?!o)[^-].*[(*^ ]", re.DOTALL)
_MARK = " "  # before a formula: click takes for an option only what begins with a minus sign


def marked(word: str) -> str:
    """Mark a word that is a formula, so that it is not taken for an option; `Loss` takes the mark off again."""
    return f"{_MARK}{word}" if _FORMULA.match(word) else word


class Loss(click.ParamType):  # pyright: ignore[reportMissingTypeArgument] - generic only in the newest click
    """A loss as it was given, so that a position in it is the one that a person counts."""

    name = "loss"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 - click's signature
        """Take the mark off."""
        return value[len(_MARK) :] if value.startswith(_MARK) and _FORMULA.match(value) else value
