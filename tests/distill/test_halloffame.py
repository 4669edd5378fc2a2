"""PySR's hall-of-fame files become programs of our language, and what does not fit is left out with the reason."""

import pytest

from lossml.backend import fingerprints, make_probe
from lossml.distill.halloffame import equation_of, parse_hall_of_fame, read_hall_of_fame
from lossml.errors import ProgramError, UsageError
from lossml.program import parse, show
from lossml.program.text import MAX_TEXT

# As SymbolicRegression.jl prints: string_tree(...; pretty=false) between quotes, a header, a final newline.
REAL = """Complexity,Loss,Equation
1,0.19951081,"1.9762075"
2,0.12717344,"log(p)"
4,0.0913,"y * -(logp)"
5,0.08182,"(y * logp) * -1.0014725"
7,0.0313,"((1.0 - p) * y) * -1.2f0"
9,1.1e-5,"y * (square(1.0 - p) * (-0.99f-1 * logp))"
11,9.0e-6,"log(x3 - p) / cube(y)"
12,8.0e-6,"log(p - 0.5) * y"
13,7.0e-6,"cond(y, exp(p))"
"""


def test_a_real_file_is_read():
    """Constants, unary minus, Float32 exponents, spaces and parentheses are read; the rest says what is wrong."""
    found = parse_hall_of_fame(REAL, "hall_of_fame.csv")
    assert [entry.complexity for entry in found.entries] == [1, 2, 4, 5, 7, 9]
    assert [entry.loss for entry in found.entries][-1] == pytest.approx(1.1e-5)
    assert show(found.entries[1].program) == "logp"
    assert show(found.entries[4].program) == "(1 - p)*y*-1.2"
    assert show(found.entries[5].program) == "y*((1 - p)^2*(-0.099*logp))"
    assert [word in line for word, line in zip(("x3", "positive", "cond"), found.left_out, strict=True)] == [True] * 3
    assert found.left_out[0].startswith("line 8 of hall_of_fame.csv")


@pytest.mark.parametrize(
    ("equation", "ours"),
    [
        ("cube(p)", "p^3"),
        ("inv(p)*y", "y/p"),
        ("neg(y)*logp", "-y*logp"),
        ("mult(y, sub(p, plus(y, 2.0)))", "y*(p - (y + 2))"),
        ("pow_abs(p, 0.7)*y", "p^0.7*y"),
        ("pow(p, 2)*y", "p^2*y"),
        ("safe_log(p)*y", "logp*y"),
        ("safe_sqrt(p)*y", "sqrt(p)*y"),
        ("log1p(p)*y", "log(1 + p)*y"),
        ("log2(p)*y", "logp*y"),
        ("log10(1.0 - p)*y", "log1mp*y"),
        ("relu(p - 0.2)*y", "max(p - 0.2, 0)*y"),
        ("sigmoid(p)*y", "y/(1 + exp(-p))"),
        ("div(y, p)", "y/p"),
        ("p ** 1.5e0*y", "p^1.5*y"),
        ("max(p, 0.3) * exp(y)", "max(0.3, p)*exp(y)"),
    ],
)
def test_each_operator_means_what_it_means_in_julia(equation, ours):
    """The logit gradient of what is read is that of our own spelling, up to scale."""
    one, other = fingerprints([equation_of(equation), parse(ours)], make_probe(7))
    assert one is not None
    assert one.same(other)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "p.__class__",
        "lambda: p",
        "inv(p, p)",
        "x0 + 1",
        "y[1]",
        "p" * (MAX_TEXT + 1),
    ],
)
def test_an_equation_is_never_run(text):
    """What is no equation is refused by the reader: no text reaches eval."""
    with pytest.raises(ProgramError):
        equation_of(text)


def test_old_files_with_bars_and_other_orders_of_columns_are_read():
    """The header says which column is which."""
    old = parse_hall_of_fame("Complexity|MSE|Loss|Equation\n3|0.5|0.4|y*p\n", "old")
    assert [(e.complexity, e.loss, show(e.program)) for e in old.entries] == [(3, 0.4, "y*p")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no hall of fame"),
        (b"-y*logp\n", "no hall of fame"),
        (b"Complexity,Loss,Equation\n", "no rows"),
        (b'Complexity,Loss,Equation\n3,0.1,"x0 + x1"\n', "unknown name 'x0'"),
        (b"Complexity,Loss,Equation\n3,0.1\n", "it has 2 columns"),
        (b'Complexity,Loss,Equation\nthree,0.1,"y*p"\n', "three"),
        (b"\xff\xfe\x00", "cannot read"),
        (b"Complexity,Loss,Equation\n" + b'3,0.1,"y*p"\n' * 2_000, "at most"),
        (b"Complexity,Loss,Equation\n" + b" " * 2_000_000, "larger"),
    ],
)
def test_what_is_no_hall_of_fame_gets_a_sentence(tmp_path, content, words):
    """A truncated, foreign or huge file is refused with what it should be."""
    path = tmp_path / "found.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        read_hall_of_fame(path)


def test_a_missing_file_is_said(tmp_path):
    """The name is in the sentence."""
    with pytest.raises(UsageError, match=r"nothere\.csv"):
        read_hall_of_fame(tmp_path / "nothere.csv")
