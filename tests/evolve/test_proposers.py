"""What every proposer promises, and that evolution is worth more than chance."""

import os
import random
import subprocess
import sys

import pytest

from lossml.evolve import EvolutionaryProposer, Parent, RandomProposer
from lossml.evolve.evolutionary import better
from lossml.evolve.propose import key_of
from lossml.program import nodes, parse, show
from lossml.program.grammar import Grammar, classification_grammar, generate

GRAMMAR = classification_grammar()
SEEDS = (("ce", parse("-sum_C(y*logp)")), ("mae", parse("sum_C(y*(1 - p))")))
PROPOSERS = [RandomProposer(GRAMMAR), EvolutionaryProposer(GRAMMAR), EvolutionaryProposer(GRAMMAR, SEEDS, start=4)]


def history(count, scores=lambda k: (k / 100.0,)):
    rng = random.Random(11)
    return [Parent.of(generate(rng, GRAMMAR), k, scores(k)) for k in range(count)]


HISTORIES = {
    "empty": [],
    "short": history(3),
    "long": history(80),
    "failed": history(40, lambda _: ()),
    "equal": history(40, lambda _: (0.5,)),
    "rungs": history(60, lambda k: (0.1, 0.2, 0.3)[: 1 + k % 3]),
}


@pytest.mark.parametrize("proposer", PROPOSERS, ids=["random", "evolve", "seeded"])
@pytest.mark.parametrize("name", HISTORIES)
def test_every_proposer_keeps_the_contract(proposer, name):
    """As many as asked for, all new, all different, all allowed, each with its origin, and the same again."""
    past = HISTORIES[name]
    found = proposer.propose(random.Random(1), past, 40)
    assert found == proposer.propose(random.Random(1), past, 40)
    assert len(found) == 40
    keys = [key_of(one.program) for one in found]
    assert len(set(keys) | {key_of(parent.program) for parent in past}) == 40 + len({key_of(p.program) for p in past})
    numbers = {parent.number for parent in past}
    for one in found:
        assert one.operator
        assert set(one.parents) <= numbers
        assert one.operator.startswith("seed:") or GRAMMAR.allows(one.program)


def test_proposals_do_not_depend_on_hash_order():
    """Processes whose strings hash differently propose the same programs, so that a search can be resumed anywhere."""
    script = (
        "import random; from lossml.evolve import *; from lossml.program import show\n"
        "from lossml.program.grammar import classification_grammar as grammar, generate\n"
        "rng = random.Random(5)\n"
        "past = [Parent.of(generate(rng, grammar()), k, (rng.random(),)) for k in range(40)]\n"
        "for one in EvolutionaryProposer(grammar()).propose(rng, past, 60):\n"
        "    print(one.operator, one.parents, show(one.program))\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 60


def test_seeds_come_first_and_once():
    """Known losses are tried before anything else, and not again when the history holds them."""
    proposer = EvolutionaryProposer(GRAMMAR, SEEDS)
    first = proposer.propose(random.Random(0), [], 5)
    assert [one.operator for one in first[:3]] == ["seed:ce", "seed:mae", "random"]
    told = [Parent.of(SEEDS[0][1], 0, (0.5,))]
    assert [one.operator for one in proposer.propose(random.Random(0), told, 2)] == ["seed:mae", "random"]
    later = [*told, *history(5)]
    assert not any("seed" in one.operator for one in proposer.propose(random.Random(0), later, 10))


def test_fewer_come_where_nothing_new_is_found():
    """A grammar with few programs runs dry and says so by giving less."""
    tiny = Grammar((("y", 1.0), ("p", 1.0)), (("mul", 1.0),), max_size=7, typical_size=4)
    found = RandomProposer(tiny).propose(random.Random(0), [], 200)
    assert 0 < len(found) < 200


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0.9,), (0.5,), True),
        ((0.5,), (0.9,), False),
        ((0.5, 0.9), (0.8,), False),
        ((0.8, 0.1), (0.8,), True),
        ((0.8,), (0.8, 0.1), False),
        ((0.1, 0.2, 0.9), (0.9, 0.9, 0.3), True),
        ((0.5,), (), True),
        ((), (0.5,), False),
        ((), (), False),
    ],
)
def test_parents_are_compared_on_the_deepest_common_rung(one, other, expected):
    """The score where both can be compared decides; at a tie who got further."""
    pair = [Parent.of(parse("-y*logp"), k, scores) for k, scores in enumerate((one, other))]
    assert better(*pair, tie=0.003) is expected


def test_at_equal_scores_the_shorter_wins():
    """Differences below the tie are noise, and then length decides."""
    short, long = Parent.of(parse("-y*p"), 0, (0.9,)), Parent.of(parse("-y*p + 0*p"), 1, (0.901,))
    assert better(short, long, tie=0.003)
    assert not better(long, short, tie=0.003)


def test_old_parents_retire_and_the_elite_stays():
    """Only the youngest breed, and the best ever."""
    proposer = EvolutionaryProposer(GRAMMAR, start=1, population=10, elite=2, immigrants=0.0)
    past = history(60, lambda k: (1.0 if k in {3, 7} else 0.1,))
    used = {number for one in proposer.propose(random.Random(5), past, 200) for number in one.parents}
    assert used <= {3, 7, *range(50, 60)}
    assert {3, 7} <= used


def test_selection_prefers_the_better():
    """Tournament winners are better than the average parent."""
    proposer = EvolutionaryProposer(GRAMMAR, start=1, immigrants=0.0, population=100)
    past = history(100)
    numbers = [one.parents[0] for one in proposer.propose(random.Random(6), past, 200)]
    assert sum(numbers) / len(numbers) > 65


TARGET = {show(node) for _, node in nodes(parse("-sum_C(y*(1 - p)^2*logp)"))}


def likeness(program):
    """A cheap objective: parts shared with the focal loss among all parts of both."""
    parts = {show(node) for _, node in nodes(program)}
    return len(parts & TARGET) / len(parts | TARGET)


def found_by(proposer, seed, budget=200, cohort=20):
    past = []
    while len(past) < budget:
        rng = random.Random(f"{seed}/{len(past)}")
        past += [
            Parent.of(one.program, len(past) + k, (likeness(one.program),))
            for k, one in enumerate(proposer.propose(rng, past, cohort))
        ]
    return max(parent.scores[0] for parent in past)


def test_evolution_beats_chance_on_a_cheap_objective():
    """Over ten seeds the best of a search is on average better, and never much worse, than of as many random ones."""
    evolved = [found_by(EvolutionaryProposer(GRAMMAR), seed) for seed in range(10)]
    random_ = [found_by(RandomProposer(GRAMMAR), seed) for seed in range(10)]
    gains = [a - b for a, b in zip(evolved, random_, strict=True)]
    assert sum(gain > 0 for gain in gains) >= 8
    assert min(gains) > -0.1
