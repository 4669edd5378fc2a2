"""Variation gives other programs that are well typed and within the limits, or says that it found none."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.evolve import vary
from lossml.program import nodes, parse
from lossml.program.grammar import Grammar, classification_grammar, generate
from lossml.program.tree import CONST

GRAMMAR = classification_grammar()
OPERATORS = {name: mutation for name, mutation, _ in vary.MUTATIONS}


@pytest.mark.parametrize("name", OPERATORS)
@given(seed=st.integers(0, 2**63))
def test_a_mutant_is_another_program_within_the_limits(name, seed):
    """Every mutation of a random program is allowed and differs, or is None."""
    rng = random.Random(seed)
    parent = generate(rng, GRAMMAR)
    child = OPERATORS[name](rng, GRAMMAR, parent)
    assert child is None or (child != parent and GRAMMAR.allows(child))


@given(seed=st.integers(0, 2**63))
def test_a_crossing_is_another_program_within_the_limits(seed):
    """A child of two random programs is allowed and differs from its mother, or is None."""
    rng = random.Random(seed)
    mother, father = generate(rng, GRAMMAR), generate(rng, GRAMMAR)
    child = vary.crossover(rng, GRAMMAR, mother, father)
    assert child is None or (child != mother and GRAMMAR.allows(child))


@pytest.mark.parametrize("name", OPERATORS)
def test_every_mutation_mostly_succeeds(name):
    """A mutation that hardly ever finds anything would be none: most tries on programs with constants succeed."""
    rng = random.Random(7)
    parents = [p for p in (generate(rng, GRAMMAR) for _ in range(300)) if any(n.op == CONST for _, n in nodes(p))]
    found = [OPERATORS[name](rng, GRAMMAR, parent) for parent in parents]
    assert sum(child is not None for child in found) > 0.6 * len(found)


def test_a_hoist_is_shorter():
    """Hoisting replaces a part by a part of itself."""
    rng = random.Random(8)
    for _ in range(100):
        parent = generate(rng, GRAMMAR)
        child = vary.hoist(rng, GRAMMAR, parent)
        assert child is None or child.size < parent.size


def test_a_constant_mutation_changes_one_constant_alone():
    """The structure stays; one number moves."""
    rng = random.Random(9)
    parent = parse("-y*(1 - p)^2.5*logp + 0*p")
    for _ in range(50):
        child = vary.mutate_constant(rng, GRAMMAR, parent)
        pairs = list(zip(nodes(parent), nodes(child), strict=True))
        assert sum(a != b and a.op == CONST for (_, a), (_, b) in pairs) == 1
        assert [a.op for (_, a), _ in pairs] == [b.op for _, (_, b) in pairs]


def test_without_constants_there_is_nothing_to_move():
    """A program without numbers has no constant mutation."""
    assert vary.mutate_constant(random.Random(0), GRAMMAR, parse("-y*logp")) is None


@pytest.mark.parametrize("text", ["log(y*p + 1e-300)", "y*p*1e308"])
def test_a_constant_that_cannot_move_is_given_up(text):
    """Where every moved constant breaks a rule or stays the same, None is the answer, not an error."""
    cramped = Grammar(GRAMMAR.terminals, GRAMMAR.operations, max_size=2)
    assert vary.mutate_constant(random.Random(0), cramped, parse(text)) is None


def test_what_cannot_fit_is_given_up():
    """A grammar whose limits the parent itself breaks gives None."""
    cramped = Grammar(GRAMMAR.terminals, GRAMMAR.operations, max_size=2)
    assert vary.mutate_subtree(random.Random(0), cramped, parse("-y*logp*(1 - p)^3")) is None


def test_an_operation_outside_the_grammar_can_still_be_varied():
    """A seed may use words the grammar lacks; point mutation then leaves the operation or replaces it."""
    plain = Grammar((("y", 1.0), ("p", 1.0)), (("neg", 1.0),))
    rng = random.Random(1)
    children = {vary.mutate_point(rng, plain, parse("y*p + y")) for _ in range(40)}
    assert children - {None}


def test_mutate_names_what_it_did():
    """The name that goes into the history is that of the mutation."""
    rng = random.Random(2)
    names = {vary.mutate(rng, GRAMMAR, parse("-y*logp*0.5"))[0] for _ in range(100)}
    assert names == set(OPERATORS)


def test_dice_plus_cross_entropy_can_be_reached_from_cross_entropy():
    """Inserting and crossing lead from cross-entropy to a sum of it and another loss."""
    rng = random.Random(3)
    ce, mae = parse("-y*logp"), parse("-y*p")
    found = {vary.crossover(rng, GRAMMAR, parse("-y*logp + z*0"), mae) for _ in range(300)}
    assert any(child and child.op == "add" and child.args[0] == ce for child in found)
