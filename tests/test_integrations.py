"""The examples of docs/integrations.md train: each in a process of its own, as these libraries set global state."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs" / "integrations.md"
EXAMPLES = {block.title: block.code for block in blocks(PAGE) if block.title}
NEEDED = {"plain.py": (), "with_lightning.py": ("lightning",), "with_keras.py": ("keras",)}
NEEDED |= {"with_trainer.py": ("transformers", "accelerate")}


@pytest.mark.slow  # the libraries take their seconds to import
@pytest.mark.parametrize("example", NEEDED)
def test_an_example_trains(example, tmp_path):
    """What a reader copies learns the digits, with a loss that is no library's own."""
    missing = [name for name in NEEDED[example] if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    for name in ("digits.py", example):
        (tmp_path / name).write_text(EXAMPLES[name])
    paths = os.pathsep.join(filter(None, (str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, example]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.strip().split()[-1]) > 0.9


def test_every_example_is_short_and_tried():
    """No example is longer than forty lines, and none is left out here."""
    assert set(EXAMPLES) == {"digits.py", *NEEDED}
    assert all(len(code.splitlines()) <= 40 for code in EXAMPLES.values())
    assert Path(PAGE).is_file()
