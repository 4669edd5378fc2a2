"""The loss card: what a loss will do, computed from the loss alone, before it is trained."""

from lossml.card.advice import Advice
from lossml.card.card import Card, inspect, value_curves
from lossml.card.claim import Claim, Method
from lossml.card.curves import Curve, Curves, Learning, Map

__all__ = ["Advice", "Card", "Claim", "Curve", "Curves", "Learning", "Map", "Method", "inspect", "value_curves"]
