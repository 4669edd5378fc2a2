"""`lossml search`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lossml.cli.common import console, interrupt_on_termination, print_json
from lossml.search.objective import METRICS
from lossml.search.recipe import CONTROLS, NETWORKS, NOISE_KINDS, PROPOSERS, PRUNERS

if TYPE_CHECKING:
    from lossml.search.reading import RunRecord


@click.command("search")
@click.option(
    "--dataset",
    help="A name that `lossml data` lists, image-folder:PATH, segmentation-folder:PATH, or module:attribute.",
)
@click.option("--budget", type=int, help="How many losses are trained, pruned ones included.  [200]")
@click.option("--seed", type=int, help="The same seed gives the same search.  [0]")
@click.option(
    "--seeds",
    help="What is proposed first: zoo, none, a file with one loss a line, or PySR's hall of fame (.csv).  [zoo]",
)
@click.option("--label-noise", type=float, help="Share of training labels made wrong.  [0]")
@click.option("--label-noise-kind", type=click.Choice(NOISE_KINDS), help="Wrong labels: any, or the next.  [symmetric]")
@click.option("--train-size", type=int, help="Labelled training samples; 0 for all.  [0]")
@click.option("--network", type=click.Choice(NETWORKS), help="Of classes of images.  [large on a GPU, else small]")
@click.option("--long-tail", type=float, help="Imbalance ratio of the training split.  [1]")
@click.option(
    "--also-on",
    multiple=True,
    help="Another task that every loss is trained on: digits,long_tail=50; repeatable. Scores are means over all.",
)
@click.option("--trial-seeds", type=int, help="Trainings of every loss on each task.  [1]")
@click.option("--objective", help=f"{', '.join(METRICS)}, or a sum: 'balanced_accuracy - 0.5*ece'.  [accuracy]")
@click.option(
    "--pruner", type=click.Choice(PRUNERS), help="Who stops weak trials.  [asha; of several trainings wilcoxon]"
)
@click.option("--proposer", type=click.Choice(PROPOSERS), help="Who proposes losses.  [surrogate]")
@click.option("--control", type=click.Choice(CONTROLS), help="A random search of equal training beside it.  [none]")
@click.option(
    "--confirm-on",
    multiple=True,
    help="Another task to test the result on: fashion-mnist, or digits,label_noise=0.2; repeatable, adds to a run.",
)
@click.option("--time-limit", type=float, help="Seconds after which no further cohort starts.")
@click.option("--recipe", "file", help="A recipe file; flags win over it.")
@click.option("--name", help="Name of the run's folder in runs/.")
@click.option("--resume", help="Go on with a run: its folder, or its name in runs/.")
@click.option("--no-confirm", is_flag=True, help="Stop after the search, without a verdict.")
@click.option("--device", help="auto, cpu, cuda, cuda:1, ...  [auto]")
@click.option("--workers", type=int, help="Processes; 0 trains in this one.  [one for each useful core, one per GPU]")
@click.option("--data-root", help="Folder of the data sets.  [LOSSML_DATA, or a cache]")
@click.option("--json", "as_json", is_flag=True, help="Write the result as JSON to standard output.")
@click.option("--plain", is_flag=True, help="Lines instead of a live view.")
def command(
    file: str | None,
    name: str | None,
    resume: str | None,
    no_confirm: bool,
    as_json: bool,
    plain: bool,
    **flags: Any,  # noqa: ANN401 - keys of a recipe, checked there
) -> None:
    """Search for a loss, and confirm what was found."""
    interrupt_on_termination()
    given = {key: value for key, value in flags.items() if value not in {None, ()}}
    record = _watched(given, file, name, resume, confirming=not no_confirm, plain=plain or as_json)
    if as_json:
        print_json(record)
        return
    _report(record)


def _watched(
    given: dict[str, Any], file: str | None, name: str | None, resume: str | None, *, confirming: bool, plain: bool
) -> "RunRecord":
    from lossml.report.live import LiveView, PlainView
    from lossml.search import runs
    from lossml.search.events import Event, Started
    from lossml.search.reading import find_run

    folder: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, Started):
            folder.append(event.run)
        view(event)

    screen = console(stderr=True)
    try:
        with (LiveView if screen.is_terminal and not plain else PlainView)(screen) as view:
            if resume is None:
                return runs.search(given, file=file, name=name, confirming=confirming, listener=hear)
            if file is not None or name is not None:
                raise click.UsageError("--resume takes the recipe and name of the run; leave --recipe and --name out")
            return runs.resume(find_run(resume), given, confirming=confirming, listener=hear)
    except KeyboardInterrupt:
        kept = f"Every finished trial is kept; go on with: lossml search --resume {folder[0]}" if folder else ""
        click.echo(f"Stopped. {kept or 'Nothing had been trained yet.'}", err=True)
        sys.exit(130)


def _report(record: "RunRecord") -> None:
    from rich.text import Text

    from lossml.report.tables import control, leaderboard, rejected, rungs, states, tasks, verdict_view

    out = console()
    if record.verdict is not None:
        out.print(verdict_view(record.verdict))
    if record.tasks:
        out.print(tasks(record.tasks, record.recipe.objective))
    out.print(states(record.trials))
    out.print(rejected(record.rejections))
    out.print(rungs(record.summary))
    if record.summary.control is not None:
        out.print(control(record.summary.control, record.recipe.aim))
    out.print(leaderboard(record.trials, record.recipe, 5))
    run = Path(record.path)
    out.print(Text(f"Run: {run}. Next: lossml show {run}, lossml export best --run {run} -o my_loss.py"))
