"""From sympy back to a program, through the language's own constructors, which check every type."""

from collections.abc import Iterable
from functools import reduce

import sympy

from lossml.algebra.expression import AGGREGATES, Expr
from lossml.errors import ProgramError
from lossml.program import OPERATIONS, Node, apply, constant, terminal
from lossml.program import interval as iv
from lossml.program.primitives import EPSILON

_FUNCTIONS = {
    sympy.exp: "exp",
    sympy.log: "log",
    sympy.Abs: "abs",
    sympy.sin: "sin",
    sympy.cos: "cos",
    sympy.tanh: "tanh",
    sympy.Max: "max",
    sympy.Min: "min",
    **{function: name for name, function in AGGREGATES.items()},
}
ONE = constant(1.0)


def program(expression: Expr) -> Node:
    """Build the program of a sympy expression.

    Raises:
        ProgramError: where the language cannot say it.
    """
    if expression.is_Symbol:
        return terminal(expression.name)
    if expression.is_number:
        return _number(expression)
    if expression.is_Add:
        return _sum(expression)
    if expression.is_Mul:
        return _product(expression)
    if expression.is_Pow:
        return _power(expression.base, expression.exp)
    return _function(expression)


def _number(value: Expr) -> Node:
    if value.is_Rational and value.q != 1:
        return apply("div", constant(float(value.p)), constant(float(value.q)))
    if not value.is_real:
        raise ProgramError(f"{value} is not a real number")
    return constant(float(value))


def _chain(op: str, parts: Iterable[Node]) -> Node:
    return reduce(lambda a, b: apply(op, a, b), parts)


def _sum(expression: Expr) -> Node:
    """Write what is added first, then what is subtracted: 1 - p rather than -p + 1."""
    terms = expression.as_ordered_terms()
    minus = [term for term in terms if term.could_extract_minus_sign()]
    plus = [program(term) for term in terms if term not in minus]
    if not plus:
        plus = [program(minus.pop())]
    return _chain("sub", [_chain("add", plus), *(program(-term) for term in minus)])


def _product(expression: Expr) -> Node:
    coefficient, factors = expression.as_coeff_mul()
    above, below = [], []
    for factor in factors:
        base, exponent = factor.as_base_exp() if factor.is_Pow else (factor, sympy.S.One)
        under = exponent.could_extract_minus_sign() and _rsqrt1p(base, exponent) is None
        (below if under else above).append(program(sympy.Pow(base, -exponent) if under else factor))
    numerator, denominator = _signed(coefficient, above, below)
    return apply("div", numerator, _chain("mul", denominator)) if denominator else numerator


def _signed(coefficient: Expr, above: list[Node], below: list[Node]) -> tuple[Node, list[Node]]:
    """Put a product's fraction in its place: -x rather than -1*x, x/3 rather than (1/3)*x."""
    if coefficient.q != 1:
        below = [constant(float(coefficient.q)), *below]
    if coefficient.p == -1 and above:
        return _chain("mul", [apply("neg", above[0]), *above[1:]]), below
    if coefficient.p == 1 and above:
        return _chain("mul", above), below
    return _chain("mul", [constant(float(coefficient.p)), *above]), below


def _power(base: Expr, exponent: Expr) -> Node:
    found = _rsqrt1p(base, exponent)
    if found is not None:
        return found
    if exponent.could_extract_minus_sign():
        return apply("div", ONE, program(sympy.Pow(base, -exponent)))
    inner = program(base)
    if exponent == sympy.S.Half and inner.type.interval in iv.POSITIVE:
        return apply("sqrt", inner)
    return apply("pow", inner, _exponent(exponent))


def _exponent(exponent: Expr) -> Node:
    return constant(float(exponent)) if exponent.is_Rational else program(exponent)


def _rsqrt1p(base: Expr, exponent: Expr) -> Node | None:
    """Recognise 1 / sqrt(1 + a^2)."""
    rest = base - 1
    if exponent == -sympy.S.Half and base.is_Add and rest.is_Pow and rest.exp == 2:
        return apply("rsqrt1p", program(rest.base))
    return None


def _function(expression: Expr) -> Node:
    name = _FUNCTIONS.get(expression.func)
    if name is None:
        raise ProgramError(f"the language has no {expression.func}")
    if name == "log":
        return _log(expression.args[0])
    parts = [program(arg) for arg in expression.args]
    if name in AGGREGATES:
        return _aggregate(name, parts[0])
    return _chain(name, parts) if name in {"max", "min"} else apply(name, *parts)


def _aggregate(name: str, part: Node) -> Node:
    """Apply an aggregate; what sympy found not to vary along its axis is its own mean."""
    if OPERATIONS[name].removes in part.type.axes:
        return apply(name, part)
    if name == "sum_C":
        return apply("mul", terminal("C"), part)
    if name.startswith("sum"):
        raise ProgramError("the language has no number of samples or pixels")
    return part


def _log(arg: Expr) -> Node:
    """Recognise log(|a| + epsilon)."""
    if arg.is_Add and len(arg.args) == 2:
        small, size = arg.as_two_terms()
        if small.is_Float and float(small) == EPSILON and size.func == sympy.Abs:
            return apply("logabs", program(size.args[0]))
    return apply("log", program(arg))
