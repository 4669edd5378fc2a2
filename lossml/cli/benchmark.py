"""`lossml benchmark`."""

import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lossml.cli.common import console, loss_named, print_json
from lossml.errors import UsageError
from lossml.search.recipe import NOISE_KINDS

if TYPE_CHECKING:
    from lossml.benchmark import Entrant
    from lossml.benchmark.recipe import Training
    from lossml.program import Node
    from lossml.search.results import Comparison
    from lossml.zoo import Foreign

FORMATS = ("table", "json", "csv", "markdown", "latex")
ONLY_PROXY = ("label_noise", "label_noise_kind", "train_size", "long_tail")
ONLY_RECIPE = ("short", "settings", "devices", "readers")


@click.command("benchmark")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="List the recipes of full training.")
@click.option("--compare", "comparing", is_flag=True, help="NAME... are folders of benchmarks: join them in one table.")
@click.option("--short", is_flag=True, help="The recipe's short variant.")
@click.option("--proxy", is_flag=True, help="Train a search's proxy task, where NAME is a recipe, too.")
@click.option("--losses", help="The first is the reference.  [the recipe's]")
@click.option("--seeds", type=click.IntRange(2), help="Paired seeds.  [the recipe's; 5 for proxies]")
@click.option("--learning-rates", help="Multiples every loss is tuned over; one alone is not tuned.  [0.3,1,3]")
@click.option("--objective", help="What is compared.  [the recipe's]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a key of the recipe; may be repeated.")
@click.option(
    "--label-noise", type=click.FloatRange(0.0, 0.95), default=0.0, help="Proxies: share of training labels made wrong."
)
@click.option(
    "--label-noise-kind",
    type=click.Choice(NOISE_KINDS),
    default="symmetric",
    show_default=True,
    help="Proxies: wrong labels are any, or the next.",
)
@click.option("--train-size", type=click.IntRange(0), default=0, help="Proxies: labelled training samples; 0 for all.")
@click.option("--long-tail", type=click.FloatRange(1.0), default=1.0, help="Proxies: imbalance of the training split.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Shifts all seeds.")
@click.option("--run", help="The run that `best` is taken from.  [the latest]")
@click.option("-o", "--output", help="Folder for plan, trainings and tables.  [benchmark-NAME]")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="Of the result.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
@click.option("--devices", type=click.IntRange(0), default=0, help="Devices that train a network together.  [all GPUs]")
@click.option("--workers", type=click.IntRange(0), help="Networks trained side by side on a CPU.  [one per core]")
@click.option("--readers", type=click.IntRange(0), help="Processes that read data for each device.")
@click.option("--data-root", help="Folder of the data sets.  [LOSSML_DATA, or a cache]")
@click.pass_context
def command(context: click.Context, names: tuple[str, ...], listing: bool, comparing: bool, **options: Any) -> None:  # noqa: ANN401 - an option each
    """Compare losses by full training, with tuned learning rates and paired seeds.

    NAME is a recipe (--list), a TOML file of one's own, or a search's task such as digits.
    """
    form = "json" if options.pop("as_json") else options.pop("form")
    options.pop("form", None)
    if listing:
        _list(form)
        return
    if comparing:
        _join(names, form)
        return
    if len(names) != 1:
        raise click.UsageError(
            f"{len(names)} names are given; give one recipe or task, `lossml benchmark --list` lists them"
        )
    given = {name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    found, folder = _run(names[0], options, given, form)
    _show(found, form)
    if form == "table":
        console().print(f"Plan, trainings and tables: {folder}", markup=False)


def _run(name: str, options: dict[str, Any], given: set[str], form: str) -> "tuple[Comparison, Path]":
    from lossml.benchmark.recipe import is_recipe

    _check_name(name)
    full = is_recipe(name) and not options["proxy"]
    wrong = [
        f"--{'set' if o == 'settings' else o.replace('_', '-')}"
        for o in (ONLY_PROXY if full else ONLY_RECIPE)
        if o in given
    ]
    if wrong:
        there = (
            "a recipe of full training; add --proxy for the task of that name" if full else "no recipe of full training"
        )
        raise UsageError(f"{', '.join(wrong)} cannot be given here: {name} is {there}")
    short = "-short" if options["short"] else ""
    folder = Path(options["output"] or f"benchmark-{re.sub(r'[^A-Za-z0-9.]+', '-', name)}{short}")
    try:
        return (_full if full else _proxy)(name, options, folder, quiet=form != "table"), folder
    except KeyboardInterrupt:
        click.echo("Stopped. What is trained is kept; the same command goes on.", err=True)
        sys.exit(130)


def _check_name(name: str) -> None:
    """Refuse a name that is neither a recipe nor a search's task."""
    from lossml.benchmark.recipe import is_recipe, names
    from lossml.proxy import task_names

    recipes, tasks = names(), task_names()
    if is_recipe(name) or name in tasks or ":" in name:
        return
    near = get_close_matches(name, dict.fromkeys([*recipes, *tasks]), 1)
    raise UsageError(
        f"{name!r} is no recipe of full training, no TOML file and no search's task; "
        f"{f'did you mean {near[0]!r}? T' if near else 't'}here are the recipes {', '.join(recipes)}, and the tasks "
        f"{', '.join(tasks)}"
    )


def _full(name: str, options: dict[str, Any], folder: Path, *, quiet: bool) -> "Comparison":
    """Train by a recipe."""
    from lossml.benchmark.needs import check_installed
    from lossml.benchmark.recipe import read, settings

    keys = settings(options["settings"])
    keys |= {key: options[key] for key in ("seeds", "objective") if options[key] is not None}
    if options["learning_rates"] is not None:
        keys["learning_rates"] = _rates(options["learning_rates"])
    recipe = read(name, keys, short=options["short"])
    entrants = _entrants(options, recipe.losses)
    check_installed()
    from lossml.benchmark.events import Watch
    from lossml.benchmark.full import Given, benchmark_recipe
    from lossml.benchmark.trainer import TRAININGS, Where
    from lossml.report.benchmark import LiveView, PlainView

    automatic = {key: -1 if options[key] is None else options[key] for key in ("workers", "readers")}
    where = Where(options["device"], options["devices"], **automatic)
    screen = console(stderr=True)
    view = (LiveView if screen.is_terminal and not quiet else PlainView)(screen, _title(recipe, entrants))
    with view, Watch(folder / TRAININGS, view):
        return benchmark_recipe(recipe, entrants, folder, Given(options["seed"], options["data_root"], where), view)


def _title(recipe: "Training", entrants: "Sequence[Entrant]") -> str:
    losses = ", ".join(entrant.label for entrant in entrants)
    length = f"{recipe.epochs} epochs, {recipe.seeds} seeds"
    return f"{recipe.name}: {losses} on {recipe.data} with {recipe.network}, {length}"


def _proxy(name: str, options: dict[str, Any], folder: Path, *, quiet: bool) -> "Comparison":
    """Train a search's task."""
    from lossml.benchmark import benchmark
    from lossml.proxy import TaskSpec
    from lossml.report.live import LiveView, PlainView
    from lossml.search.recipe import make_recipe
    from lossml.search.results import Design

    changed = {} if options["objective"] is None else {"objective": options["objective"]}
    recipe = make_recipe({"dataset": name, "long_tail": options["long_tail"], **changed})
    entrants = _entrants(options, recipe.baselines)
    design = Design(
        options["seeds"] or 5, _rates(options["learning_rates"] or "0.3,1,3"), recipe.objective, seed=options["seed"]
    )
    spec = TaskSpec(
        name,
        options["data_root"],
        options["label_noise"],
        options["long_tail"],
        noise_kind=options["label_noise_kind"],
        train_size=options["train_size"],
    )
    screen = console(stderr=True)
    with (LiveView if screen.is_terminal and not quiet else PlainView)(screen) as view:
        return benchmark(
            spec, entrants, design, folder, device=options["device"], workers=options["workers"], listener=view
        )


def _list(form: str) -> None:
    from lossml.benchmark import recipe as recipes
    from lossml.errors import RecipeError

    found: list[tuple[Training, Training | None]] = []
    for name in recipes.names():
        try:
            short = recipes.read(name, short=True)
        except RecipeError:
            short = None
        found.append((recipes.read(name), short))
    if form == "json":
        print_json([{"recipe": one, "short": short} for one, short in found])
        return
    from lossml.report.benchmark import recipes_table

    console().print(recipes_table(found))
    console().print("lossml benchmark NAME trains one; its file says what it is; lossml data says what is there.")


def _join(names: Sequence[str], form: str) -> None:
    from lossml.benchmark.join import join

    found = join([Path(name) for name in names])
    for note in found.notes:
        click.echo(f"Note: {note}", err=True)
    _show(found.comparison, form)


def _show(found: "Comparison", form: str) -> None:
    if form == "json":
        print_json(found)
        return
    from lossml.benchmark import tables

    if form in tables.FORMATS:
        click.echo(tables.FORMATS[form](found), nl=False)
        return
    from lossml.report.tables import comparison_table

    console().print(comparison_table(found))
    for sentence in tables.sentences(found)[1:]:
        console().print(sentence, markup=False)


def _entrants(options: dict[str, Any], default: Sequence[str]) -> "list[Entrant]":
    from lossml.benchmark import Entrant

    losses: str | None = options["losses"]
    names = default if losses is None else _listed(losses)
    return [Entrant(name, _loss(name, options["run"])) for name in names]


def _listed(text: str) -> list[str]:
    """Split at the commas that stand outside all brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth = max(0, depth + (sign in "([{") - (sign in ")]}"))
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def _loss(name: str, run: str | None) -> "Node | Foreign":
    from lossml import zoo

    return zoo.contender(name) if name in zoo.FOREIGN else loss_named(name, run)[0]


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is no list of numbers such as 0.3,1,3", param_hint="--learning-rates"
        ) from error
    if not all(0 < rate < 1e6 for rate in rates):
        raise click.BadParameter(f"{text!r} holds a number that is not positive", param_hint="--learning-rates")
    return rates
