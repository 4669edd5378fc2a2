"""`lossml report` and `lossml.write_report` on a real run."""

import json
import shutil

import lossml as lossml_package


def test_a_report_is_one_file_that_holds_the_run(lossml, searched, tmp_path):
    """Into the run's folder where no file is named; it says how large it is, and holds verdict and formulas."""
    shutil.copytree(searched / "runs", tmp_path / "runs")
    done = lossml("report")
    assert done.returncode == 0, done.stderr
    assert not done.stdout
    assert "Wrote runs/small/report.html, 0." in done.stderr
    page = (tmp_path / "runs" / "small" / "report.html").read_text()
    verdict = json.loads((tmp_path / "runs" / "small" / "verdict.json").read_text())
    assert verdict["sentence"] in page
    assert "3 classes; 96 samples to train on" in page
    assert page.count("The whole loss card") == min(3, page.count("<td>complete</td>"))


def test_python_writes_the_same_report(searched, tmp_path, monkeypatch):
    """The function takes a folder and a file, and says where the report is."""
    monkeypatch.chdir(searched)
    path = lossml_package.write_report("small", tmp_path / "mine.html", cards=0)
    assert path == tmp_path / "mine.html"
    assert path.read_text().startswith("<!doctype html>")


def test_wrong_use_is_explained(answered, tmp_path):
    """No run, a run that is none, a place that cannot be written: a sentence and exit code 2."""
    for arguments in ((), ("nothing",), ("--cards", "-1")):
        done = answered("report", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "Error" in done.stderr
