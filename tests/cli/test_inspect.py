"""`lossml inspect` through real processes: names, expressions, a user's own losses, JSON and a page."""

import json

import lossml as lossml_package
from lossml.cli.common import print_json

OWN = """
from torch.nn import functional as F


def smoothed(logits, target):
    return F.cross_entropy(logits, target, label_smoothing=0.31)
"""


def test_inspect_prints_the_figures_of_ngl(lossml):
    """Optimum and gradient at 2, 10, 100 and 1,000 classes, the verdicts with their methods, and the warning."""
    done = lossml("inspect", "ngl")
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    for row in (
        "2 0.566 0.868 0.254",
        "10 0.391 0.677 0.0773",
        "100 0.362 0.645 0.00107",
        "1,000 0.359 0.642 1.11e-05",
    ):
        assert row in words
    for part in ("SGD at cross-entropy's learning rate stalls", "Equals ngl", "calibrated yes", "interval arithmetic"):
        assert part in words


def test_a_formula_can_begin_with_a_minus_sign(lossml):
    """As an argument or after --, the same card; JSON is one document that holds all of it."""
    done = lossml("inspect", "-3*y*logp", "--json")
    assert done.stdout == lossml("inspect", "--json", "--", "-3*y*logp").stdout
    found = json.loads(done.stdout)
    assert found["kin"]["equal"]["call"] == "ce"
    assert found["formula"]["screens"] == ""
    assert found["proper"]["verdict"] == "yes"
    assert found["proper"]["method"]["points"] > 0
    assert [row["classes"] for row in found["optima"]] == [2, 10, 100, 1000]


def test_a_users_own_loss_gets_a_page(lossml, tmp_path):
    """module:attribute is read from the folder where lossml runs; --html writes one file and says so."""
    (tmp_path / "mine.py").write_text(OWN)
    done = lossml("inspect", "mine:smoothed", "--html", "card.html")
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    assert "Wrote card.html" in done.stderr
    page = (tmp_path / "card.html").read_text()
    assert "label-smoothing(epsilon=0.31)" in page
    assert page.count("<svg") == 4


def test_an_overflow_is_null_in_json(capsys):
    """JSON has no infinity: what is not finite is null, and the document can be read."""
    card = lossml_package.inspect("sum_C(y*exp(exp(exp(-z))))", classes=3)
    print_json(card)
    found = json.loads(capsys.readouterr().out)
    assert found["safety"][0]["finite"] is False
    assert None in found["curves"]["true"]["y"]


def test_a_file_that_cannot_be_written_is_explained(answered):
    """Wrong use of --html ends with code 2 and a sentence."""
    done = answered("inspect", "ce", "--html", "/proc/nothing/card.html")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr
