"""Only well-typed programs exist, and each in one normal form."""

import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossml.errors import ProgramError
from lossml.program import (
    OPERATIONS,
    Axes,
    apply,
    constant,
    fold,
    fold_constants,
    nodes,
    operations,
    parse,
    replace,
    show,
    structure_key,
    subtree,
    terminal,
)
from lossml.program.tree import MAX_DEPTH, MAX_SIZE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("log(p)", "logp"),
        ("log(s)", "logs"),
        ("log(1 - p)", "log1mp"),
        ("log(1 - s)", "log1ms"),
        ("z^2", "square(z)"),
        ("-(3)", "-3"),
        ("-0.0*p", "0*p"),
    ],
)
def test_equal_meanings_are_one_tree(one, other):
    """A logarithm of a probability is the stable terminal, a square a square, a negated number a number."""
    assert parse(one) == parse(other)
    assert hash(parse(one)) == hash(parse(other))


@pytest.mark.parametrize(
    ("text", "axes", "interval"),
    [
        ("p", Axes.ELEMENT, "(0, 1)"),
        ("sum_C(y*logp)", Axes.SAMPLE, "(-inf, 0)"),
        ("sum_C(p)", Axes.SAMPLE, "[1, 1]"),
        ("sum_C(logp*y)", Axes.SAMPLE, "(-inf, 0)"),
        ("sum_C(p*p)", Axes.SAMPLE, "(0, inf)"),
        ("mean_B(p)", Axes.CLASS | Axes.PIXEL, "(0, 1)"),
        ("sum_X(sum_B(y))", Axes.CLASS, "[0, inf)"),
        ("max_C(z)", Axes.SAMPLE, "(-inf, inf)"),
        ("pi", Axes.CLASS, "(0, 1)"),
        ("C + 1", Axes.SCALAR, "[3, inf)"),
        ("(p - y)^3", Axes.ELEMENT, "(-inf, inf)"),
        ("(p - 2)^4", Axes.ELEMENT, "(0, inf)"),
        ("z^4", Axes.ELEMENT, "[0, inf)"),
        ("z^0", Axes.ELEMENT, "[0, inf)"),
        ("p^3", Axes.ELEMENT, "(0, 1)"),
    ],
)
def test_types_are_inferred(text, axes, interval):
    """An expression knows what it varies over and where its values lie."""
    found = parse(text).type
    assert found.axes == axes
    assert str(found.interval) == interval


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: apply("frobnicate", terminal("p")), "unknown operation 'frobnicate'"),
        (lambda: apply("exp", terminal("p"), terminal("p")), r"takes 1 argument\(s\), 2 given"),
        (lambda: terminal("q"), "unknown terminal 'q'"),
        (lambda: constant(float("nan")), "not finite"),
        (lambda: constant(float("inf")), "not finite"),
        (lambda: apply("div", terminal("p"), terminal("y")), "denominator"),
        (lambda: apply("log", terminal("z")), "positive"),
        (lambda: apply("sqrt", terminal("y")), "positive"),
        (lambda: apply("pow", terminal("z"), terminal("z")), "base must be positive"),
        (lambda: apply("sum_C", terminal("C")), "nothing to reduce"),
        (lambda: apply("sum_X", parse("sum_X(p)")), "nothing to reduce"),
        (lambda: apply("sub", apply("exp", constant(800)), apply("exp", constant(800))), "not a number"),
    ],
)
def test_ill_typed_programs_do_not_exist(build, message):
    """What breaks a rule is refused when it is built, with the rule."""
    with pytest.raises(ProgramError, match=message):
        build()


def test_programs_are_bounded():
    """Beyond the limits of size and depth nothing is built."""
    deep = terminal("p")
    for _ in range(MAX_DEPTH - 1):
        deep = apply("abs", deep)
    with pytest.raises(ProgramError, match="levels"):
        apply("abs", deep)
    wide = terminal("z")
    while 2 * wide.size + 1 <= MAX_SIZE:
        wide = apply("add", wide, wide)
    with pytest.raises(ProgramError, match="nodes"):
        apply("mul", apply("add", wide, wide), wide)


def test_a_node_is_compared_by_structure():
    """Equality looks at operations, arguments and constants, and at nothing that is no program."""
    assert parse("p + 1") == parse("p+1.0")
    assert parse("p + 1") != parse("1 + p")
    assert parse("p") != "p"


def test_every_node_is_reached_by_its_path():
    """Paths lead where `nodes` says, and replacing a part gives the tree with it."""
    tree = parse("-sum_C(y*(1 - p)^2*logp)")
    for path, node in nodes(tree):
        assert subtree(tree, path) is node
        assert replace(tree, path, node) == tree
    assert replace(tree, (), terminal("p")) == terminal("p")
    assert tree.size == len(list(nodes(tree))) == fold(tree, lambda _, sizes: 1 + sum(sizes))
    assert tree.depth == fold(tree, lambda _, depths: 1 + max(depths, default=0))


def test_replacing_checks_types_up_to_the_root():
    """A part that does not fit where it is put is refused."""
    with pytest.raises(ProgramError, match="denominator"):
        replace(parse("y/p"), (1,), terminal("y"))


def test_the_words_in_use_are_known():
    """`operations` names operations and terminals."""
    assert operations(parse("-sum_C(y*logp)")) == {"neg", "sum_C", "mul", "y", "logp"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("y*p", "p*y"),
        ("max(p, y) + 1", "1 + max(y, p)"),
        ("p*(2 + 3)", "5*p"),
        ("exp(0)*p", "1*p"),
        ("p + sqrt(4) - abs(-2)", "(2 + p) - 2"),
        ("p*tanh(0.5)", "0.46211715726000973*p"),
        ("rsqrt1p(0) + logabs(1) + square(3) + p", f"{1 + 9.999995e-07 + 9!r} + p"),
    ],
)
def test_order_and_constants_do_not_make_another_structure(one, other):
    """The key sees through the order of sums and products and through arithmetic on constants."""
    assert structure_key(parse(one)) == structure_key(parse(other))


@pytest.mark.parametrize(("one", "other"), [("y - p", "p - y"), ("y*p", "y + p"), ("2*p", "3*p"), ("p/C", "C/p")])
def test_other_structures_have_other_keys(one, other):
    """What does not commute keeps its order."""
    assert structure_key(parse(one)) != structure_key(parse(other))


@pytest.mark.parametrize("text", ["exp(800)*p", "exp(1000)", "3^700*p"])
def test_constants_beyond_floating_point_stay_as_written(text):
    """What a float cannot hold is not folded."""
    assert fold_constants(parse(text)) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "y*p*log(exp(-1000))",
        "y*p/exp(-1000)",
        "y*p/exp(-exp(7))",
        "y*p*log(1 - tanh(20))",
        "y*p/0.5^2000",
        "y*p/rsqrt1p(10^200)",
    ],
)
def test_a_constant_that_vanishes_in_floating_point_breaks_no_key(text):
    """A positive constant too small for a float folds to no zero that a logarithm or division would refuse."""
    tree = parse(text)
    assert structure_key(tree) == structure_key(fold_constants(tree))
    assert fold_constants(tree).type.axes == tree.type.axes


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_constants_fold_as_they_compute(value):
    """Negation twice gives the number back, and every number is its own program."""
    assert fold_constants(parse(show(constant(value)))).value == value


def test_every_unary_operation_on_a_constant_folds():
    """Each element-wise operation of one argument has its arithmetic."""
    for name, op in OPERATIONS.items():
        if op.arity == 1 and not op.removes:
            assert fold_constants(apply(name, constant(0.5))).op == "const"


def test_a_pickled_tree_is_found_in_a_process_that_hashes_otherwise():
    """Trees travel to worker processes, where texts hash differently, and are looked up there."""
    script = (
        "import pickle, sys; from lossml.program import parse\n"
        "tree = pickle.load(sys.stdin.buffer)\n"
        "assert {parse('-y*logp + C*p^2'): 1}[tree] == 1 and hash(tree) == hash(parse('-y*logp + C*p^2'))\n"
    )
    tree = pickle.dumps(parse("-y*logp + C*p^2"))
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", script], env=environment, input=tree, check=True)
