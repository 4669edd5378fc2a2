"""A program is shortened only into the same loss, and never for longer than it is worth."""

from time import monotonic

import pytest

from lossml.algebra import shorten
from lossml.algebra.shorten import candidates
from lossml.backend import fingerprints, make_probe
from lossml.program import parse, show

LIMIT = 60.0  # far more than needed, on a busy machine too


def same(one, other):
    first, second = fingerprints([one, other], make_probe(5))
    return first is not None and second is not None and first.same(second)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("-sum_C(y*logp) + 0*z", "-sum_C(y*logp)"),
        ("y*p + y*p + y*p", "3*p*y"),
        ("-y*log(p*p)", "-2*y*logp"),
        ("exp(logp)*-y", "-p*y"),
        ("p*p*p*-y", "-p^3*y"),
        ("(y - p)^2*sum_C(p)", "(y - p)^2"),
        ("sum_C(y - p + p - p*1)*(2 + 3)", "5*sum_C(y - p)"),
        ("1/sqrt(1 + z^2)*-y", "-y*rsqrt1p(z)"),
        ("-y*logp*(sin(z)^2 + cos(z)^2)", "-y*logp"),
    ],
)
def test_a_longer_way_to_write_a_loss_is_shortened(text, short):
    """Sums, products, logarithms, aggregates of one and identities are worked out."""
    node = parse(text)
    found = shorten(node, same, LIMIT)
    assert found.size <= parse(short).size
    assert same(found, node)
    assert show(found) in list(candidates(text))


@pytest.mark.parametrize("text", ["-sum_C(y*logp)", "sum_C((p - y)^2)", "sum_C(y*(1 - p))"])
def test_what_is_short_already_stays_as_it_is(text):
    """A form with as many nodes is no gain, so the author's own stays."""
    assert shorten(parse(text), same, LIMIT) == parse(text)


def test_what_is_not_the_same_is_not_taken():
    """The caller has the last word."""
    node = parse("y*p + y*p")
    assert shorten(node, lambda _a, _b: False, LIMIT) is node


def test_a_stable_logarithm_is_not_given_up():
    """Logp + log(pi) is not made log(p*pi), which is shorter on paper and wrong at large logits."""
    node = parse("-y*logp - y*log(pi)")
    found = shorten(node, lambda _a, _b: True, LIMIT)
    assert "logp" in show(found)


def test_the_limit_holds_and_the_next_call_works():
    """A program sympy would work on for ever comes back unshortened within the limit and a second."""
    shorten(parse("p + p"), same, LIMIT)  # so that the process is there
    hopeless = parse("p*9^9^9^9 + 0")
    start = monotonic()
    assert shorten(hopeless, same, 1.0) is hopeless
    assert monotonic() - start < 2.0
    assert show(shorten(parse("p*p + p*p"), same, LIMIT)) == "2*p^2"
