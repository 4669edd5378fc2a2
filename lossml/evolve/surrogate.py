"""The surrogate: which of many programs are worth training, learnt from how their gradients look.

What a loss does to a network it does through its logit gradient, so the gradient at fixed probe points
describes it as training sees it, where its tree does not: two trees may be one loss, and a small change
of a tree may be a large one of the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lossml.evolve.evolutionary import depth_then_score
from lossml.evolve.propose import Parent

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Extremely randomised trees from probe gradients to merit; a pure function of its arguments.

    Attributes:
        breadth: programs looked at for each that is asked for.
        start: finished trials before it has an opinion.
        memory: how many of the youngest trials it learns from. Parents are young, too, and a forest on all would cost
            more with every cohort.
        trees: in the forest.
        optimism: standard deviations over the trees that are added to their mean: what is uncertain is tried.
        spared: one of so many places goes to the proposer's own order, so that what the forest
            knows nothing of is met as well.
    """

    breadth: int = 5
    start: int = 32
    memory: int = 256
    trees: int = 100
    optimism: float = 0.5
    spared: int = 4

    def ready(self, history: Sequence[Parent]) -> bool:
        """Say whether there are enough trials to learn from."""
        return len(history) >= self.start

    def order(self, seed: int, history: Sequence[Parent], known: Matrix, offered: Matrix) -> list[int]:
        """Put programs into the order in which they are worth training.

        Args:
            seed: of the forest.
            history: the finished trials.
            known: directions of their gradients (n, D), in order; those of the `memory` youngest are enough.
            offered: directions of the programs' gradients (m, D), in the proposer's order.

        Returns:
            Places of the programs, a permutation of 0..m-1, the most promising first.
        """
        if not len(offered):
            return []
        young = history[-self.memory :]
        ranked = np.argsort(-self._promise(seed, merits(young), known[-self.memory :], offered), kind="stable")
        return _spare([int(k) for k in ranked], self.spared)

    def _promise(self, seed: int, merit: Matrix, known: Matrix, offered: Matrix) -> Matrix:
        from sklearn.ensemble import ExtraTreesRegressor  # pyright: ignore[reportMissingTypeStubs] - it has none

        forest: Any = ExtraTreesRegressor(
            self.trees, min_samples_leaf=2, max_features=0.3, random_state=seed % 2**32, n_jobs=-1
        )
        forest.fit(_evened(known), merit)
        there = _evened(offered).astype(np.float32)  # as trees take it: else each would convert it anew
        each = np.stack([tree.predict(there) for tree in forest.estimators_])
        return each.mean(0) + self.optimism * each.std(0)


def merits(history: Sequence[Parent]) -> Matrix:
    """Return the rank of each trial in [0, 1], 1 for the best: by depth first, then by score there."""
    worst_first = sorted(range(len(history)), key=lambda k: _merit(history[k]))
    found = np.empty(len(history))
    found[worst_first] = np.linspace(0.0, 1.0, len(history))
    return found


def _merit(parent: Parent) -> tuple[int, float, int]:
    if not parent.scores:
        return 0, 0.0, -parent.number
    depth, score, number = depth_then_score(parent)
    return -depth, -score, -number


def _evened(directions: Matrix) -> Matrix:
    """Even gradients out: those of a confident network are many times those of a fresh one."""
    return np.sign(directions) * np.sqrt(np.abs(directions))


def _spare(ranked: Sequence[int], spared: int) -> list[int]:
    """Give every `spared`-th place to the first, in the given numbers' order, that has none yet."""
    left, plain = dict.fromkeys(ranked), iter(range(len(ranked)))
    found: list[int] = []
    while left:
        source = plain if len(found) % spared == spared - 1 else iter(left)
        found.append(next(k for k in source if k in left))
        del left[found[-1]]
    return found
