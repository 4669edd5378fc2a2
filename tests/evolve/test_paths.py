"""The losses that people use for masks can be reached from cross-entropy by mutation, step by step."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from lossml import zoo
from lossml.backend import fingerprints, make_probe, screen
from lossml.evolve import vary
from lossml.program import parse, show
from lossml.program.grammar import segmentation_grammar

GRAMMAR = segmentation_grammar(prior=True)  # what a search on CamVid uses: its classes are uneven
MORE = {"const": 10.0, "C": 10.0}
OFTEN = replace(GRAMMAR, terminals=tuple((name, MORE.get(name, 1.0) * weight) for name, weight in GRAMMAR.terminals))
OPERATORS = {name: mutation for name, mutation, _ in vary.MUTATIONS}
PROBE = make_probe(11, 3072)

IMAGE_DICE = "-sum_C(sum_X(y*exp(logp))/(1 + sum_X(p + y)))"
TO_IMAGE_DICE = [
    ("", "-sum_C(y*logp)"),
    ("insert", "-sum_C(y*exp(logp))"),
    ("insert", "-sum_C(mean_X(y*exp(logp)))"),
    ("insert", "-sum_C(mean_X(y*exp(logp))/pi)"),
    ("insert", "-sum_C(mean_X(y*exp(logp))/(pi + p))"),
    ("insert", "-sum_C(mean_X(y*exp(logp))/(pi + mean_X(p)))"),
    ("insert", "-sum_C(mean_X(y*exp(logp))/(pi + mean_X(p + y)))"),
    ("insert", "-sum_C(mean_X(y*exp(logp))/(pi + 1 + mean_X(p + y)))"),
    ("hoist", "-sum_C(mean_X(y*exp(logp))/(1 + mean_X(p + y)))"),
    ("point", "-sum_C(sum_X(y*exp(logp))/(1 + mean_X(p + y)))"),
    ("point", IMAGE_DICE),
]
DICE = "(sum_B(sum_X(y*exp(logp))) + 0.5)/(1 + sum_B(sum_X(p + y)))"
TO_DICE = [
    ("", IMAGE_DICE),
    ("insert", "-sum_C((sum_X(y*exp(logp)) + 0.5)/(1 + sum_X(p + y)))"),
    ("insert", "-sum_C((sum_B(sum_X(y*exp(logp))) + 0.5)/(1 + sum_X(p + y)))"),
    ("insert", f"-sum_C({DICE})"),
]
TO_TVERSKY = [
    ("", IMAGE_DICE),
    ("insert", "-sum_C((sum_X(y*exp(logp)) + 1)/(1 + sum_X(p + y)))"),
    ("point", "-sum_C((sum_X(y*exp(logp)) + 1)/(3 + sum_X(p + y)))"),
    ("insert", "-sum_C((sum_X(y*exp(logp)) + 1)/(3 + sum_X(p + 2*y)))"),
    ("insert", "-sum_C((sum_B(sum_X(y*exp(logp))) + 1)/(3 + sum_X(p + 2*y)))"),
    ("insert", "-sum_C((sum_B(sum_X(y*exp(logp))) + 1)/(3 + sum_B(sum_X(p + 2*y))))"),
]
TO_DICE_AND_CE = [
    ("", f"-sum_C({DICE})"),
    ("insert", f"-sum_C({DICE} + logp)"),
    ("insert", f"-sum_C({DICE} + y*logp)"),
]
PATHS = {
    "dice": TO_IMAGE_DICE + TO_DICE[1:],
    "tversky(alpha=0.3333333333,beta=0.6666666667)": TO_IMAGE_DICE + TO_TVERSKY[1:],
    "dice+ce(weight=5.5)": TO_IMAGE_DICE + TO_DICE[1:] + TO_DICE_AND_CE[1:],
}


@pytest.mark.no_cover  # counting the lines of a hundred thousand mutations takes twice as long as making them
@pytest.mark.parametrize("path", [TO_IMAGE_DICE, TO_DICE, TO_TVERSKY, TO_DICE_AND_CE])
def test_each_step_is_what_one_mutation_gives(path):
    """The operator itself makes the next program of the last, under a grammar whose words are a search's.

    In every other try constants come up more often: weights say how often a program comes, not whether it can.
    """
    for (_, before), (operator, after) in pairwise(path):
        rng, tree, wanted = random.Random(0), parse(before), parse(after)
        mutants = (OPERATORS[operator](rng, (GRAMMAR, OFTEN)[k % 2], tree) for k in range(100_000))
        assert wanted in mutants, f"{operator} does not make {after} of {before}"


@pytest.mark.parametrize("name", PATHS)
def test_a_search_could_go_the_whole_way(name):
    """No step is rejected or the same loss as one before, so that each can be trained and have children."""
    programs = [parse(text) for _, text in PATHS[name]]
    assert [(show(one.program), one.rejection) for one in screen(programs, PROBE) if one.rejection] == []
    assert all(GRAMMAR.allows(program) for program in programs)
    reached, published = fingerprints([programs[-1], zoo.program_of(name)], PROBE)
    assert reached.same(published)
