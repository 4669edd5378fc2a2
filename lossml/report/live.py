"""What a person sees while a search runs: a live view on a terminal, lines elsewhere."""

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lossml.report.screens import Lines, Screen
from lossml.report.tables import leaderboard, leaders, rejected, states
from lossml.report.words import duration, last_score, setting, several, training
from lossml.search.events import (
    CohortFinished,
    Confirming,
    Controlling,
    Event,
    Gauging,
    Proposed,
    Proposing,
    RungStarted,
    Started,
)
from lossml.search.recipe import Recipe
from lossml.search.records import Trial

FIRST = "proposing losses (the first search on a machine also compiles, for some seconds)"


@dataclass(slots=True)
class Progress:
    """What is known of a search in progress: the state behind both views."""

    started: Started | None = None
    began: float = field(default_factory=monotonic)
    trials: list[Trial] = field(default_factory=list[Trial])
    replayed: int = 0
    rejections: Counter[str] = field(default_factory=Counter[str])
    doing: str = "loading the data"
    controlling: Controlling | None = None
    confirming: Confirming | None = None
    stage_began: float = field(default_factory=monotonic)

    def take(self, event: Event) -> None:
        """Take an event in."""
        if isinstance(event, Started):
            self.started, self.began, self.doing = event, monotonic(), FIRST
        elif isinstance(event, Proposing):
            self.doing = _proposing(event.beside) if self.trials or event.beside else FIRST
        elif isinstance(event, Proposed):
            self.rejections.update(event.rejections)
        elif isinstance(event, RungStarted):
            where = training(self.started.recipe, event.rung) if self.started else ""
            self.doing = f"training {event.trials} {where}"
        elif isinstance(event, Gauging):
            self.doing = f"training cross-entropy on {event.task}, to measure gains by"
        elif isinstance(event, CohortFinished):
            self.trials += event.trials
            self.replayed += len(event.trials) if event.replayed else 0
        elif isinstance(event, Controlling):
            self.stage_began = self.stage_began if self.controlling else monotonic()
            self.controlling = event
        else:
            if self.confirming is None or _part(self.confirming) != _part(event):
                self.stage_began = monotonic()
            self.confirming = event

    @property
    def share(self) -> float:
        """How much of the present stage is done, in [0, 1]."""
        if self.confirming is not None:
            return self.confirming.done / max(1, self.confirming.total)
        if self.controlling is not None:
            return min(1.0, self.controlling.done / max(1.0, self.controlling.total))
        return len(self.trials) / self.started.recipe.budget if self.started else 0.0

    def left(self) -> str:
        """Say how long the present stage may still take."""
        now = monotonic()
        if self.confirming is None and self.controlling is not None:
            done, total, spent = self.controlling.done, self.controlling.total, now - self.stage_began
        elif self.confirming is not None:
            done, total, spent = self.confirming.done, self.confirming.total, now - self.stage_began
        else:
            done, total = len(self.trials) - self.replayed, self.budget() - self.replayed
            spent = now - self.began
        return f"about {duration(spent * max(0, total - done) / done)} left" if done else "time left unknown"

    def budget(self) -> int:
        """Return how many trials there will be; 0 before the search has started."""
        return self.started.recipe.budget if self.started else 0

    def stage(self) -> str:
        """Say what is being done."""
        if self.confirming is None and self.controlling is not None:
            done, total = self.controlling.done, self.controlling.total
            return f"control    random search, {done:.1f} of {total:.1f} full trainings"
        if self.confirming is None:
            return f"searching  {len(self.trials)} of {self.budget()} trials, {self.doing}"
        what = {"tune": "tuning learning rates", "seeds": "paired seeds, held-out split"}[self.confirming.stage]
        where = f" on {self.confirming.task}" if self.confirming.task else ""
        return f"confirming {self.confirming.done} of {self.confirming.total} trainings{where}, {what}"

    def title(self) -> str:
        """Say what is searched, and where."""
        if self.started is None:
            return "starting"
        facts, recipe = self.started.facts, self.started.recipe
        return (
            f"{facts.name}{setting(recipe)}{_others(recipe)}: "
            f"{facts.classes} classes, {facts.sizes[0]} training samples, "
            f"{facts.parameters} weights, {facts.steps} steps; {_means(self.started)}; {self.started.run}"
        )


def _proposing(beside: int) -> str:
    return "proposing losses" + f", {beside} of the last still in training" * (beside > 0)


def _means(started: Started) -> str:
    """Say with what is trained: cpu, 2 workers (1.9 times one), bfloat16."""
    many = f"{started.workers or 'no'} worker{'s' * (started.workers != 1)}"
    times = f" ({started.times:.1f} times one)" * (started.times > 1.0)
    return f"{started.device}, {many}{times}" + ", bfloat16" * started.facts.bfloat16


class PlainView(Lines):
    """One line per event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        """Write to a console."""
        super().__init__(console)
        self._progress, self._told = Progress(), -1

    def __call__(self, event: Event) -> None:
        """Write what is worth a line."""
        self._progress.take(event)
        if isinstance(event, Started):
            self._say(self._progress.title())
            if line := several(event.recipe):
                self._say(line)
        elif isinstance(event, CohortFinished):
            self._say(
                f"{event.done} of {self._progress.budget()} trials, "
                f"{self._best()}{'' if event.replayed else ', ' + self._progress.left()}"
            )
        elif isinstance(event, Controlling) or (isinstance(event, Confirming) and self._worth(event)):
            self._say(f"{self._progress.stage()}, {self._progress.left()}")

    def _worth(self, event: Confirming) -> bool:
        """Ten lines a stage are enough."""
        tenth = 10 * event.done // max(1, event.total)
        worth, self._told = tenth != self._told, tenth
        return worth

    def _best(self) -> str:
        recipe = self._progress.started and self._progress.started.recipe
        found = leaders(self._progress.trials, recipe.aim) if recipe else []
        if not recipe or not found:
            return "none alive"
        return f"best {last_score(found[0], recipe.aim)} by {found[0].program}"


class LiveView(Screen):
    """A screen that follows the search."""

    def __init__(self, console: Console) -> None:
        """Draw on a console that is a terminal."""
        super().__init__(console, rate=4)
        self._progress = Progress()

    def __call__(self, event: Event) -> None:
        """Take an event in; the next refresh shows it."""
        self._progress.take(event)

    def __rich__(self) -> RenderableType:
        """Draw the present state."""
        progress = self._progress
        bar = Table.grid(expand=True, padding=(0, 1))
        bar.add_column(ratio=1)
        bar.add_column(justify="right")
        bar.add_row(ProgressBar(total=1.0, completed=progress.share), progress.left())
        started = progress.started
        return Group(
            Text(progress.title(), style="bold"),
            *([Text(line, style="dim")] if started and (line := several(started.recipe)) else []),
            Text(progress.stage()),
            bar,
            states(progress.trials),
            rejected(dict(progress.rejections.most_common())),
            leaderboard(progress.trials, started.recipe, 8) if started else Text(),
            Text("Ctrl-C stops; the run can be resumed.", style="dim"),
        )


def _others(recipe: Recipe) -> str:
    return f" (and on {', '.join(recipe.also_on)})" if recipe.also_on else ""


def _part(event: Confirming) -> tuple[str, str, int]:
    """Tell parts of a confirmation apart: rates beyond the grid are tuned in a part with a total of its own."""
    return event.stage, event.task, event.total
