"""Proposing programs: pure functions of a random state, a grammar and the trials so far."""

from lossml.evolve.evolutionary import EvolutionaryProposer
from lossml.evolve.propose import Parent, Proposal, Proposer, RandomProposer
from lossml.evolve.surrogate import Surrogate

__all__ = ["EvolutionaryProposer", "Parent", "Proposal", "Proposer", "RandomProposer", "Surrogate"]
