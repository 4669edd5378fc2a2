"""What measuring scripts share: running lossml as a person does, and writing a dated result."""

import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import monotonic, sleep

import psutil

RESULTS = Path(__file__).resolve().parent / "results"


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {psutil.cpu_count()} cores"


def graphics() -> str:
    import torch  # noqa: PLC0415 - only results of a GPU need it

    return f"{torch.cuda.get_device_name()}, {processor()}"


def write(name: str, command: str, result: dict[str, object], *, gpu: bool = False) -> None:
    """Write a result with date, device and versions."""
    RESULTS.mkdir(exist_ok=True)
    found = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "device": graphics() if gpu else processor(),
        "versions": {package: version(package) for package in ("lossml", "torch", "torchvision", "optuna", "numpy")},
        **result,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    print(f"wrote {path}")


def lossml(*arguments: str, folder: Path) -> tuple[str, float, float]:
    """Run lossml in a folder; gives its output, its seconds, and the most memory of all its processes, in GiB."""
    began = monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "lossml", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"lossml {' '.join(arguments)} ended with {process.returncode}")
    return output, monotonic() - began, peak[0]


def _watch(pid: int, peak: list[float]) -> None:
    """Add up what each process holds alone, and what is shared once for each sharer's part (PSS)."""
    while psutil.pid_exists(pid):
        try:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            peak[0] = max(peak[0], sum(p.memory_full_info().pss for p in family) / 2**30)
        except psutil.Error:
            pass
        sleep(1.0)
