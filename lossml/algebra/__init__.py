"""Formulas for people: LaTeX, a shorter form, the derivative, sympy's text."""

from lossml.algebra.derivative import derivative
from lossml.algebra.latex import latex
from lossml.algebra.shorten import shorten
from lossml.algebra.source import sympy_text

__all__ = ["derivative", "latex", "shorten", "sympy_text"]
