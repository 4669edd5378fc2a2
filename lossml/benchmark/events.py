"""What full trainings tell while they run: their logs, read from beside."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PAUSE = 2.0  # seconds between two looks
TAIL = 4096  # bytes of a log that hold its last line


@dataclass(frozen=True, slots=True)
class Training:
    """A training goes on.

    Attributes:
        name: of its folder.
        step: optimizer steps done.
        of: steps in all.
        loss: at that step, None where it is not finite.
        speed: samples per second, over all its devices.
    """

    name: str
    step: int
    of: int
    loss: float | None
    speed: float


class Watch:
    """Looks at the logs of a folder and tells what is new; use it in a `with` statement.

    Args:
        folder: of the trainings.
        tell: hears of each training that went on since the last look.
    """

    def __init__(self, folder: Path, tell: Callable[[Training], object]) -> None:
        """Begin with what is there already: it is not new."""
        self._folder, self._tell = folder, tell
        self._seen = {path: path.stat().st_size for path in self._logs()}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _logs(self) -> list[Path]:
        return list(self._folder.glob("*/log.jsonl"))

    def _watch(self) -> None:
        while not self._ended.wait(PAUSE):
            for path in self._logs():
                size = path.stat().st_size
                if self._seen.get(path) != size:
                    self._seen[path] = size
                    found = last(path)
                    if found is not None:
                        self._tell(found)


def last(log: Path) -> Training | None:
    """Read the last line of a log; None where there is none yet."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = file.read().splitlines()
    try:
        found: dict[str, Any] = json.loads(lines[-1])
        return Training(log.parent.name, found["step"], found["of"], found["loss"], found["samples_per_second"])
    except (IndexError, ValueError, KeyError):
        return None
