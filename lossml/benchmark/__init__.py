"""Full training of a list of losses with statistics."""

from lossml.benchmark.run import Entrant, benchmark, tables

__all__ = ["Entrant", "benchmark", "tables"]
