"""What a card writes of a program: its text and LaTeX, a shorter form, the derivative, its size."""

from dataclasses import dataclass

from lossml import algebra
from lossml.backend import fingerprints, make_probe, screen
from lossml.program import Node, operations, show

TIME_LIMIT = 2.0  # seconds of sympy for the shorter form, and again for the derivative
VARIABLES = (
    ("p", frozenset({"p", "logp", "log1mp"})),
    ("s", frozenset({"s", "logs", "log1ms"})),
    ("z", frozenset({"z"})),
)


@dataclass(frozen=True, slots=True)
class Formula:
    """How a program is written.

    Attributes:
        text: in the language.
        latex: of the same.
        shorter: a shorter form that is the same loss, "" where none was found.
        variable: by which it is differentiated: p, s or z.
        derivative: in LaTeX, "" where none was found in time.
        size: number of nodes.
        depth: number of levels.
        screens: why a search would reject it, "" if it would not.
    """

    text: str
    latex: str
    shorter: str
    variable: str
    derivative: str
    size: int
    depth: int
    screens: str


def formula(program: Node, classes: int, *, pixels: int = 1) -> Formula:
    """Write a program; the screens and the comparison with its shorter form are made at a number of classes."""
    probe = make_probe(classes, pixels)

    def same(one: Node, other: Node) -> bool:
        first, second = fingerprints([one, other], probe)
        return first is not None and second is not None and first.same(second)

    short = algebra.shorten(program, same, TIME_LIMIT)
    used = operations(program)
    variable = next((name for name, words in VARIABLES if words & used), "p")
    (screened,) = screen([program], probe)
    return Formula(
        text=show(program),
        latex=algebra.latex(program),
        shorter=show(short) if short != program else "",
        variable=variable,
        derivative=algebra.derivative(program, variable, TIME_LIMIT) or "",
        size=program.size,
        depth=program.depth,
        screens=screened.rejection.value if screened.rejection else "",
    )
