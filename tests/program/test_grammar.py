"""What the grammar generates is typed, within its limits, varied and reproducible."""

import hashlib
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.errors import ProgramError
from lossml.program import OPERATIONS, TERMINALS, operations, parse, show
from lossml.program.grammar import (
    PREDICTION,
    SORTS,
    Grammar,
    choices,
    classification_grammar,
    generate,
    grow,
    random_constant,
    random_leaf,
    segmentation_grammar,
    sort_of,
)
from lossml.program.types import Axes

FULL = classification_grammar(prior=True, progress=True)
GRAMMARS = pytest.mark.parametrize(
    "grammar",
    [classification_grammar(), FULL, segmentation_grammar(), segmentation_grammar(prior=True, progress=True)],
    ids=["class", "prior and progress", "seg", "seg with both"],
)


@GRAMMARS
@given(seed=st.integers(0, 2**63))
def test_a_generated_loss_is_allowed(grammar, seed):
    """It reads target and prediction, keeps the limits, and uses the grammar's words alone."""
    program = generate(random.Random(seed), grammar)
    assert grammar.allows(program)
    words = {name for name, _ in (*grammar.terminals, *grammar.operations)} | {"sub", "mul"}
    assert operations(program) <= words


@GRAMMARS
@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_grown_expressions_are_of_their_sort(grammar, sort):
    """What is grown for a sort has its values there, whatever its size."""
    rng = random.Random(5)
    for _ in range(300):
        try:
            grown = grow(rng, grammar, rng.randint(1, 20), sort)
        except ProgramError:
            continue
        # Rounding can close an end that is open on paper; nothing beyond the ends is ever reached.
        assert sort.low <= grown.type.interval.low
        assert grown.type.interval.high <= sort.high
        assert grown.type.interval in sort_of(grown)


def test_the_same_seed_gives_the_same_programs():
    """Generation depends on the random state alone."""
    lists = [[show(generate(random.Random(k), classification_grammar())) for k in range(50)] for _ in range(2)]
    assert lists[0] == lists[1]


@pytest.mark.parametrize(
    ("options", "digest"), [({}, "01eeda3fa22dc2e4"), ({"prior": True, "progress": True}, "6e7b54be7a87c46f")]
)
def test_classification_generates_what_it_always_did(options, digest):
    """Seeded searches of classification find the same programs since segmentation came beside it."""
    rng, grammar = random.Random(0), classification_grammar(**options)
    texts = "\n".join(show(generate(rng, grammar)) for _ in range(300))
    assert hashlib.sha256(texts.encode()).hexdigest()[:16] == digest


def test_prior_and_progress_are_read_where_they_are_allowed_alone():
    """A grammar without them never writes pi or t; one with them writes both, and each by itself."""
    met = [operations(generate(random.Random(k), classification_grammar())) & {"pi", "t"} for k in range(300)]
    assert not any(met)
    for allowed, options in (("pi", {"prior": True}), ("t", {"progress": True})):
        grammar = classification_grammar(**options)
        assert {w for k in range(300) for w in operations(generate(random.Random(k), grammar)) & {"pi", "t"}} == {
            allowed
        }


def test_every_word_of_the_grammar_comes_up():
    """In two thousand programs every terminal and operation is met, and sizes vary."""
    rng, grammar = random.Random(1), FULL
    programs = [generate(rng, grammar) for _ in range(2000)]
    met = Counter(word for program in programs for word in operations(program))
    for name, _ in (*grammar.terminals, *grammar.operations):
        assert name == "1-" or met[name] > 0, name
    sizes = [program.size for program in programs]
    assert min(sizes) <= 4
    assert max(sizes) >= 25


def test_segmentation_reads_pixels():
    """Pixel aggregates are generated for segmentation and not for classification."""
    rng = random.Random(2)
    with_pixels = [operations(generate(rng, segmentation_grammar())) & {"sum_X", "mean_X"} for _ in range(300)]
    assert any(with_pixels)
    assert not any(operations(generate(rng, classification_grammar())) & {"sum_X", "mean_X"} for _ in range(300))


def test_productions_are_derived_from_the_operations():
    """An operation added to the language is generated without a line here: its bound decides where."""
    table = choices(classification_grammar())
    for sort in SORTS:
        for made in table[sort].productions:
            if made.op in OPERATIONS:
                assert OPERATIONS[made.op].bound(*made.args) in sort


@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_leaves_and_constants_are_of_their_sort(sort):
    """Drawn terminals and constants lie in the sort asked for."""
    rng = random.Random(3)
    for _ in range(200):
        assert random_constant(rng, sort).type.interval in sort
        assert random_leaf(rng, classification_grammar(), sort).type.interval in sort


@pytest.mark.parametrize(
    ("text", "allowed"),
    [("-y*logp", True), ("p*p", False), ("y*C", False), ("y*s", True), ("abs(" * 11 + "y*p" + ")" * 11, False)],
)
def test_a_loss_reads_target_and_prediction(text, allowed):
    """What reads only one of them, or is too deep, is no loss of the grammar."""
    assert classification_grammar().allows(parse(text)) is allowed


def test_a_grammar_that_hardly_finds_anything_still_gives_a_loss():
    """Where random programs do not fit, the smallest loss comes."""
    narrow = Grammar((("y", 1e-9), ("logp", 1.0)), (("exp", 1.0),))
    program = generate(random.Random(0), narrow)
    assert program == parse("y*logp")


def test_predictions_are_terminals_of_the_language():
    """The words that count as reading the prediction exist and vary over everything."""
    assert all(TERMINALS[name].type.axes == Axes.ELEMENT for name in PREDICTION)
