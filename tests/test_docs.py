"""The README and the pages of docs/ run as written.

A page's blocks run in order, in one empty folder: ```python in one namespace, ```bash in a shell,
and a block with title="FILE" is written to that file. What does not run says why, in a comment on
the line before: <!-- not run: the reason -->.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lossml.program import OPERATIONS, TERMINALS, Axes, Operation, Terminal

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNABLE = {"python", "bash"}
FENCE = re.compile(
    r"(?:^<!-- not run:(?P<reason>[^\n]*)-->\n)?^```(?P<language>[^\s`]*)(?P<options>[^\n]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    language: str
    code: str
    line: int
    title: str
    reason: str | None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', match["options"])
        line = text.count("\n", 0, match.start("code"))
        yield Block(match["language"], match["code"], line, title[1] if title else "", match["reason"])


def run_python(block: Block, page: Path, names: dict[str, object]) -> None:
    padding = "\n" * block.line  # so that a traceback names the page's own line
    exec(compile(padding + block.code, str(page), "exec"), names)  # noqa: S102  the subject of this test


def run_bash(block: Block, page: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page}:{block.line}\n{done.stdout}\n{done.stderr}"


def run(block: Block, page: Path, names: dict[str, object]) -> None:
    if block.title:
        Path(block.title).write_text(block.code)
    elif block.reason is not None:
        return
    elif block.language == "python":
        run_python(block, page, names)
    elif block.language == "bash":
        run_bash(block, page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs_as_written(page, tmp_path, monkeypatch):
    """Every example works: what a reader copies does what the page says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        run(block, page, names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_names_its_language_and_why_it_does_not_run(page):
    """No example escapes: each fence is read, has a language, and has a reason where it does not run."""
    found = list(blocks(page))
    assert 2 * len(found) == len(re.findall(r"^```", page.read_text(), re.MULTILINE))
    for block in found:
        assert block.language, f"{page}:{block.line} has no language"
        assert block.reason is None or block.reason.strip(), f"{page}:{block.line} has no reason"


def rows(section: str) -> list[str]:
    page = (ROOT / "docs" / "language.md").read_text()
    lines = page.split(f"\n## {section}\n")[1].split("\n## ")[0].splitlines()
    return [line for line in lines if line.startswith("| `")]


def axes(terminal: Terminal) -> str:
    names = {Axes.ELEMENT: "element", Axes.CLASS: "class", Axes.SCALAR: "scalar"}
    return names[terminal.type.axes]


def written(operation: Operation) -> str:
    if not operation.sign:
        return f"{operation.name}({', '.join('ab'[: operation.arity])})"
    return f"a {operation.sign} b" if operation.arity > 1 else f"{operation.sign}a"


def row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def test_the_language_page_lists_every_terminal():
    """The page says of each terminal what the language itself says, and lists no other."""
    said = [row(f"`{t.name}`", axes(t), str(t.type.interval), t.meaning) for t in TERMINALS.values()]
    assert rows("Terminals") == said


def test_the_language_page_lists_every_operation():
    """The page says of each operation what the language itself says, and lists no other."""
    said = [row(f"`{written(op)}`", op.meaning, op.rule) for op in OPERATIONS.values()]
    assert rows("Operations") == said
