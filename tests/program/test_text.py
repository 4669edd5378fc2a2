"""Text is read and written without loss, and nonsense gets a place and a reason."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.errors import ProgramError
from lossml.program import parse, show
from lossml.program.grammar import classification_grammar, generate, segmentation_grammar
from lossml.program.text import MAX_NESTING, MAX_TEXT


@given(seed=st.integers(0, 2**63))
def test_what_is_written_is_read_back(seed):
    """parse(show(program)) is the program, for random ones."""
    rng = random.Random(seed)
    for grammar in (classification_grammar(), segmentation_grammar()):
        program = generate(rng, grammar)
        assert parse(show(program)) == program


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("-p^2", "-(p^2)"),
        ("-p*y", "(-p)*y"),
        ("p - y - z", "(p - y) - z"),
        ("p/C/C", "(p/C)/C"),
        ("p^2^C", "p^(2^C)"),
        ("2 ** p", "2^p"),
        ("p^-1", "p^(-1)"),
        (" p\n +\ty ", "p+y"),
        ("1e-3*p", "0.001*p"),
        (".5*p", "0.5*p"),
        ("--p", "-(-p)"),
    ],
)
def test_operators_bind_as_in_python(text, same):
    """Precedence, associativity, spaces and numbers read as people expect."""
    assert parse(text) == parse(same)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("(p + y)*z", "(p + y)*z"),
        ("p - (y - z)", "p - (y - z)"),
        ("(-p)^2", "(-p)^2"),
        ("p*(-3)", "p*-3"),
        ("max(p,y)", "max(p, y)"),
        ("1e20*p", "1e+20*p"),
        ("(p^2)^3", "(p^2)^3"),
        ("-(p + y)", "-(p + y)"),
    ],
)
def test_parentheses_stand_where_they_are_needed(text, written):
    """What is written has no parentheses but those it needs."""
    assert show(parse(text)) == written


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "expected a number"),
        ("p +", 3, "the end of the text"),
        ("(p", 2, r"expected '\)'"),
        ("p)", 1, "expected an operator"),
        ("p p", 2, "expected an operator"),
        ("p $ y", 2, r"unexpected character '\$'"),
        ("logq", 0, "did you mean 'log'"),
        ("frobnicate", 0, "the language has"),
        ("exp p", 4, r"expected '\('"),
        ("max(p)", 0, r"takes 2 argument\(s\), 1 given"),
        ("p/y", 1, "denominator"),
        ("y + log(z)", 4, "positive"),
        ("1e999", 0, "not finite"),
        ("exp(p, y)", 0, r"takes 1 argument\(s\), 2 given"),
        ("__import__('os')", 11, 'unexpected character "\'"'),
        ("p.real", 1, "unexpected character"),
    ],
)
def test_nonsense_gets_its_place_and_reason(text, position, message):
    """An error says where and why, and what was meant."""
    with pytest.raises(ProgramError, match=message) as caught:
        parse(text)
    assert caught.value.position == position


@pytest.mark.parametrize(
    "text",
    ["p+" * 5_000_000, "(" * 10_000, "-" * 9_000, "abs(" * 2_000 + "p", "p^" * 3_000 + "p", "p" * 9_999, "((" * 4_999],
)
def test_hostile_text_is_refused_at_once(text):
    """Ten megabytes or ten thousand levels are answered in less than a second, without overflowing anything."""
    began = time.perf_counter()
    with pytest.raises(ProgramError) as caught:
        parse(text)
    assert caught.value.position is not None
    assert time.perf_counter() - began < 1.0


def test_the_limits_themselves_are_fine():
    """A text of the greatest length, and nesting just below the limit, are read."""
    assert parse("p" + " " * (MAX_TEXT - 1)) == parse("p")
    assert parse("(" * (MAX_NESTING - 1) + "p" + ")" * (MAX_NESTING - 1)) == parse("p")


def test_words_of_another_language_are_built_by_their_macros():
    """A macro gives what the word means; what it refuses, and a wrong number of arguments, have a position."""

    def doubled(arg):
        if arg == parse("p"):
            raise ProgramError("p is not doubled here")
        return parse(f"2*({show(arg)})")

    macros = {"doubled": doubled}
    assert show(parse("y*doubled(logp)", macros)) == "y*(2*logp)"
    with pytest.raises(ProgramError, match=r"p is not doubled here at position 2"):
        parse("y*doubled(p)", macros)
    with pytest.raises(ProgramError, match=r"does not take 2 argument"):
        parse("doubled(y, p)", macros)
