"""docs/losses.md says of each loss what the zoo itself says."""

from pathlib import Path

import pytest

from lossml import zoo
from lossml.program import show

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
HEADINGS = {"classification": "Classification", "multi-label": "Several labels", "segmentation": "Segmentation"}


def row(entry):
    numbers = ", ".join(f"{name} = {parameter.default:g}" for name, parameter in entry.parameters.items())
    cells = (f"`{entry.name}`", entry.meaning, f"`{show(entry.program())}`", numbers, f"{entry.title}: {entry.source}")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


@pytest.mark.parametrize("kind", HEADINGS)
def test_the_page_lists_every_loss(kind):
    """Name, meaning, formula, parameters and source of each loss of a kind stand under its heading, and no other."""
    section = PAGE.read_text().split(f"\n## {HEADINGS[kind]}\n")[1].split("\n## ")[0]
    listed = [line for line in section.splitlines() if line.startswith("| `")]
    assert listed == [row(entry) for entry in zoo.ENTRIES.values() if entry.kind == kind]
