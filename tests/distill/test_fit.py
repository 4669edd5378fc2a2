"""Constants are found to all digits, kept where the types need them, and rounded where that costs nothing."""

import pytest

from lossml.distill.fit import fitted, rounded
from lossml.distill.points import disagreement, judge, search_points
from lossml.distill.shape import constants
from lossml.distill.target import read_target
from lossml.program import parse, show


def apart(program, points):
    return float(disagreement(judge([program], points).rows, points)[0])


@pytest.mark.parametrize(
    ("target", "start", "wanted"),
    [
        ("focal(gamma=2.7)", "-y*(1 - p)^0.6*logp", [1.0, 2.7]),
        ("gce(q=0.35)", "-y*p^1.1", [0.35]),
        ("sce", "y*(2*(1 - p) - 0.3*logp)", None),
        ("exp(1.7 - p*(1 + 2.5*y))", "exp(-p*(0.3 + y))", None),
    ],
)
def test_constants_are_found(target, start, wanted):
    """From a start that is off by a factor of two or more, the constants of a known loss come out, up to scale."""
    points = search_points(read_target(target), 10)
    program = parse(start)
    (found,) = fitted([program], points, steps=12)
    if wanted is None:
        assert apart(found, points) < 0.5 * apart(program, points)
    else:
        assert constants(found) == pytest.approx(wanted, rel=1e-4)
        assert apart(found, points) < 1e-4


def test_programs_are_fitted_side_by_side_as_alone():
    """What stands beside a program in the batch, with more constants or fewer, does not change its fit."""
    points = search_points(read_target("focal(gamma=1.4)"), 10)
    programs = [parse(t) for t in ("-y*(1 - p)^2*logp", "y*(p - 1.5)*logp", "y*p*0.3*(p^1.2 - 4*logp - 7)*1.1")]
    together = fitted(programs, points)
    alone = [fitted([program], points)[0] for program in programs]
    for one, other in zip(together, alone, strict=True):
        assert apart(one, points) == pytest.approx(apart(other, points), abs=2e-3)


def test_a_fit_never_makes_a_program_worse():
    """The best of a start and its steps is kept."""
    points = search_points(read_target("ngl"), 10)
    for text in ("exp(-2*p*y)", "y*(0.1 + p)^-3", "tanh(3*p)*y - 2*p", "y/(0.5 + p)"):
        for found in fitted([parse(text)], points):
            assert apart(found, points) <= apart(parse(text), points) + 1e-5


def test_rounding_keeps_the_agreement():
    """A constant is given with the fewest digits that keep the disagreement that is allowed."""
    points = search_points(read_target("focal"), 10)
    exact = parse("-y*(1 - p)^2.0000001*logp")
    assert show(rounded(exact, points, 1e-6)) == "-y*(1 - p)^2*logp"
    near = rounded(parse("y*(p - 0.553644)*logp"), points, 0.026)
    assert len(show(near)) < len("y*(p - 0.553644)*logp")
    assert apart(near, points) <= 0.026
