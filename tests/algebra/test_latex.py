"""The displayed formula says what the program says, with the parentheses it needs."""

import random
import re

import pytest

from lossml import zoo
from lossml.algebra import latex
from lossml.algebra.latex import INDICES, TERMINALS
from lossml.program import nodes, parse, show
from lossml.program.grammar import classification_grammar, generate, segmentation_grammar


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("-sum_C(y*logp)", r"-\sum_{c} y_{c} \log p_{c}"),
        ("-y*(1 - p)^2*logp", r"-y_{c} \left(1 - p_{c}\right)^{2} \log p_{c}"),
        ("logp*y", r"\left(\log p_{c}\right) y_{c}"),
        ("log(1 - p)", r"\log\left(1 - p_{c}\right)"),
        ("p/sum_C(p*p)", r"\frac{p_{c}}{\sum_{k} p_{k} p_{k}}"),
        ("sum_C(p)*sum_C(y)", r"\left(\sum_{c} p_{c}\right) \sum_{c} y_{c}"),
        ("p - (y + s)", r"p_{c} - \left(y_{c} + \sigma_{c}\right)"),
        ("p + (y + s)", r"p_{c} + y_{c} + \sigma_{c}"),
        ("p + -y", r"p_{c} + \left(-y_{c}\right)"),
        ("p - -1*y", r"p_{c} - \left(-1 y_{c}\right)"),
        ("p*(-y)", r"p_{c} \left(-y_{c}\right)"),
        ("-(p + y)", r"-\left(p_{c} + y_{c}\right)"),
        ("-(-p)", r"-\left(-p_{c}\right)"),
        ("p*2", r"p_{c} \cdot 2"),
        ("p*1.5e-7", r"p_{c} \cdot 1.5 \cdot 10^{-7}"),
        ("p^1e-7", r"p_{c}^{10^{-7}}"),
        ("1e20*p", r"10^{20} p_{c}"),
        ("(p*y)^3", r"\left(p_{c} y_{c}\right)^{3}"),
        ("logp^2", r"\left(\log p_{c}\right)^{2}"),
        ("exp(p)^2", r"\left(e^{p_{c}}\right)^{2}"),
        ("2^p^y", r"2^{p_{c}^{y_{c}}}"),
        ("p/C", r"\frac{p_{c}}{C}"),
        ("sqrt(p) + abs(z) + tanh(z)", r"\sqrt{p_{c}} + \left|z_{c}\right| + \tanh\left(z_{c}\right)"),
        ("rsqrt1p(z)", r"\frac{1}{\sqrt{1 + z_{c}^{2}}}"),
        ("logabs(z)", r"\log\left(\left|z_{c}\right| + 10^{-6}\right)"),
        ("max(p, y)*t", r"\left(\max\left(p_{c}, y_{c}\right)\right) t"),
        ("max_C(z) - pi*mean_X(p)", r"\pi_{c} \frac{1}{N} \sum_{x} p_{c}"),
        ("mean_B(p)", r"\frac{1}{B} \sum_{b} p_{c}"),
        ("sum_C(p + y)", r"\sum_{c} \left(p_{c} + y_{c}\right)"),
        ("sum_C(p*sum_C(y*sum_C(s*p)))", r"\sum_{c} p_{c} \sum_{k} y_{k} \sum_{l} \sigma_{l} p_{l}"),
    ],
)
def test_a_formula_is_written_as_mathematicians_do(text, formula):
    """Precedence, indices, fractions and numbers, one form each."""
    assert formula in latex(parse(text))


def test_indices_never_run_out():
    """More sums inside each other than there are letters still have an index each."""
    text = "p"
    for _ in range(len(INDICES) + 2):
        text = f"p*sum_C({text})"
    assert rf"p_{{c_{{{len(INDICES) + 1}}}}}" in latex(parse(text))


def random_programs():
    rng = random.Random(3)
    return [generate(rng, make()) for _ in range(100) for make in (classification_grammar, segmentation_grammar)]


@pytest.mark.parametrize("node", [*(zoo.entry(name).program() for name in zoo.names()), *random_programs()], ids=show)
def test_a_formula_is_balanced_and_complete(node):
    """Braces and brackets close, nothing is left of the templates, and each terminal is there."""
    formula = latex(node)
    depth = 0
    for sign in re.findall(r"[{}]", formula):
        depth += 1 if sign == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert formula.count(r"\left") == formula.count(r"\right")
    assert not set(formula) & set("@%*")
    for name in {node.op for _, node in nodes(node)} & set(TERMINALS):
        assert TERMINALS[name][0].split("_{@}")[0] in formula
