"""How progress is shown: as lines in a log or a pipe, or as a screen that is drawn anew; each in a `with` statement."""

from abc import ABC, abstractmethod
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text


class Lines:
    """Lines on a console.

    Args:
        console: to write to.
    """

    def __init__(self, console: Console) -> None:
        """Write nothing yet."""
        self._console = console

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)


class Screen(ABC):
    """A screen that shows itself until it is left.

    Args:
        console: a terminal.
        rate: times a second that it is drawn.
    """

    def __init__(self, console: Console, rate: float) -> None:
        """Draw nothing yet."""
        self._live = Live(self, console=console, refresh_per_second=rate, transient=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Clear the screen."""
        self._live.stop()

    @abstractmethod
    def __rich__(self) -> RenderableType:
        """Draw the present state."""
