"""LaTeX of a program as it is written: nothing is rearranged.

Class indices are c, k, l, ...: a sum over classes inside something that already varies over the
classes takes the next letter. Batch and pixel indices are left out of the symbols.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from lossml.program import Axes, Node, fold
from lossml.program.tree import CONST

INDICES = "cklmnoqruvw"

# How tightly a form binds. A sum sign or a function without parentheses reaches to its right: OPEN.
_SUM, _NEGATION, _OPEN, _PRODUCT, _POWER, _ATOM = range(6)

Piece = tuple[str, int]  # the text and how tightly it binds
Context = tuple[int, bool]  # which class index is in use, and whether the surroundings vary over it
Writer = Callable[[Context], Piece]

TERMINALS: Mapping[str, Piece] = MappingProxyType(
    {
        "y": ("y_{@}", _ATOM),
        "p": ("p_{@}", _ATOM),
        "z": ("z_{@}", _ATOM),
        "s": (r"\sigma_{@}", _ATOM),
        "pi": (r"\pi_{@}", _ATOM),
        "C": ("C", _ATOM),
        "t": ("t", _ATOM),
        "logp": (r"\log p_{@}", _OPEN),
        "logs": (r"\log \sigma_{@}", _OPEN),
        "log1mp": (r"\log\left(1 - p_{@}\right)", _OPEN),
        "log1ms": (r"\log\left(1 - \sigma_{@}\right)", _OPEN),
    }
)
_TEMPLATES: Mapping[str, Piece] = MappingProxyType(
    {
        "div": (r"\frac{%s}{%s}", _PRODUCT),
        "exp": ("e^{%s}", _POWER),
        "sqrt": (r"\sqrt{%s}", _ATOM),
        "abs": (r"\left|%s\right|", _ATOM),
        "log": (r"\log\left(%s\right)", _OPEN),
        "sin": (r"\sin\left(%s\right)", _OPEN),
        "cos": (r"\cos\left(%s\right)", _OPEN),
        "tanh": (r"\tanh\left(%s\right)", _OPEN),
        "logabs": (r"\log\left(\left|%s\right| + 10^{-6}\right)", _OPEN),
        "max": (r"\max\left(%s, %s\right)", _OPEN),
        "min": (r"\min\left(%s, %s\right)", _OPEN),
    }
)
AGGREGATES: Mapping[str, str] = MappingProxyType(
    {
        "sum_C": r"\sum_{@}",
        "mean_C": r"\frac{1}{C} \sum_{@}",
        "max_C": r"\max_{@}",
        "sum_B": r"\sum_{b}",
        "mean_B": r"\frac{1}{B} \sum_{b}",
        "sum_X": r"\sum_{x}",
        "mean_X": r"\frac{1}{N} \sum_{x}",
    }
)


def number(value: float) -> str:
    """Write a number, powers of ten as such."""
    text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    digits, _, exponent = text.partition("e")
    if not exponent:
        return digits
    power = f"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \cdot {power}"


def index(level: int) -> str:
    """Return the class index at a nesting level."""
    return INDICES[level] if level < len(INDICES) else f"c_{{{level}}}"


def _wrap(piece: Piece, level: int) -> str:
    return piece[0] if piece[1] >= level else rf"\left({piece[0]}\right)"


def _sum(op: str, left: Piece, right: Piece) -> Piece:
    sign = "+" if op == "add" else "-"
    kept = right[1] == _SUM and op == "add"  # a + (b + c) needs no parentheses
    return f"{left[0]} {sign} {right[0] if kept else _wrap(right, _OPEN)}", _SUM


def _product(left: Piece, right: Piece) -> Piece:
    first = left[0] if left[1] == _NEGATION else _wrap(left, _PRODUCT)
    second = _wrap(right, _OPEN)
    level = _NEGATION if left[1] == _NEGATION else min(_PRODUCT, max(right[1], _OPEN))
    dot = r"\cdot " if second[0].isdigit() else ""
    return f"{first} {dot}{second}", level


def _power(base: Piece, exponent: str) -> Piece:
    return f"{_wrap(base, _ATOM)}^{{{exponent}}}", _POWER


def _inner(op: str, args: tuple[Piece, ...]) -> Piece:
    if op in _TEMPLATES:
        form, level = _TEMPLATES[op]
        return form % tuple(text for text, _ in args), level
    if op in {"add", "sub"}:
        return _sum(op, *args)
    if op == "mul":
        return _product(*args)
    if op == "neg":
        return f"-{_wrap(args[0], _OPEN)}", _NEGATION
    if op == "rsqrt1p":
        return rf"\frac{{1}}{{\sqrt{{1 + {_power(args[0], '2')[0]}}}}}", _PRODUCT
    return _power(args[0], args[1][0] if op == "pow" else "2")


def _aggregate(node: Node, arg: Writer, context: Context) -> Piece:
    level, varies = context
    if node.op.endswith("_C"):
        level, varies = level + varies, True
    return f"{AGGREGATES[node.op].replace('@', index(level))} {_wrap(arg((level, varies)), _OPEN)}", _OPEN


def _constant(value: float) -> Piece:
    text = number(value)
    return text, _NEGATION if value < 0 else _ATOM if "^" not in text else _PRODUCT


def _writer(node: Node, args: tuple[Writer, ...]) -> Writer:
    """Write a node once its surroundings are known."""

    def write(context: Context) -> Piece:
        if node.op == CONST:
            return _constant(node.value)
        if not args:
            form, level = TERMINALS[node.op]
            return form.replace("@", index(context[0])), level
        if node.op in AGGREGATES:
            return _aggregate(node, args[0], context)
        return _inner(node.op, tuple(arg(context) for arg in args))

    return write


def latex(node: Node) -> str:
    """Write a program in LaTeX, without the dollar signs.

    A value per element is shown as it is; that training sums it over the classes is not written.
    """
    return fold(node, _writer)((0, Axes.CLASS in node.type.axes))[0]
