"""Equal up to scale is the same loss, and nothing else is."""

import pytest

from lossml.backend import fingerprints, make_probe
from lossml.program import parse

CE = "-sum_C(y*logp)"


def fingerprint(text, classes=10, pixels=1):
    return fingerprints([parse(text)], make_probe(classes, pixels))[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CE, "-3*y*logp"),
        (CE, "7 - sum_C(y*logp)"),
        (CE, "-sum_C(y*logp) + sum_C(y*exp(y))"),
        (CE, "-sum_C(y*logp) + 5*sum_C(p)"),
        (CE, "sum_C(y*(2 - logp))/4"),
        (CE, "-y*z + log(sum_C(exp(z)))/C"),
        ("(p - y)^2", "sum_C(p^2 - 2*p*y)"),
        ("mean_C((p - y)^2)", "sum_C((p - y)^2)"),
        ("abs(y - p)", "-sum_C(y*p)"),
    ],
)
def test_the_same_loss_in_other_words_has_the_same_fingerprint(one, other):
    """Factors, constants, terms in y alone, what the softmax cancels and rewriting do not count."""
    assert fingerprint(one).same(fingerprint(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (CE, "sum_C(y*logp)"),
        (CE, "-y*(1-p)^2*logp"),
        (CE, "-y*logp + 0.001*sum_C(p^2)"),
        (CE, "-y*logp - 0.001*logp"),
        ("(1 - sum_C(y*p)^0.7)/0.7", "(1 - sum_C(y*p)^0.701)/0.701"),
        (CE, "-y*logp*pi"),
        (CE, "-y*logp*(1 + y*t*p)"),
        ("-y*logp*(1 + t)", "-y*logp*(2 - t)"),
        ("-y*logp + t*p^2", "-y*logp + t^2*p^2"),
        ("-y*logp*(1 - p)^t", "-y*logp*(1 - p)^(1 - t)"),
        ("-y*logp + max(t, 0.8)*p^2", "-y*logp + 0.8*p^2"),
        ("-y*logp + min(t, 0.2)*p^2", "-y*logp + 0.2*p^2"),
    ],
)
def test_other_losses_have_other_fingerprints(one, other):
    """Sign, focus, a small further term, a slightly other exponent, the prior and progress are seen."""
    assert not fingerprint(one).same(fingerprint(other))


@pytest.mark.parametrize("text", ["3", "y*y", "sum_C(p)", "exp(exp(exp(exp(1/p))))"])
def test_a_loss_without_usable_gradient_has_none(text):
    """Constants and what overflows are nobody's duplicate."""
    found = fingerprint(text)
    assert found is None or found.size < 1e-9


@pytest.mark.parametrize("text", ["-y*logp*(1 + t - t)", "-y*logp + t*sum_C(p)", "-y*logp + t^2*sum_C(y)"])
def test_a_schedule_of_nothing_is_the_loss_without_it(text):
    """Progress that cancels, or scales what has no gradient, makes no new loss."""
    assert fingerprint(text).same(fingerprint(CE))


def test_the_ratio_of_sizes_is_the_factor():
    """Two losses equal up to scale say by how much."""
    assert fingerprint(f"{CE}*2.5").size == pytest.approx(2.5 * fingerprint(CE).size)


@pytest.mark.parametrize(("classes", "pixels"), [(2, 1), (100, 1), (5, 16)])
def test_fingerprints_hold_for_other_shapes(classes, pixels):
    """Cross-entropy and its rewriting agree for two classes, many, and pixels."""
    assert fingerprint(CE, classes, pixels).same(fingerprint("1 - 2*y*logp", classes, pixels))


def test_a_probe_is_the_same_for_ever():
    """The points do not depend on anything but the shape: keys can be compared between runs."""
    assert fingerprint(CE).keys == ("a0d02f37ec405ab24fc39f1", "b47a6632909e03029caf4c0")


def test_a_gradient_whose_square_overflows_has_a_size():
    """A loss whose gradient is finite but huge has a fingerprint, and is not taken for one without a gradient."""
    program = parse("exp(3*sum_C(y*logp)^2)")
    (found,) = fingerprints([program], make_probe(10))
    assert found is not None
    assert 1e100 < found.size < float("inf")
