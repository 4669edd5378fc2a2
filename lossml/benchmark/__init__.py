"""Full training of a list of losses with statistics: on real recipes, or on the proxy tasks of a search.

What trains on a recipe needs lightning-fabric and torchmetrics and is imported by name: `lossml.benchmark.full`.
"""

from lossml.benchmark.entrant import Entrant
from lossml.benchmark.run import benchmark

__all__ = ["Entrant", "benchmark"]
