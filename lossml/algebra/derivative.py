"""The derivative of a program, for display."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import sympy
from sympy.printing.latex import LatexPrinter

from lossml.algebra.expression import AGGREGATES, COUNTS, OPERATIONS, SYMBOLS, Expr, expression
from lossml.algebra.latex import AGGREGATES as SIGNS
from lossml.algebra.latex import TERMINALS, index
from lossml.algebra.worker import WORKER
from lossml.errors import UsageError
from lossml.program import OPERATIONS as PRIMITIVES
from lossml.program import Axes, Node, operations, parse, show

TIME_LIMIT = 2.0
# What varies with each variable; the others are held fixed.
READS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "p": frozenset({"p", "logp", "log1mp"}),
        "s": frozenset({"s", "logs", "log1ms"}),
        "z": frozenset({"z"}),
    }
)


def derivative(node: Node, by: str = "p", time_limit: float = TIME_LIMIT) -> str | None:
    """Write the derivative by one element of p, s or z in LaTeX.

    Differentiated is the program's value summed over all that it varies over: for a value per
    sample that is the sample's own loss. The other variables are held fixed, p's dependence on the
    other classes' logits included.

    Args:
        node: a program.
        by: "p", "s" or "z".
        time_limit: seconds for sympy.

    Returns:
        LaTeX without the dollar signs; None where nothing was found within the limit.

    Raises:
        UsageError: for another variable.
    """
    if by not in READS:
        raise UsageError(f"cannot differentiate by {by!r}; give one of {', '.join(READS)}")
    found = WORKER.collect(_forms, f"{by} {show(node)}", time_limit)
    return min(found, key=len, default=None)


def _forms(request: str) -> Iterator[str]:
    """Yield the derivative as it comes, then simplified; runs in the worker."""
    by, text = request.split(" ", 1)
    plain = derived(parse(text), by)
    yield _print(plain)
    yield _print(sympy.simplify(plain))


def derived(node: Node, by: str) -> Expr:
    """Build the derivative as a sympy expression, by reverse accumulation over the tree."""
    return _flow(node, sympy.S.One, Axes.SCALAR, by)


def _flow(node: Node, adjoint: Expr, varies: Axes, by: str) -> Expr:
    """Carry the derivative by a node, `adjoint`, down to all uses of the variable below it.

    Args:
        node: where it arrives; the adjoint is one number per value of the node.
        adjoint: the derivative of the whole by this node.
        varies: the axes along which the adjoint varies.
        by: the variable.
    """
    if not operations(node) & READS[by]:
        return sympy.S.Zero
    if not node.args:
        return adjoint * sympy.diff(expression(node), SYMBOLS[by])
    if node.op in AGGREGATES:
        return _through_aggregate(node, adjoint, varies, by)
    dummies = [sympy.Dummy(real=True) for _ in node.args]
    whole = OPERATIONS[node.op](*dummies)
    values = dict(zip(dummies, map(expression, node.args), strict=True))
    axes: dict[Expr, Axes] = dict(zip(dummies, (arg.type.axes for arg in node.args), strict=True))
    total = sympy.S.Zero
    for dummy, arg in zip(dummies, node.args, strict=True):
        slope = sympy.diff(whole, dummy)
        along = varies
        for used in slope.free_symbols & set(dummies):
            along |= axes[used]
        total += _flow(arg, *_collected(adjoint * slope.xreplace(values), along, node, arg), by)
    return total


def _collected(adjoint: Expr, varies: Axes, node: Node, arg: Node) -> tuple[Expr, Axes]:
    """Sum over the axes along which an argument was broadcast."""
    for letter, axis in (("C", Axes.CLASS), ("X", Axes.PIXEL), ("B", Axes.BATCH)):
        if axis in node.type.axes and axis not in arg.type.axes:
            adjoint = AGGREGATES[f"sum_{letter}"](adjoint) if axis in varies else COUNTS[axis] * adjoint
            varies &= ~axis
    return adjoint, varies


def _through_aggregate(node: Node, adjoint: Expr, varies: Axes, by: str) -> Expr:
    (arg,) = node.args
    if node.op.startswith("mean"):
        adjoint /= COUNTS[PRIMITIVES[node.op].removes]
    if node.op.startswith("max"):
        adjoint *= sympy.Piecewise((1, sympy.Eq(expression(arg), expression(node))), (0, True))
        varies |= arg.type.axes
    return _flow(arg, adjoint, varies, by)


class _Printer(LatexPrinter):
    """sympy's printer with this language's symbols and sums."""

    def __init__(self) -> None:
        super().__init__()
        self.level = 0

    def _print_Symbol(self, expr: Expr, style: str = "plain") -> str:  # noqa: N802 - sympy's name
        if expr.name not in TERMINALS:
            return super()._print_Symbol(expr, style)
        return TERMINALS[expr.name][0].replace("@", index(self.level))

    def _print_Function(self, expr: Expr, exp: str | None = None) -> str:  # noqa: N802 - sympy's name
        name = expr.func.__name__
        if name not in AGGREGATES:
            return super()._print_Function(expr, exp)
        inside = int(name.endswith("_C"))
        self.level += inside
        sign = SIGNS[name].replace("@", index(self.level))
        text = rf"\left({sign} {self._body(expr.args[0])}\right)"
        self.level -= inside
        return text if exp is None else f"{text}^{{{exp}}}"

    def _body(self, arg: Expr) -> str:
        text = self._print(arg)
        bare = arg.is_Symbol or arg.func.__name__ in AGGREGATES  # an aggregate brings its own
        return text if bare else rf"\left({text}\right)"


def _print(found: Expr) -> str:
    return _Printer().doprint(found)
