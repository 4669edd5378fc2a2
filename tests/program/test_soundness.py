"""Whole programs keep what their types promise, measured by a naive evaluator on plain lists."""

import dataclasses
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.program import TERMINALS, nodes, parse, show
from lossml.program.grammar import classification_grammar, generate
from lossml.program.key import NUMERIC
from lossml.program.tree import CONST

SAMPLES, CLASSES = 3, 4


def full(make):
    return [[make(b, c) for c in range(CLASSES)] for b in range(SAMPLES)]


def terminals(rng):
    """Draw logits and targets, hard or soft, and derive the other terminals as their definitions say."""
    logits = full(lambda _b, _c: rng.gauss(0, 2))
    z = [[x - sum(row) / CLASSES for x in row] for row in logits]
    p = [[math.exp(x) / sum(map(math.exp, row)) for x in row] for row in z]
    labels = [rng.randrange(CLASSES) for _ in range(SAMPLES)]
    soft = rng.choice([0.0, 0.3])
    y = full(lambda b, c: soft / CLASSES + (1 - soft) * (labels[b] == c))
    logs = {"logp": full(lambda b, c: math.log(p[b][c])), "log1mp": full(lambda b, c: math.log1p(-p[b][c]))}
    return {"y": y, "p": p, "z": z, "C": full(lambda _b, _c: float(CLASSES)), **logs}


def mean(values):
    return sum(values) / len(values)


REDUCE = {"sum": sum, "mean": mean, "max": max}


def evaluate(node, given_):
    """Compute a node the slow way, as rows of samples; what does not vary along an axis is repeated."""
    if node.op == CONST:
        return full(lambda _b, _c: node.value)
    if node.op in TERMINALS:
        return given_[node.op]
    args = [evaluate(arg, given_) for arg in node.args]
    name, _, axis = node.op.partition("_")
    if axis == "C":
        return [[REDUCE[name](row)] * CLASSES for row in args[0]]
    if axis == "B":
        columns = [REDUCE[name](column) for column in zip(*args[0], strict=True)]
        return [columns] * SAMPLES
    return full(lambda b, c: NUMERIC[node.op](*(arg[b][c] for arg in args)))


def assert_sound(program, seed):
    """Every finite value of every part lies in that part's interval, but for rounding."""
    given_ = terminals(random.Random(seed))
    for _, node in nodes(program):
        try:
            values = [value for row in evaluate(node, given_) for value in row]
        except (ArithmeticError, ValueError):  # a float overflowed or vanished: exact arithmetic would go on
            continue
        bound = node.type.interval
        for value in filter(math.isfinite, values):
            slack = 1e-7 * max(1.0, abs(value))
            assert bound.low - slack <= value <= bound.high + slack, (show(node), value, str(bound))


@given(seed=st.integers(0, 2**32))
def test_every_part_of_a_random_program_stays_in_its_interval(seed):
    """Types hold for compositions, not only for single operations."""
    assert_sound(generate(random.Random(seed), classification_grammar()), seed)


@pytest.mark.parametrize(
    "text",
    [
        "sum_C(y*logp)",
        "sum_C(logp*y)",
        "sum_C(y*(1 - p))",
        "sum_C(y*y)",
        "sum_C(y)",
        "sum_C(p)",
        "sum_C(y*sum_C(p*z))",
        "sum_C(y*z) - max_C(z)",
        "sum_B(y*p)",
        "mean_B(sum_C(square(y - p)))",
    ],
)
def test_aggregates_weighted_by_the_target_are_means(text):
    """Σy = Σp = 1 and Σy·x lies between the ends of x, for hard and soft targets."""
    for seed in range(30):
        assert_sound(parse(text), seed)


def test_the_evaluator_sees_a_broken_promise():
    """A value outside the interval is noticed: the check itself can fail."""
    wrong = dataclasses.replace(parse("p"), type=parse("logp").type)
    with pytest.raises(AssertionError):
        assert_sound(wrong, 0)
