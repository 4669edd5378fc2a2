"""HTML and SVG as trees: what comes from a user is escaped because it is never text of the page."""

from xml.etree.ElementTree import Element, tostring

CONTENT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # the page loads nothing, and says so
STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5b6470; --paper: #fff; --line: #d7dce2; --warn: #9a4b00;
  --yes: #146c2e; --no: #a3261b; --a: #0b5fc2; --b: #b3470b; --panel: #f5f7f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a2acb8; --paper: #14171b; --line: #3a424c;
  --warn: #f0b45f; --yes: #6fcf8a; --no: #ff8f80; --a: #6cb0ff; --b: #ffa266; --panel: #1d2228; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; }
code, pre { font: .9rem/1.4 ui-monospace, monospace; background: var(--panel); border-radius: .3rem; }
pre { padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere; } code { padding: .1rem .3rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
caption { caption-side: bottom; text-align: left; padding-top: .4rem; } dd { margin: 0 0 .6rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.soft { color: var(--soft); font-size: .9rem; } .warning { color: var(--warn); font-weight: 600; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; }
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0; break-inside: avoid; } figcaption { font-size: .9rem; color: var(--soft); }
svg { width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--ink); }
.grid { stroke: var(--line); stroke-width: 1; } .a { stroke: var(--a); } .b { stroke: var(--b); }
.curve { fill: none; stroke-width: 2; } .dashed { stroke-dasharray: 5 4; stroke-width: 1.5; opacity: .75; }
.walk { fill: none; stroke: #fff; stroke-width: 2.5; paint-order: stroke; } .mark { fill: #fff; stroke: #000; }
@media print { body { max-width: none; } }
"""

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


def table(heads: list[str], rows: list[list[str]], caption: str = "", *, numbers: bool = False) -> Element:
    """Build a table that scrolls by itself on a narrow screen; a cell that says yes or no has its colour."""
    kind = {"class_": "number"} if numbers else {}
    head = tag("thead", tag("tr", *(tag("th", text, scope="col", **kind) for text in heads)))
    body = [tag("tr", *(_cell(cell, kind) for cell in row)) for row in rows]
    made = tag("table", tag("caption", caption, class_="soft") if caption else None, head, tag("tbody", *body))
    return tag("div", made, class_="wide", tabindex=0, role="region", aria_label=", ".join(heads))


def _cell(text: str, kind: dict[str, str]) -> Element:
    return tag("td", text, **({"class_": text} if text in {"yes", "no"} else kind))


def page(title: str, *body: Child) -> str:
    """Write a whole page that needs nothing from anywhere.

    Args:
        title: of the window.
        *body: its contents.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", **{"http-equiv": "Content-Security-Policy", "content": CONTENT}),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", STYLE),
    )
    whole = tag("html", head, tag("body", tag("main", *body)), lang="en")
    return "<!doctype html>\n" + tostring(whole, encoding="unicode", method="html") + "\n"
