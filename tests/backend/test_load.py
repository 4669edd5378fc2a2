"""A loss is found by name, by formula and by file, and whatever else is given gets a sentence."""

import pytest
import torch
from torch.nn import functional as F

from lossml import load
from lossml.backend import torch_source
from lossml.backend.load import LARGEST_FILE, read_loss, read_program
from lossml.errors import ProgramError, UsageError
from lossml.program import parse

TEXT = "-y*(1 - p)^2*logp"


def test_a_name_loads_its_loss():
    """The zoo's ce is torch's cross-entropy, and options reach the module."""
    logits, target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    loss = load("ce", reduction="sum", ignore_index=0)
    torch.testing.assert_close(loss(logits, target), F.cross_entropy(logits, target, reduction="sum", ignore_index=0))


def test_a_name_takes_parameters():
    """Parameters in parentheses change the program."""
    assert read_program("focal(gamma=1.5)") != read_program("focal")


def test_an_expression_is_read_as_it_stands():
    """What is no name and no file is parsed."""
    assert read_program(TEXT) == parse(TEXT)
    assert read_program(".5*-y*logp") == parse("0.5*-y*logp")


def test_an_exported_module_comes_back_with_its_scale(tmp_path):
    """The formula and factor of an exported file survive, and nothing in it is run."""
    path = tmp_path / "mine.py"
    path.write_text(torch_source(parse(TEXT), header="Found somewhere.", scale=0.25) + "\nraise SystemExit\n")
    assert read_program(str(path)) == parse(TEXT)
    assert load(str(path)).scale == 0.25
    assert load(str(path), scale=1.0).scale == 1.0


def test_a_text_file_holds_an_expression(tmp_path):
    """A file with a formula over several lines is that formula."""
    path = tmp_path / "mine.txt"
    path.write_text("-y\n  * (1 - p)^2 * logp\n")
    assert read_loss(str(path)).program == parse(TEXT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"import os\n", "no line"),
        (b"x" * (LARGEST_FILE + 1), "larger than"),
        (b"\xff\xfe\x00", "no text file"),
        (b"Formula: -y*logp\nScale: much\n", "not a number"),
        (b"Formula: -y*logp +\n", "position"),
    ],
)
def test_a_file_that_is_no_loss_is_refused(tmp_path, content, message):
    """Foreign code, large, binary and damaged files each get their reason."""
    path = tmp_path / "other.py"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_loss(str(path))


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("focol", "focal"),
        ("qwertz", "lossml losses"),
        ("./not-there.py", "cannot read"),
        ("missing.loss", "cannot read"),
        ("", "neither|empty|position"),
        ("-y*logq", "logq"),
        ("\0", "position|neither"),
    ],
)
def test_what_is_nothing_is_refused_with_what_is_near(what, message):
    """A misspelt name, a missing file and a broken formula get a sentence."""
    with pytest.raises(UsageError, match=message):
        read_loss(what)


def test_a_folder_is_no_loss(tmp_path):
    """A folder's path is refused as unreadable."""
    with pytest.raises(UsageError, match="cannot read"):
        read_loss(f"{tmp_path}/.")


def test_a_broken_formula_keeps_its_position():
    """The place of the mistake in an expression is not lost."""
    with pytest.raises(ProgramError) as caught:
        read_loss("-y*(logp")
    assert caught.value.position == 8
