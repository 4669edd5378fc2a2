"""`lossml distill` as a person runs it."""

import json
import shlex

import pytest

OWN = (
    "from torch.nn import functional as F\n\n\ndef mine(logits, target):\n    return F.cross_entropy(logits, target)\n"
)


def test_the_answer_ends_with_the_next_command_and_that_command_works(lossml, tmp_path):
    """A formula that begins with a minus sign goes in; the answer, the front and an export that runs come out."""
    done = lossml("distill", "-sum_C(y*(logp + p - p))*2", "--budget", 2500)
    assert done.returncode == 0, done.stderr
    assert "4 nodes instead of 11" in done.stdout
    assert "Known as ce" in done.stdout
    command = shlex.split(done.stdout.split("Next: lossml ")[1].strip())
    exported = lossml(*command)
    assert exported.returncode == 0, exported.stderr
    assert "class Loss" in (tmp_path / "my_loss.py").read_text()


def test_a_loss_of_ones_own_as_json(lossml, tmp_path):
    """module:attribute of the folder where lossml runs; standard output is one JSON document."""
    (tmp_path / "mine.py").write_text(OWN)
    done = lossml("distill", "mine:mine", "--budget", 2500, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["shortest"]["size"] == 4
    assert found["size"] is None
    assert {row["formula"] for row in found["front"]} >= {found["shortest"]["formula"]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ce", "--tolerance", "0"], "tolerance is 0"),
        (["ce", "--engine", "deap"], "deap"),
    ],
)
def test_bad_input_gets_a_sentence(answered, arguments, words):
    """Exit code 2, a reason, no traceback."""
    done = answered("distill", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
