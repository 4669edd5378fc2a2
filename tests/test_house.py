"""The package as a whole: one version, lazy imports, launchers, shipped files, reasons."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lossml
from lossml import errors, resources

ROOT = Path(__file__).resolve().parent.parent


def python(*args: str) -> str:
    """Run this Python in a fresh process and return what it prints."""
    done = subprocess.run([sys.executable, *args], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_version_has_one_source():
    """The installed version, the citation and the changelog agree with pyproject.toml."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert lossml.__version__ == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert version in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("module", ["lossml", "lossml.program", "lossml.zoo", "lossml.evolve", "lossml.cli.main"])
def test_what_needs_no_torch_does_not_import_it(module):
    """`lossml --help` answers at once: none of the slow libraries is imported with the command line."""
    slow = "{'torch', 'torchvision', 'sympy', 'optuna', 'scipy', 'sklearn'}"
    assert python("-c", f"import sys, {module}; print(*{slow} & set(sys.modules))") == ""


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    """Lazy names do not hide a misspelt one."""
    with pytest.raises(AttributeError, match="no attribute 'serach'"):
        _ = lossml.serach


def test_every_lazy_name_is_there():
    """What the package says it exports can be had."""
    for name in lossml.__all__:
        assert getattr(lossml, name) is not None


@pytest.mark.parametrize("launcher", [["cli.py"], ["-m", "lossml"]])
def test_each_launcher_is_the_command_line(launcher):
    """`python cli.py` in a checkout and `python -m lossml` are `lossml`."""
    assert lossml.__version__ in python(*launcher, "--version")


def test_each_shipped_recipe_is_found_by_name_and_is_toml():
    """A recipe is called by its name alone, from a checkout as from a wheel."""
    names = resources.recipe_names()
    assert names
    for name in names:
        assert tomllib.loads(resources.recipe_path(name).read_text())


@pytest.mark.parametrize("name", ["cifar11", "../pyproject", ""])
def test_an_unknown_recipe_is_refused_with_those_there_are(name):
    """A misspelt recipe, or a path where a name belongs, gets the list of names."""
    with pytest.raises(errors.RecipeError, match=resources.recipe_names()[0]):
        resources.recipe_path(name)


def test_every_rule_left_out_has_its_reason():
    """No lint rule is ignored without saying why, in the configuration or in the code."""
    config = (ROOT / "pyproject.toml").read_text().split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.pydocstyle]")[0]
    ignores = re.findall(r'^ +"[A-Z]+[0-9]*",.*$', config, re.MULTILINE)
    assert ignores
    assert [line for line in ignores if not re.search(r"# \w+", line)] == []
    sources = [path for folder in ("lossml", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    bare = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type: ignore(\[[\w, -]+\])?|pragma: no \w+)\s*$", re.MULTILINE)
    assert [path.name for path in sources if bare.search(path.read_text())] == []


def test_the_requirements_are_plain_ranges():
    """A user gets the torch that suits the machine: nothing is pinned."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [line for line in project["dependencies"] if "==" in line or "@" in line] == []


def test_benchmarks_import_what_there_is():
    """Scripts that nobody ran for a while still find the names that they take from the package."""
    missing = []
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        for node in (one for one in found if one.module and one.module.split(".")[0] == "lossml"):
            module = importlib.import_module(node.module)
            missing += [f"{path.name}: {node.module}.{one.name}" for one in node.names if not is_in(module, one.name)]
    assert missing == []


def is_in(module, name):
    """Say whether a module has a name or a module of that name."""
    inside = hasattr(module, "__path__") and importlib.util.find_spec(f"{module.__name__}.{name}")
    return hasattr(module, name) or bool(inside)
