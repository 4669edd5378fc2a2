"""Write the pages of docs/losses/, one entry a loss, and the lists in docs/losses.md, from the zoo and its cards.

    python tools/loss_pages.py

The pages are committed; tests/zoo/test_page.py compares them with what this would write.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossml import algebra, zoo
from lossml.card.claim import Claim, number
from lossml.card.consistency import calibrated, confidence, proper
from lossml.card.optimum import Optimum, optimum
from lossml.card.scale import Scale, scale
from lossml.card.shape import bounded, convex, symmetric
from lossml.card.simplex import CLASSES as SIMPLEX
from lossml.card.simplex import best_answers
from lossml.card.subject import read_subject
from lossml.program import parse, show
from lossml.zoo import Entry, Parameter

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs" / "losses.md"
CLASSES = 10
USES: dict[str, str] = tomllib.loads((ROOT / "tools" / "when_to_use.toml").read_text())
KINDS = {"classification": "Classification", "multi-label": "Several labels", "segmentation": "Segmentation"}
SYMBOLS = {
    "gamma_pos": r"\gamma_{+}",
    "gamma_neg": r"\gamma_{-}",
    "margin": "m",
    "scale": "s",
    "smooth": "s",
    "weight": "w",
    **{name: rf"\{name}" for name in ("alpha", "beta", "gamma", "delta", "epsilon", "tau")},
    **{f"c{k}": f"c_{k}" for k in range(6)},
}
HEAD = "<!-- written by tools/loss_pages.py -->\n\n# {title}\n\n{intro}\n"
INTROS = {
    "classification": "One class per sample.",
    "multi-label": "Any number of classes per sample; the target has the logits' shape.",
    "segmentation": "One class per pixel; overlaps are taken per class over all images of the batch together.",
}
READING = (
    "Formulas are written with their parameters as letters, programs with the published values. What each property "
    f"means, and how it is found, says [the loss card](../loss-card.md); the figures are for {CLASSES} classes."
)


def page(kind: str) -> Path:
    """Return where the entries of a kind stand."""
    return ROOT / "docs" / "losses" / f"{kind}.md"


def anchor(name: str) -> str:
    """Return a loss's anchor in its page."""
    return name.replace("+", "-and-")


def entries(kind: str) -> list[Entry]:
    """Return the losses of a kind."""
    return [entry for entry in zoo.ENTRIES.values() if entry.kind == kind]


def formula(entry: Entry) -> str:
    """Write a loss in LaTeX with its parameters as letters.

    The program is built with numbers that stand nowhere else, and these are then replaced.
    """
    if callable(entry.template):  # its length depends on its parameters
        return algebra.latex(entry.program())
    marks = {name: f"0.73{k}0001" for k, name in enumerate(entry.parameters, 1)}
    text = algebra.latex(parse(entry.text(**{name: float(mark) for name, mark in marks.items()})))
    for name, mark in marks.items():
        text = text.replace(mark, SYMBOLS.get(name, name))
    return re.sub(r"\d+\.\d{6,}", lambda found: f"{float(found[0]):.2f}", text)


def source(entry: Entry) -> str:
    """Write where a loss comes from, with a link where it is on arXiv."""
    return re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", entry.source)


def parameters(entry: Entry) -> str:
    """Write the parameters with their published values and ranges."""
    if not entry.parameters:
        return "none"
    return "; ".join(
        f"`{name}`{_letter(entry, name)} = {one.default:g}, {_range(one)}" for name, one in entry.parameters.items()
    )


def _letter(entry: Entry, name: str) -> str:
    """Say which letter of the formula a parameter is, where its name does not."""
    letter = SYMBOLS.get(name, name)
    return f" ({letter})" if len(letter) == 1 and letter != name and not callable(entry.template) else ""


def _range(parameter: Parameter) -> str:
    whole = "whole, " if parameter.whole else ""
    if parameter.high == float("inf"):
        return f"{whole}at least {parameter.low:g}"
    return f"{whole}{parameter.low:g} to {parameter.high:g}"


@dataclass(frozen=True, slots=True)
class Claims:
    """The part of a loss's card that its entry shows: a twentieth of the time that the whole card takes."""

    optimum: Optimum
    scale: Scale
    claims: dict[str, Claim]


def claims(name: str) -> Claims:
    """Make the claims as `lossml.inspect` makes them."""
    subject = read_subject(name, CLASSES)
    bests, bounds = best_answers(subject), bounded(subject, CLASSES)
    found = {
        "proper": proper(subject, bests),
        "calibrated": calibrated(subject, bests),
        "as certain as labels": confidence(subject, bests),
        "symmetric": symmetric(subject, CLASSES),
        "bounded": bounds,
        "convex": convex(subject, bounds, SIMPLEX),
    }
    return Claims(optimum(subject, CLASSES), scale(subject, CLASSES), found)


def rows(card: Claims) -> list[tuple[str, str, str]]:
    """Return property, verdict and finding."""
    size = card.scale
    against = f"{number(size.wrong.against)} at a certain wrong answer, where cross-entropy's is 1"
    found = [
        (
            "optimum p",
            f"{card.optimum.probability:.3f}",
            "the true class's probability where one sample's loss is least",
        ),
        ("gradient at the start", number(size.start.against), f"of cross-entropy's; {against}"),
    ]
    for name, claim in card.claims.items():
        # A counterexample to convexity is six logits long; `lossml inspect` prints it.
        said = "a counterexample was found" if name == "convex" and claim.verdict == "no" else claim.finding
        found.append((name, claim.verdict, said))
    return found


def table(lines: Iterable[Sequence[str]]) -> str:
    """Write rows of a Markdown table, the first its head."""
    first, *rest = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    ruler = "|".join("---" for _ in re.split(r"(?<!\\)\|", first))
    return "\n".join([f"| {first} |", f"|{ruler}|", *(f"| {line} |" for line in rest)])


def written(entry: Entry) -> str:
    """Write all of an entry but its card."""
    return "\n".join(
        [
            f"## {entry.title} {{#{anchor(entry.name)}}}",
            "",
            f"`{entry.name}`: {entry.meaning}. {source(entry)}.",
            "",
            f"```math\n{formula(entry)}\n```",
            "",
            f"Parameters: {parameters(entry)}. As a program: `{show(entry.program())}`.",
            "",
            f"**When to use it.** {USES[entry.name]}",
            "",
        ]
    )


def card_table(name: str) -> str:
    """Write a loss's card."""
    return table([("property", "found", "in words"), *rows(claims(name))])


def listed(kind: str) -> str:
    """Write the list of the losses of a kind."""
    found = [(f"[`{one.name}`](losses/{kind}.md#{anchor(one.name)})", one.title, one.meaning) for one in entries(kind)]
    return table([("name", "loss", "meaning"), *found])


def with_lists(text: str) -> str:
    """Put the lists into the page that has their headings."""
    for kind in KINDS:
        pattern = rf"(?<=<!-- list of {kind} -->\n\n).*?(?=\n\n<!-- end of list -->)"
        text = re.sub(pattern, lambda _, kind=kind: listed(kind), text, flags=re.DOTALL)
    return text


def main() -> None:
    """Write everything."""
    LIST.write_text(with_lists(LIST.read_text()))
    for kind, title in KINDS.items():
        parts = [HEAD.format(title=title, intro=f"{INTROS[kind]} {READING}")]
        for entry in entries(kind):
            print(entry.name, flush=True)
            parts.append(f"{written(entry)}\n{card_table(entry.name)}\n")
        page(kind).write_text("\n".join(parts))


if __name__ == "__main__":
    main()
