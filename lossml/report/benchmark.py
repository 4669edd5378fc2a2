"""What a person sees of full trainings: progress with the time left, the list of recipes, several runs in one table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from rich import box
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lossml.benchmark.events import Training
from lossml.benchmark.recipe import Training as Recipe
from lossml.report.screens import Lines, Screen
from lossml.report.words import duration
from lossml.search.events import Confirming, Event

STAGES = {"tune": "choosing learning rates", "seeds": "paired seeds"}


@dataclass(slots=True)
class Progress:
    """Trainings done and in progress: the state behind both views."""

    title: str
    stage: Confirming | None = None
    began: float = field(default_factory=monotonic)
    first: float = 0.0  # done when it began to count time: what was there already took none
    running: dict[str, Training] = field(default_factory=dict[str, Training])

    def take(self, event: Event | Training) -> None:
        """Take an event in.

        What a log tells of a training that the stage has counted is late and left out. A block of which nothing was
        seen was there already, and the time counts from its end.
        """
        if isinstance(event, Training):
            if event.step < event.of or event.name in self.running:
                self.running[event.name] = event
        elif isinstance(event, Confirming):
            if not self.running or self.stage is None or self.stage.stage != event.stage:
                self.began, self.first = monotonic(), float(event.done)
            self.stage, self.running = event, {}

    @property
    def done(self) -> float:
        """Trainings of this stage that are done, parts of those in progress counted."""
        whole = self.stage.done if self.stage else 0
        return whole + sum(one.step / one.of for one in list(self.running.values()))

    def text(self) -> str:
        """Say how far it is and how long this stage may still take."""
        if self.stage is None:
            return "opening the data"
        total, gone = self.stage.total, self.done - self.first
        left = (monotonic() - self.began) * max(0.0, total - self.done) / gone if gone > 0.0 else None
        when = f"about {duration(left)} left of this" if left is not None else "time left unknown"
        return f"{STAGES[self.stage.stage]}: {min(self.done, total):.1f} of {total} trainings, {when}"


class PlainView(Lines):
    """One line from time to time, for logs and pipes.

    Args:
        console: to write to.
        title: what is trained.
    """

    def __init__(self, console: Console, title: str) -> None:
        """Say what is trained."""
        super().__init__(console)
        self._progress, self._told = Progress(title), ""
        self._say(title)

    def __call__(self, event: Event | Training) -> None:
        """Write ten lines a stage."""
        self._progress.take(event)
        stage = self._progress.stage
        tenth = f"{stage.stage}{int(10 * self._progress.done / max(1, stage.total))}" if stage else ""
        if tenth != self._told:
            self._say(self._progress.text())
        self._told = tenth


class LiveView(Screen):
    """A screen that follows the trainings.

    Args:
        console: a terminal.
        title: what is trained.
    """

    def __init__(self, console: Console, title: str) -> None:
        """Draw on a console."""
        super().__init__(console, rate=2)
        self._progress = Progress(title)

    def __call__(self, event: Event | Training) -> None:
        """Take an event in; the next refresh shows it."""
        self._progress.take(event)

    def __rich__(self) -> RenderableType:
        """Draw the present state."""
        stage = self._progress.stage
        share = self._progress.done / max(1, stage.total) if stage else 0.0
        table = Table.grid(padding=(0, 2))
        for one in list(self._progress.running.values()):
            loss = "not finite" if one.loss is None else f"{one.loss:.4g}"
            table.add_row(one.name, f"{100 * one.step / one.of:.0f}%", f"loss {loss}", f"{one.speed:.0f} samples/s")
        return Group(
            Text(self._progress.title, style="bold"),
            Text(self._progress.text()),
            ProgressBar(total=1.0, completed=min(1.0, share)),
            table,
            Text("Ctrl-C stops; the same command goes on.", style="dim"),
        )


def recipes_table(recipes: Sequence[tuple[Recipe, Recipe | None]]) -> RenderableType:
    """List recipes of full training, each with its short variant."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("recipe", "data set", "network", "size", "epochs", "what it needs"):
        table.add_column(head)
    for recipe, short in recipes:
        for one in (recipe, short):
            if one is not None:
                name = recipe.name if one is recipe else "  --short"
                size = "x".join(str(side) for side in one.size)
                table.add_row(name, one.data, one.network, size, str(one.epochs), Text(one.needs))
    return table
