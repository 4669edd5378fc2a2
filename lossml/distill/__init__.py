"""Distilling: the shortest program whose logit gradient agrees with that of a given loss."""

from lossml.distill.engine import Limits
from lossml.distill.run import Distilled, Found, distill
from lossml.distill.target import Target, program_target, read_target, target_of

__all__ = ["Distilled", "Found", "Limits", "Target", "distill", "program_target", "read_target", "target_of"]
