"""A run as one HTML page that needs nothing from anywhere: the verdict first, then what it rests on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from lossml.card import Card
from lossml.program import parse
from lossml.report import run_rows as rows
from lossml.report.card_page import advice_list, card_parts
from lossml.report.markup import Child, page, table, tag
from lossml.report.run_plots import Dot, Estimate, Path, family_plot, front_plot, intervals, rung_plot
from lossml.report.tables import comparison_caption, corrected_row, leaders
from lossml.report.words import ABOUT_TASKS, TASKS, fidelity, last_score, plotted, task_rows, trained, unit
from lossml.search.cost import cost
from lossml.search.family import Ancestor, family
from lossml.search.objective import as_read, gap, read_objective
from lossml.search.reading import RunRecord, foremost
from lossml.search.records import State, Trial
from lossml.search.results import Comparison

FIRST = 10  # rows of a long table that are always shown
SHARE = "Scores are on the split that the search selected by, so they flatter; the confirmation's are not of it."


@dataclass(frozen=True, slots=True)
class Described:
    """A trial with the card of its loss."""

    trial: Trial
    card: Card


@dataclass(frozen=True, slots=True)
class _Section:
    key: str
    name: str
    parts: Callable[[RunRecord, Sequence[Described]], Iterator[Child]]


def run_page(record: RunRecord, cards: Sequence[Described]) -> str:
    """Write a run as an HTML document.

    Args:
        record: as `lossml.search.reading.load_run` gives it.
        cards: of its best losses, best first.
    """
    made = [(one, list(one.parts(record, cards))) for one in SECTIONS]
    shown = [(one, parts) for one, parts in made if parts]
    links = (tag("li", tag("a", one.name, href=f"#{one.key}")) for one, _ in shown)
    head = tag("header", tag("h1", rows.heading(record)), tag("p", rows.under_heading(record), class_="soft"))
    contents = tag("nav", tag("ul", *links), aria_label="Contents")
    sections = (tag("section", tag("h2", one.name, id=one.key), *parts) for one, parts in shown)
    return page(f"{rows.heading(record)}: LossML report", head, contents, tag("main", *sections))


def _verdict(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    if record.verdict is None:
        yield tag("p", rows.without_verdict(record), class_="claim open")
        return
    found = record.verdict
    state = "open" if found.winner is None else found.winner.verdict.replace(" ", "-")
    yield tag("p", found.sentence, class_=f"claim {state}")
    if found.winner is not None:
        yield tag("p", "The loss: ", tag("code", found.winner.contender.program))
    yield from _estimates(found.comparison, found.winner.contender.label if found.winner else "")
    yield _compared(found.comparison, "Confirmation")


def _elsewhere(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    for one in record.verdict.transfers if record.verdict is not None else ():
        yield tag("h3", f"On {one.task}")
        yield tag("p", corrected_row(one), class_="soft")
        yield _compared(one.comparison, f"Confirmation on {one.task}")


def _compared(comparison: Comparison, name: str) -> Element:
    heads, caption = rows.comparison_heads(comparison), comparison_caption(comparison)
    return table(heads, rows.comparison_rows(comparison), caption, numbers=range(2, 9), name=name)


def _estimates(comparison: Comparison, chosen: str) -> Iterator[Element]:
    objective = comparison.design.objective
    drawn = [
        Estimate(
            f"{rows.contender_name(row)}: {row.verdict}",
            *(plotted(value, objective) for value in (row.difference, row.low, row.high)),
            chosen=row.contender.label == chosen,
        )
        for row in comparison.rows
        if row.difference is not None
    ]
    if drawn:
        title = f"Difference to {comparison.rows[0].contender.label} of every contender"
        words = f"Held-out {objective} against {comparison.rows[0].contender.label}, with intervals; right is better."
        yield _figure(intervals(title, read_objective(objective).unit, drawn), words)


def _figure(drawing: Element, words: str) -> Element:
    return tag("figure", drawing, tag("figcaption", words))


def _searched(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    yield tag("dl", *(part for name, text in rows.searched(record) for part in (tag("dt", name), tag("dd", text))))


def _best(record: RunRecord, cards: Sequence[Described]) -> Iterator[Child]:
    if not foremost(record, 1):
        yield tag("p", "No trial was trained to the end, so there is no loss to describe yet.")
    for one in cards:
        yield from _loss(one, record)


def _loss(one: Described, record: RunRecord) -> Iterator[Child]:
    trial, card, recipe = one.trial, one.card, record.recipe
    score = f"{recipe.aim} {last_score(trial, recipe.aim)} after {trained(trial, recipe)}"
    yield tag("h3", f"Trial {trial.number}")
    yield tag("p", tag("code", trial.program, class_="formula"))
    yield tag("p", f"{score}, made by {trial.operator}.", class_="soft")
    verdicts = ((name, claim.verdict) for name, claim in card.claims.items())
    yield tag("ul", *(tag("li", f"{name}: ", tag("b", text, class_=text)) for name, text in verdicts), class_="claims")
    yield advice_list(card)
    summary = tag("summary", f"The whole loss card of trial {trial.number}")
    yield tag("details", summary, *card_parts(card, 4))


def _leaderboard(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    ordered = leaders(record.trials, record.recipe.aim)
    if not ordered:
        yield tag("p", "No trial has been trained yet.")
        return
    heads = [name if name != "score" else record.recipe.aim for name in rows.TRIALS]
    cells = [_with_code(row) for row in rows.trial_rows(ordered, record.recipe)]
    yield table(heads, cells[:FIRST], SHARE, numbers=(2,), name="Leaderboard")
    if cells[FIRST:]:
        rest = table(heads, cells[FIRST:], numbers=(2,), name="The other trials")
        yield tag("details", tag("summary", f"The other {len(cells) - FIRST} trials"), rest)


def _with_code(row: Sequence[str]) -> list[Child]:
    return [*row[:-1], tag("code", row[-1])]


def _front(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    objective, front = record.recipe.aim, record.summary.front
    if not front:
        return
    dots = [_dot(trial, parse(trial.program).size, objective) for trial in _complete(record)]
    steps = [(point.size, plotted(point.score, objective)) for point in front]
    words = "Each step is the best score for that size or less: what each further node buys."
    yield _figure(front_plot("Score against size", unit(objective), dots, steps), words)
    heads = [name if name != "score" else objective for name in rows.FRONT]
    cells = map(_with_code, rows.front_rows(front, objective))
    yield table(heads, cells, SHARE, numbers=(0, 1, 2), name="The front of score against size")


def _complete(record: RunRecord) -> list[Trial]:
    return [trial for trial in record.trials if trial.state is State.COMPLETE]


def _dot(trial: Trial, x: float, objective: str, tint: str = "b") -> Dot:
    label = f"trial {trial.number}: {last_score(trial, objective)}, {trial.program}"
    hollow = tint == "b" or trial.state is not State.COMPLETE
    return Dot(x, _plotted(trial, objective), label, tint, hollow=hollow)


def _plotted(trial: Trial, objective: str) -> float:
    return plotted(as_read(trial.scores(objective)[-1], objective), objective)


def _rejected(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    total = sum(record.rejections.values())
    yield tag("p", f"{total:,} programs were rejected without training; {len(record.trials):,} were trained.")
    if total:
        cells = rows.reason_rows(record.rejections)
        most = max(record.rejections.values())
        bars = [
            [*row[:2], _bar(count / most), row[2]] for row, count in zip(cells, record.rejections.values(), strict=True)
        ]
        yield table([*rows.REASONS[:2], "share", rows.REASONS[2]], bars, numbers=(1,), name="Rejections by reason")
    if failed := rows.failure_rows(record.trials):
        cells = [[number, tag("code", program), why] for number, program, why in failed]
        yield table(rows.FAILURES, cells, "Trials that could not be trained to their next rung.", name="Failed trials")


def _bar(share: float) -> Element:
    inside = tag("rect", width=round(max(100 * share, 1), 1), height=10, class_="bar")
    return tag("svg", inside, viewBox="0 0 100 10", class_="bars", aria_hidden="true")


def _tasks(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    if not record.tasks:
        return
    heads, cells = list(TASKS), task_rows(record.tasks, record.recipe.objective)
    caption = f"{record.recipe.objective} on the search-validation splits. {ABOUT_TASKS}"
    yield table(heads, cells, caption, numbers=range(1, 6), name="Tasks of the search")


def _rungs(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    summary = record.summary
    if not summary.rungs:
        return
    if summary.warning:
        yield tag("p", tag("span", "Warning: ", class_="warning"), summary.warning)
    caption = (
        "Spearman's rank correlation of each rung with the score after full training, over the trials that the pruner "
        "let through, with its 95% interval. Near 0, an early stop is a coin toss."
    )
    yield table(rows.RUNGS, rows.rung_rows(summary.rungs), caption, numbers=(1, 2, 3), name="Agreement of the rungs")
    yield from _curves(record)


def _curves(record: RunRecord) -> Iterator[Element]:
    objective, rungs = record.recipe.objective, record.recipe.rungs
    best = [trial.number for trial in foremost(record, 1)]
    paths = [_path(trial, objective, chosen=trial.number in best) for trial in record.trials if trial.metrics]
    if paths:
        names = [fidelity(rung) for rung in rungs]
        words = "Score of every trial at each rung, as far as the pruner let it train."
        yield _figure(rung_plot("Learning curves", unit(objective), rungs, names, paths), words)


def _path(trial: Trial, objective: str, *, chosen: bool) -> Path:
    scores = tuple(plotted(as_read(score, objective), objective) for score in trial.scores(objective))
    label = f"trial {trial.number}: {trial.program}"
    return Path(label, scores, trial.state is State.COMPLETE, chosen)


def _cost(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    if not record.cohorts:
        return
    found = cost(record.trials, record.cohorts, record.recipe.stages)
    caption = (
        "Of the search alone, without its control and its confirmation. Programs include those that the surrogate "
        "passed over. The time spared is an estimate."
    )
    yield table(rows.COST, rows.cost_rows(found), caption, numbers=(1,), name="Cost")


def _family(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    chosen = foremost(record, 1)
    if not chosen:
        return
    found = family(record.trials, chosen[0].number)
    yield tag("p", _origin(found))
    if len(found) > 1:
        objective = record.recipe.aim
        dots = {
            one.trial.number: _dot(one.trial, one.trial.number, objective, "a") for one in found if one.trial.metrics
        }
        links = [(k, parent) for k in dots for parent in _by_number(found)[k].parents if parent in dots]
        words = (
            "Every trial that the best descends from, joined with its parents. Hollow: stopped early, so scored early."
        )
        yield _figure(family_plot("Family of the best", unit(objective), dots, links), words)
        heads = [name if name != "score" else objective for name in rows.FAMILY]
        cells = list(map(_with_code, rows.family_rows(found, record.recipe)))
        yield _folded(heads, cells, "Family of the best", numbers=(1, 4))


def _folded(heads: Sequence[str], cells: list[list[Child]], name: str, numbers: tuple[int, ...]) -> Element:
    made = table(heads, cells, numbers=numbers, name=name)
    return tag("details", tag("summary", f"The {len(cells)} trials of the family, nearest first"), made)


def _by_number(found: Sequence[Ancestor]) -> dict[int, Trial]:
    return {one.trial.number: one.trial for one in found}


def _origin(found: Sequence[Ancestor]) -> str:
    best = found[0].trial
    if len(found) == 1:
        return f"Trial {best.number} has no parents: it was made by {best.operator}."
    back = max(one.generation for one in found)
    parents = " and ".join(map(str, best.parents))
    return (
        f"Trial {best.number} was made by {best.operator} from {parents}, and descends from {len(found) - 1} trials "
        f"over {back} generation{'s' * (back != 1)}."
    )


def _control(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    found = record.summary.control
    if found is None:
        return
    yield tag("p", _against(record))
    cells, objective = rows.control_rows(found, len(record.trials), record.recipe.aim), record.recipe.aim
    yield table([*rows.CONTROL[:-1], f"best {objective}"], cells, SHARE, numbers=(1, 2, 3), name="Control")


def _against(record: RunRecord) -> str:
    same = "A random search with the same screens, pruner and training seeds, which trained as much."
    match = record.verdict.comparison.control if record.verdict else None
    if match is None:
        return f"{same} The two have not been tested against each other on held-out data."
    ends = {"better": "the search is better", "worse": "the random search is better"}
    interval = gap(match.difference, record.recipe.objective, (match.low, match.high))
    verdict = ends.get(match.verdict, "no difference found")
    return f"{same} On held-out data, {match.ours} against {match.theirs}: {interval}, p = {match.p:.2g}, {verdict}."


def _rerun(record: RunRecord, _cards: Sequence[Described]) -> Iterator[Child]:
    yield tag(
        "p",
        "Save the recipe as recipe.toml. With these versions, on the same kind of device, this gives the same search:",
    )
    yield tag("pre", tag("code", "lossml search --recipe recipe.toml"))
    yield tag("h3", "Recipe")
    yield tag("pre", tag("code", record.recipe.to_toml()))
    if record.provenance:
        yield tag("h3", "Versions and device")
        yield table(["what", "which"], rows.version_rows(record.provenance), name="Versions and device")


SECTIONS = (
    _Section("verdict", "Verdict", _verdict),
    _Section("elsewhere", "On other tasks", _elsewhere),
    _Section("searched", "What was searched", _searched),
    _Section("best", "Best losses", _best),
    _Section("leaderboard", "Leaderboard", _leaderboard),
    _Section("front", "Score against size", _front),
    _Section("rejected", "Rejected and failed", _rejected),
    _Section("tasks", "Tasks of the search", _tasks),
    _Section("rungs", "Early rungs", _rungs),
    _Section("cost", "Cost", _cost),
    _Section("family", "Where the best came from", _family),
    _Section("control", "Control", _control),
    _Section("rerun", "To run it again", _rerun),
)
