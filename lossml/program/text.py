"""The text form of a program: `parse` reads it, `show` writes it, and parse(show(tree)) == tree.

    expression = term (("+" | "-") term)*
    term       = unary (("*" | "/") unary)*
    unary      = "-" unary | power
    power      = atom ["^" unary]
    atom       = number | name | name "(" expression ("," expression)* ")" | "(" expression ")"

Operators bind as in Python: -a*b is (-a)*b, -a^2 is -(a^2). "**" is read as "^". Nothing is ever
evaluated: the reader knows the words of the language and no others.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from lossml.errors import ProgramError
from lossml.program.primitives import OPERATIONS, TERMINALS
from lossml.program.tree import CONST, MAX_DEPTH, Node, apply, constant, fold, terminal

MAX_TEXT = 10_000
MAX_NESTING = 2 * MAX_DEPTH  # parentheses nest too, though they leave no node

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z_0-9]*)|(?P<sign>\*\*|[-+*/^(),]))"
)
_BINARY = {op.sign: op.name for op in OPERATIONS.values() if op.sign and op.arity == 2}
_FUNCTIONS = {name: op for name, op in OPERATIONS.items() if not op.sign}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text and where it starts."""

    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise ProgramError(f"unexpected character {text[start]!r} at position {start}", start)
        kind = match.lastgroup or ""
        found.append(Token(kind, match[kind].replace("**", "^"), match.start(kind)))
        at = match.end()
    return [*found, Token("end", "the end of the text", end)]


Macro = Callable[..., Node]
_NO_MACROS: Mapping[str, Macro] = MappingProxyType({})


class _Reader:
    """A recursive-descent reader over the tokens; it holds the place and the nesting."""

    def __init__(self, tokens: list[Token], macros: Mapping[str, Macro]) -> None:
        self.tokens = tokens
        self.macros = macros
        self.place = 0
        self.nesting = 0

    @property
    def now(self) -> Token:
        return self.tokens[self.place]

    def take(self, *signs: str) -> Token | None:
        token = self.now
        if token.kind != "sign" or token.text not in signs:
            return None
        self.place += 1
        return token

    def expect(self, sign: str) -> None:
        if self.take(sign) is None:
            raise self.error(f"expected {sign!r}, found {self.now.text!r}")

    def error(self, what: str, token: Token | None = None) -> ProgramError:
        at = (token or self.now).at
        return ProgramError(f"{what} at position {at}", at)

    def build(self, token: Token, op: str, *args: Node) -> Node:
        try:
            return apply(op, *args)
        except ProgramError as problem:
            raise self.error(str(problem), token) from problem

    def deeper(self, read: Callable[[], Node]) -> Node:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.error(f"nested more than {MAX_NESTING} deep")
        result = read()
        self.nesting -= 1
        return result

    def chain(self, part: Callable[[], Node], *signs: str) -> Node:
        left = part()
        while token := self.take(*signs):
            left = self.build(token, _BINARY[token.text], left, part())
        return left

    def expression(self) -> Node:
        return self.chain(self.term, "+", "-")

    def term(self) -> Node:
        return self.chain(self.unary, "*", "/")

    def unary(self) -> Node:
        if token := self.take("-"):
            return self.build(token, "neg", self.deeper(self.unary))
        return self.power()

    def power(self) -> Node:
        base = self.atom()
        if token := self.take("^"):
            return self.build(token, "pow", base, self.deeper(self.unary))
        return base

    def atom(self) -> Node:
        token = self.now
        if self.take("("):
            inner = self.deeper(self.expression)
            self.expect(")")
            return inner
        if token.kind not in {"number", "name"}:
            raise self.error(f"expected a number, a name or '(', found {token.text!r}")
        self.place += 1
        return self.number(token) if token.kind == "number" else self.named(token)

    def number(self, token: Token) -> Node:
        try:
            return constant(float(token.text))
        except ProgramError as problem:
            raise self.error(str(problem), token) from problem

    def named(self, token: Token) -> Node:
        name = token.text
        if name in TERMINALS:
            return terminal(name)
        if name not in _FUNCTIONS and name not in self.macros:
            raise self.error(_unknown(name), token)
        self.expect("(")
        args = [self.deeper(self.expression)]
        while self.take(","):
            args.append(self.deeper(self.expression))
        self.expect(")")
        return self.expand(token, *args) if name in self.macros else self.build(token, name, *args)

    def expand(self, token: Token, *args: Node) -> Node:
        try:
            return self.macros[token.text](*args)
        except TypeError as problem:
            raise self.error(f"{token.text} does not take {len(args)} argument(s)", token) from problem
        except ProgramError as problem:
            raise self.error(str(problem), token) from problem


def _unknown(name: str) -> str:
    words = [*TERMINALS, *_FUNCTIONS]
    near = get_close_matches(name, words, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; the language has {', '.join(words)}"
    return f"unknown name {name[:40]!r}{hint}"


def parse(text: str, macros: Mapping[str, Macro] = _NO_MACROS) -> Node:
    """Read a program.

    Args:
        text: an expression such as "-sum_C(y*logp)", of at most MAX_TEXT characters.
        macros: functions that another language has beside ours, by name: each builds what it means.

    Raises:
        ProgramError: with the position and the reason, for anything that is not a program.
    """
    if len(text) > MAX_TEXT:
        raise ProgramError(f"the expression has {len(text)} characters; at most {MAX_TEXT} are read", MAX_TEXT)
    reader = _Reader(_tokens(text), macros)
    tree = reader.expression()
    if reader.now.kind != "end":
        raise reader.error(f"expected an operator, found {reader.now.text!r}")
    return tree


# How tightly each form binds; what stands inside a tighter one needs parentheses.
_SUM, _PRODUCT, _NEGATION, _POWER, _ATOM = range(5)
_LEVEL = {"add": _SUM, "sub": _SUM, "mul": _PRODUCT, "div": _PRODUCT, "neg": _NEGATION, "pow": _POWER, "square": _POWER}

Piece = tuple[str, int]
"""The text of a part and how tightly it binds."""


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _wrap(piece: Piece, level: int) -> str:
    return piece[0] if piece[1] >= level else f"({piece[0]})"


def piece(node: Node, args: tuple[Piece, ...]) -> Piece:
    """Write a node from its arguments' pieces; the visitor of `show`."""
    if node.op == CONST:
        return _number(node.value), _ATOM if node.value >= 0 else _NEGATION
    if not args:
        return node.op, _ATOM
    level = _LEVEL.get(node.op, _ATOM)
    if level == _ATOM:
        return f"{node.op}({', '.join(text for text, _ in args)})", _ATOM
    return _signed(node, args, level), level


def _signed(node: Node, args: tuple[Piece, ...], level: int) -> str:
    if node.op == "neg":
        return f"-{_wrap(args[0], _NEGATION)}"
    if node.op == "square":
        return f"{_wrap(args[0], _ATOM)}^2"
    if node.op == "pow":
        return f"{_wrap(args[0], _ATOM)}^{_wrap(args[1], _NEGATION)}"
    gap = " " if level == _SUM else ""
    sign = OPERATIONS[node.op].sign
    return f"{_wrap(args[0], level)}{gap}{sign}{gap}{_wrap(args[1], level + 1)}"


def show(tree: Node) -> str:
    """Write a program as text; `parse` gives the same tree back."""
    return fold(tree, piece)[0]
