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
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import language_tables
import pytest

import lossml
from lossml import zoo
from lossml.cli.main import COMMANDS
from lossml.errors import ProgramError
from lossml.program import OPERATIONS, TERMINALS, parse

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


@pytest.fixture
def share_of_cores():
    """What a page may use beside other pages: a search that thinks it has all cores starts as many processes."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores, number = sorted(os.sched_getaffinity(0)), os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    pages = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    os.sched_setaffinity(0, cores[int(number) % len(cores) :: pages])
    yield
    os.sched_setaffinity(0, cores)


@pytest.mark.usefixtures("share_of_cores")
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


def test_the_tables_of_the_language_are_current():
    """The page says of each terminal, operation and aggregate what the language itself says, and lists no other."""
    page = (ROOT / "docs" / "language.md").read_text()
    assert language_tables.with_tables(page) == page, "python tools/language_tables.py writes them anew"
    for word in (*TERMINALS, *(name for name, op in OPERATIONS.items() if not op.sign)):
        assert f"| `{word}" in page


def mistakes() -> list[list[str]]:
    section = (ROOT / "docs" / "language.md").read_text().split("\n## Common mistakes\n")[1]
    return [[cell.strip() for cell in line.split("|")[1:3]] for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(("written", "message"), mistakes())
def test_a_common_mistake_gives_the_message_that_the_page_says(written, message):
    """Someone who looks a message up finds it."""
    with pytest.raises(ProgramError, match=f"^{re.escape(message)}$"):
        parse(written.strip("`"))


def options(command: str) -> list[str]:
    parameters = import_module(f"lossml.cli.{command}").command.params
    return [name for one in parameters for name in one.opts if name.startswith("-")]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_commands_has_every_option(command):
    """Each option that a command takes stands in its section."""
    page = (ROOT / "docs" / "commands.md").read_text()
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    (section,) = [text for text in sections if command in re.split(r"[,\s]+", text.split("\n")[0])]
    assert [name for name in options(command) if f"`{name}`" not in section] == []


def test_the_page_of_the_api_has_every_public_name():
    """What the package exports is documented from its docstring, or described in words."""
    page = (ROOT / "docs" / "api.md").read_text()
    assert [name for name in lossml.__all__ if f"::: lossml.{name}\n" not in page] == ["search"]
    assert "`lossml.search(" in page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site that `make docs` has built for both its processes, or one built here as it does."""
    if built := os.environ.get("LOSSML_SITE"):
        return ROOT / built
    folder = tmp_path_factory.mktemp("site")
    words = ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


class Links(HTMLParser):
    """Collects what a page refers to and which anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs):
        found = {name: value or "" for name, value in attrs}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in {"script", "img", "iframe"} or (
            tag == "link" and found.get("rel") in {"stylesheet", "icon", "preload"}
        ):
            self.loaded.append(found.get("src") or found.get("href", ""))


def read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text())
    return links


def target(page: Path, link: str) -> tuple[Path, str]:
    place, _, anchor = unquote(link).partition("#")
    return ((page.parent / place).resolve() if place else page), anchor


def test_the_built_site_has_no_dead_link_and_loads_nothing_from_elsewhere(site):
    """Read from a folder, every internal link and anchor is there, and no script, style or font is fetched."""
    pages = {page: read(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 15
    for page, links in pages.items():
        assert [url for url in links.loaded if "//" in url] == []
        assert [url for url in links.loaded if url and not target(page, url)[0].is_file()] == []
        for link in links.links:
            if "://" in link or link.startswith("mailto:"):
                continue
            place, anchor = target(page, link)
            assert place.is_file(), f"{page.name}: {link}"
            assert not anchor or place not in pages or anchor in pages[place].anchors, f"{page.name}: {link}"


def test_formulas_are_built_into_the_pages(site):
    """A formula needs no script: the page holds it as MathML."""
    page = (site / "losses" / "classification.html").read_text()
    assert page.count("<math") == sum(entry.kind == "classification" for entry in zoo.ENTRIES.values())
