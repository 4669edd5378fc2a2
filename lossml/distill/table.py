"""The target as a table of numbers, for engines that fit values and know nothing of gradients.

Most losses are sums over the classes of a function of y and p. That function is recovered from the
logit gradient by least squares over a few dozen known functions, and tabulated. What of the
gradient it leaves unexplained is given beside it: such an engine cannot do better.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lossml.backend import Probe, runtime
from lossml.backend.interpret import Inputs, evaluate
from lossml.backend.weighting import weights_of
from lossml.distill.points import Points, judge
from lossml.program import Node, parse

COLUMNS = ("y", "p", "logp")
ROWS = 200
LOWEST = 0.002  # p of the table lies between this and one less this
CUTOFF = 1e-9  # of singular values: the functions are nearly dependent
FUNCTIONS = ("p", "p^2", "p^3", "p^4", "p^5", "sqrt(p)", "p^0.25", "logp", "p*logp", "p^2*logp", "p^3*logp", "1/p")
FUNCTIONS_OF_THE_REST = ("log1mp", "(1 - p)*log1mp", "sqrt(1 - p)")


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A function of y and p.

    Attributes:
        inputs: (N, 3), the columns y, p, logp.
        values: (N,), the function up to scale and terms that have no gradient.
        unexplained: disagreement of the function's loss with the target.
    """

    inputs: Tensor
    values: Tensor
    unexplained: float


def tabulate(points: Points) -> Table:
    """Recover the function of y and p whose sum over the classes has the target's gradient, as far as there is one."""
    programs = [parse(text) for f in (*FUNCTIONS, *FUNCTIONS_OF_THE_REST) for text in (f"y*({f})", f"(1 - y)*({f})")]
    judged = judge(programs, points)
    weights = torch.linalg.lstsq(judged.rows.T, points.unit, rcond=CUTOFF, driver="gelsd").solution
    explained = float((weights @ judged.rows) @ points.unit / (weights @ judged.rows).norm())
    inputs, columns = _values(programs)
    values = columns @ (weights / judged.sizes)
    return Table(inputs, values / values.std(), max(0.0, 1.0 - explained**2) ** 0.5)


def _values(programs: list[Node]) -> tuple[Tensor, Tensor]:
    """Evaluate programs where p runs over its range, as the true class's and as another's."""
    share = torch.cat([torch.linspace(LOWEST, 1.0 - LOWEST, ROWS // 2), torch.logspace(-2.7, -0.3, ROWS // 2)])
    logits = torch.stack([share.double().logit(), torch.zeros(ROWS, dtype=torch.float64)], 1).unsqueeze(-1)
    probe = Probe(logits, torch.zeros(ROWS, 1, dtype=torch.long), torch.full((2,), 0.5, dtype=torch.float64))
    y, _ = runtime.one_hot(probe.target, logits, None)
    inputs = Inputs(logits, y, weights_of(y, None, None), probe.prior)
    found = [evaluate(parse(text), inputs).flatten() for text in COLUMNS]
    return torch.stack(found, 1), torch.stack([evaluate(p, inputs).flatten() for p in programs], 1)
