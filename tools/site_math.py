"""A hook of MkDocs: formulas become MathML while the site is built, so that a reader's browser fetches no script.

A formula is a block of code in the language `math`, which GitHub shows as a formula, too.
"""

from typing import Any

from latex2mathml.converter import convert


def formula(source: str, _language: str, _class: str, _options: object, _md: object, **_: object) -> str:
    """Turn LaTeX into MathML, in a box that scrolls where the page is narrow."""
    return f'<div class="formula">{convert(source, display="block")}</div>'


def on_config(config: Any) -> None:  # noqa: ANN401 - MkDocs' own, a dictionary
    """Add the language `math` to the blocks of code that are not code."""
    fences = config["mdx_configs"].setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formula})
