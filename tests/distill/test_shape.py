"""Rewriting a program for distilling: its sign, its constants, what can be left out."""

import pytest
import torch

from lossml.backend import logit_gradients, make_probe
from lossml.distill.combine import weighted_sum
from lossml.distill.shape import constants, negated, shorter_forms, skeleton, tidied, with_constants
from lossml.errors import ProgramError
from lossml.program import parse, show

PROBE = make_probe(5)


def gradients(*programs):
    return logit_gradients(programs, PROBE.logits, PROBE)


@pytest.mark.parametrize(
    "text", ["y*logp", "-y*logp", "y - p", "exp(p)*y", "sum_C(y*p)", "(1 - p)/(2 + y)", "y + 2", "log(1 - p)*2", "p^y"]
)
def test_a_negated_program_has_the_opposite_gradient(text):
    """Turning the sign changes nothing else, and costs at most one node."""
    program = parse(text)
    turned = negated(program)
    assert turned.size <= program.size + 1
    torch.testing.assert_close(gradients(turned), -gradients(program))


def test_constants_are_read_and_set_in_one_order():
    """What `constants` lists, `with_constants` puts back; types are checked again."""
    program = parse("0.5*y*(3 - p)^1.5")
    assert constants(program) == [0.5, 3.0, 1.5]
    assert show(with_constants(program, [1.0, 2.0, 4.0])) == "1*y*(2 - p)^4"
    with pytest.raises(ProgramError):
        with_constants(program, [1.0, 0.5, 0.5])


def test_programs_that_differ_in_numbers_alone_share_a_skeleton():
    """A structure is fitted once, wherever its fit begins."""
    assert skeleton(parse("2*y + p")) == skeleton(parse("7*y + p"))
    assert skeleton(parse("2*y + p")) != skeleton(parse("2*y - p"))


def test_what_can_be_left_out_is_left_out():
    """The forms of a bloated program hold the one without the bloat."""
    forms = {show(form) for form in shorter_forms(parse("-y*(logp + 0*z)"))}
    assert "-y*logp" in forms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("y*p", "p*logp"),
        ("-y*p", "p*logp"),
        ("sum_C(y*p)", "p*logp"),
        ("p*logp", "log(sum_C(p^2))"),
        ("-y*p", "-p*y*p"),
    ],
)
@pytest.mark.parametrize("weights", [(1.0, 0.25), (-2.0, 3.0), (0.5, -0.5), (-1.0, -7.0)])
def test_a_weighted_sum_has_the_weighted_gradient(one, other, weights):
    """Whatever the signs and the axes of the terms, the program written is the sum meant, up to a positive scale."""
    first, second = gradients(parse(one), parse(other))
    wanted = weights[0] * first + weights[1] * second
    programs = list(weighted_sum(parse(one), parse(other), *weights, PROBE.classes))
    found = gradients(*programs)
    cosines = [float((g * wanted).sum() / g.norm() / wanted.norm()) for g in found]
    assert max(cosines) == pytest.approx(1.0, abs=1e-6)


def test_a_negative_less_a_number_is_written_shorter():
    """-a - c is kept as -c - a, wherever it stands; the loss is the same."""
    assert show(tidied(parse("(-y - 0.5)*logp"))) == "(-0.5 - y)*logp"
    assert tidied(parse("(-y - p)*logp")) == parse("(-y - p)*logp")
