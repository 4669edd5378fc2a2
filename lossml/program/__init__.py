"""The language of losses: typed symbolic programs L(y, p), their text form and grammar."""

from lossml.program.key import fold_constants, structure_key
from lossml.program.primitives import OPERATIONS, TERMINALS, Operation, Terminal
from lossml.program.text import parse, show
from lossml.program.tree import Node, Path, apply, constant, fold, nodes, operations, replace, subtree, terminal
from lossml.program.types import Axes, Type

__all__ = [
    "OPERATIONS",
    "TERMINALS",
    "Axes",
    "Node",
    "Operation",
    "Path",
    "Terminal",
    "Type",
    "apply",
    "constant",
    "fold",
    "fold_constants",
    "nodes",
    "operations",
    "parse",
    "replace",
    "show",
    "structure_key",
    "subtree",
    "terminal",
]
