"""Published and classical losses as programs of the language."""

from lossml.zoo.entry import Entry, Kind, Parameter
from lossml.zoo.lookup import ENTRIES, entry, names, program_of

__all__ = ["ENTRIES", "Entry", "Kind", "Parameter", "entry", "names", "program_of"]
