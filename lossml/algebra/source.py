"""A program as text for sympy."""

import ast
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lossml.program import Node, fold
from lossml.program.primitives import EPSILON
from lossml.program.tree import CONST

ONE = ast.Constant(1)


def _number(value: float) -> ast.expr:
    number = ast.Constant(int(abs(value)) if value.is_integer() and abs(value) < 1e15 else abs(value))
    return ast.UnaryOp(ast.USub(), number) if value < 0 else number


def _call(name: str) -> Callable[..., ast.expr]:
    return lambda *args: ast.Call(ast.Name(name), list(args), [])


def _binary(sign: ast.operator) -> Callable[..., ast.expr]:
    return lambda a, b: ast.BinOp(a, sign, b)


def _rest(name: str) -> ast.expr:
    return ast.BinOp(ONE, ast.Sub(), ast.Name(name))


def _square(a: ast.expr) -> ast.expr:
    return ast.BinOp(a, ast.Pow(), ast.Constant(2))


def _rsqrt1p(a: ast.expr) -> ast.expr:
    return ast.BinOp(ONE, ast.Div(), _call("sqrt")(ast.BinOp(ONE, ast.Add(), _square(a))))


def _logabs(a: ast.expr) -> ast.expr:
    return _call("log")(ast.BinOp(_call("Abs")(a), ast.Add(), ast.Constant(EPSILON)))


# What sympy names or writes in another way.
_WRITTEN: Mapping[str, Callable[..., ast.expr]] = MappingProxyType(
    {
        "add": _binary(ast.Add()),
        "sub": _binary(ast.Sub()),
        "mul": _binary(ast.Mult()),
        "div": _binary(ast.Div()),
        "pow": _binary(ast.Pow()),
        "neg": lambda a: ast.UnaryOp(ast.USub(), a),
        "square": _square,
        "rsqrt1p": _rsqrt1p,
        "logabs": _logabs,
        "abs": _call("Abs"),
        "max": _call("Max"),
        "min": _call("Min"),
        "logp": lambda: _call("log")(ast.Name("p")),
        "logs": lambda: _call("log")(ast.Name("s")),
        "log1mp": lambda: _call("log")(_rest("p")),
        "log1ms": lambda: _call("log")(_rest("s")),
    }
)


def _visit(node: Node, args: tuple[ast.expr, ...]) -> ast.expr:
    if node.op == CONST:
        return _number(node.value)
    if node.op in _WRITTEN:
        return _WRITTEN[node.op](*args)
    return _call(node.op)(*args) if args else ast.Name(node.op)


def sympy_text(node: Node) -> str:
    """Write a program so that `sympy.sympify` reads it back, in the program's own form.

    sum_C and its kin are functions unknown to sympy. pi is the class prior: for that, and for C and
    its assumptions, give `locals`.
    """
    return ast.unparse(fold(node, _visit))
