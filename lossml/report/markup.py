"""HTML and SVG as trees: what comes from a user is escaped because it is never text of the page."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element, tostring

CONTENT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # the page loads nothing, and says so
STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #565f6b; --paper: #fff; --line: #d7dce2; --warn: #8f4500;
  --yes: #146c2e; --no: #a3261b; --a: #0b5fc2; --b: #b3470b; --panel: #f5f7f9; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a2acb8; --paper: #14171b;
  --line: #3a424c; --warn: #f0b45f; --yes: #6fcf8a; --no: #ff8f80; --a: #6cb0ff; --b: #ffa266; --panel: #1d2228; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; } h4 { margin: 1.2rem 0 .3rem; }
p, li, dd { max-width: 46rem; } a { color: var(--a); }
:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; }
code, pre { font: .9rem/1.4 ui-monospace, monospace; background: var(--panel); border-radius: .3rem; }
pre { padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; } code { padding: .1rem .3rem; }
pre code { padding: 0; } p code, dd code { overflow-wrap: anywhere; } td code { white-space: nowrap; }
nav ul, .claims { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; list-style: none; }
.claims { font-size: .9rem; margin: .3rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
caption { caption-side: bottom; text-align: left; padding-top: .4rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, calc(100vw - 3rem)); }
dt { font-weight: 600; } dd { margin: 0 0 .6rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem 1.2rem .35rem 0; border-bottom: 1px solid var(--line); }
tbody th { font-weight: inherit; } td:last-child, th:last-child { padding-right: 0; }
td.long { min-width: 13rem; }
.wide + .wide { margin-top: 1.5rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.soft { color: var(--soft); font-size: .9rem; } .warning { color: var(--warn); font-weight: 600; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
.claim { font-size: 1.15rem; font-weight: 600; padding: .8rem 1rem; background: var(--panel); border-radius: .3rem;
  border-left: .4rem solid var(--soft); max-width: none; } .better { border-color: var(--yes); }
.worse { border-color: var(--no); }
summary { cursor: pointer; color: var(--a); padding: .3rem 0; } details { margin: .3rem 0 1rem; }
details[open] { border-left: .2rem solid var(--line); padding-left: .8rem; }
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0 0 1rem; max-width: 42rem; break-inside: avoid; } figcaption { font-size: .9rem; color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
svg text.label { font-size: 9px; } svg text.strong { font-weight: 700; }
svg text.over { stroke: var(--paper); stroke-width: 3px; paint-order: stroke; }
.grid { stroke: var(--line); stroke-width: 1; } .zero { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 5 4; }
.a { stroke: var(--a); } .b { stroke: var(--b); } .dot.a { fill: var(--a); } .dot.b { fill: var(--b); }
.dot.hollow { fill: var(--paper); stroke-width: 1.5; } .bar { fill: var(--b); } .bars { width: 6rem; height: .6rem; }
.curve { fill: none; stroke-width: 2.5; } .dashed { stroke-dasharray: 5 4; stroke-width: 1.5; opacity: .75; }
.thin { stroke-width: 1; opacity: .6; }
.walk { fill: none; stroke: #fff; stroke-width: 2.5; paint-order: stroke; } .mark { fill: #fff; stroke: #000; }
@media (max-width: 30rem) { svg text { font-size: 13px; } }
@media (min-width: 45rem) { dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; }
  dd { margin: 0; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  .wide { overflow: visible; } td code { white-space: normal; }
  h2, h3, h4, summary { break-after: avoid; } tr { break-inside: avoid; } }
"""

ALONE = "svg { background: var(--paper); }"  # a drawing shown on its own, on whatever is behind it

LONG = 30  # letters above which a cell is a sentence, which wants room

Child = Element | str | None


def tag(name: str, *children: Child, **attributes: str | float) -> Element:
    """Build an element.

    Args:
        name: of the tag.
        *children: elements and text, in order; None is left out.
        **attributes: a trailing underscore is dropped and others become hyphens, so `class_` and `stroke_width` work.
    """
    made = Element(name, {key.rstrip("_").replace("_", "-"): str(value) for key, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child:
            _append(made, child)
    return made


def _append(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Child]],
    caption: str = "",
    *,
    numbers: bool | Collection[int] = False,
    name: str = "",
) -> Element:
    """Build a table that scrolls by itself on a narrow screen; a cell that says yes or no has its colour.

    Args:
        heads: names of the columns.
        rows: cells, text or elements; the first of each row is the row's head.
        caption: what the table shows, and how it came about.
        numbers: which columns hold numbers, by place; True for all.
        name: what a screen reader calls it; the heads, where left out.
    """
    places = range(len(heads)) if numbers is True else numbers or ()
    kinds = [{"class_": "number"} if k in places else {} for k in range(len(heads))]
    head = tag("tr", *(tag("th", text, scope="col", **kind) for text, kind in zip(heads, kinds, strict=True)))
    body = [tag("tr", *map(_cell, row, kinds, range(len(row)))) for row in rows]
    known = tag("caption", tag("span", caption), class_="soft") if caption else None
    made = tag("table", known, tag("thead", head), tag("tbody", *body))
    return tag("div", made, class_="wide", tabindex=0, role="group", aria_label=name or ", ".join(heads))


def _cell(content: Child, kind: Mapping[str, str], place: int) -> Element:
    if place == 0:
        return tag("th", content, scope="row", **kind)
    if isinstance(content, str) and content in {"yes", "no"}:
        return tag("td", content, class_=content)
    if isinstance(content, str) and len(content) > LONG:
        return tag("td", content, class_="long")
    return tag("td", content, **kind)


def image(drawing: Element) -> str:
    """Write a drawing as an SVG document of its own, in the page's colours."""
    whole = tag("svg", tag("style", STYLE + ALONE), *drawing, xmlns="http://www.w3.org/2000/svg", **drawing.attrib)
    return tostring(whole, encoding="unicode") + "\n"


def page(title: str, *body: Child) -> str:
    """Write a whole page that needs nothing from anywhere.

    Args:
        title: of the window.
        *body: its contents, `main` and other landmarks.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", **{"http-equiv": "Content-Security-Policy", "content": CONTENT}),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", STYLE),
    )
    whole = tag("html", head, tag("body", *body), lang="en")
    return "<!doctype html>\n" + tostring(whole, encoding="unicode", method="html") + "\n"
