"""`lossml dashboard`: a real server on a real run, which stays as it was."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from hashlib import sha256
from urllib.request import urlopen
from xml.etree.ElementTree import fromstring

from lossml.search.reading import load_run


def heed_interrupts():
    """Undo what a test in the background inherits: there Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def started(folder):
    """Start the dashboard on any free port; give its address and, in the end, how it stopped."""
    command = [sys.executable, "-m", "lossml", "dashboard", "small", "--port", "0"]
    # An interrupt inside coverage's tracer leaves its lock taken, and the process waits for ever: do without.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    environment |= {"TMPDIR": str(folder / "scratch"), "PYTHONUNBUFFERED": "1"}
    (folder / "scratch").mkdir(exist_ok=True)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 - nothing else runs in this process yet
    )
    end = {}
    try:
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, process.communicate()
        yield line.split(": ", 1)[1].split()[0].removesuffix("/dashboard"), end
    finally:
        process.send_signal(signal.SIGINT)
        _, end["stderr"] = process.communicate(timeout=120)
        end["code"] = process.returncode


def read(url):
    with urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
        return answer.read().decode()


def contents(folder):
    return {path: sha256(path.read_bytes()).hexdigest() for path in (folder / "runs").rglob("*") if path.is_file()}


def test_the_dashboard_shows_each_trial_with_its_formula_and_curves(searched):
    """Notes hold the formulas, artifacts are drawings; Ctrl-C ends it with a sentence and leaves nothing behind."""
    before = contents(searched)
    with started(searched) as (address, end):
        assert "<html" in read(f"{address}/dashboard")
        ((study,),) = json.loads(read(f"{address}/api/studies")).values()  # its name is to change
        assert study["study_name"] == "small"
        detail = json.loads(read(f"{address}/api/studies/{study['study_id']}"))
        trials = detail["trials"]
        found = load_run(searched / "runs" / "small").trials
        assert [one["number"] for one in trials] == list(range(8))
        for one, trial in zip(trials, found, strict=True):
            assert trial.program in one["note"]["body"]
            assert {row["step"] for row in one["intermediate_values"]} <= {1, 4, 16}
            assert len(one["intermediate_values"]) == len(trial.metrics)
            assert {"complete": "Complete", "pruned": "Pruned", "failed": "Fail"}[trial.state.value] == one["state"]
            drawings = {row["filename"]: row["artifact_id"] for row in one["artifacts"]}
            assert set(drawings) == {"value.svg", "gradient.svg"}
        artifact = next(row for row in trials[0]["artifacts"] if row["filename"] == "value.svg")
        assert artifact["mimetype"] == "image/svg+xml"
        url = f"{address}/artifacts/{study['study_id']}/{trials[0]['trial_id']}/{artifact['artifact_id']}"
        drawing = fromstring(read(url))  # noqa: S314 - our own server
        assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(list(drawing.iter("{http://www.w3.org/2000/svg}polyline"))) == 4
    assert end["code"] == 0
    assert end["stderr"].splitlines()[-1] == "Stopped. The run is as it was."
    assert "Traceback" not in end["stderr"]
    assert list((searched / "scratch").iterdir()) == []
    assert contents(searched) == before


def test_a_port_that_is_taken_is_refused(searched, lossml):
    """With the number and what to do, exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = lossml("dashboard", "small", "--port", port, folder=searched)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be had" in done.stderr
    assert "choose another --port" in done.stderr


def test_without_the_extra_a_sentence_says_what_to_install(searched, lossml, tmp_path):
    """Exit code 2; the command itself explains itself all the same."""
    (tmp_path / "optuna_dashboard.py").write_text("raise ImportError")
    done = lossml("dashboard", searched / "runs" / "small", folder=tmp_path)
    assert done.returncode == 2
    assert "pip install 'lossml[dashboard]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert lossml("dashboard", "--help", folder=tmp_path).returncode == 0
