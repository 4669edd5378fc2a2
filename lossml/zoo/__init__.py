"""Published and classical losses as programs of the language."""

from lossml.zoo.entry import Entry, Kind, Parameter
from lossml.zoo.foreign import FOREIGN, Foreign, contender
from lossml.zoo.lookup import ENTRIES, entry, names, program_of

__all__ = ["ENTRIES", "FOREIGN", "Entry", "Foreign", "Kind", "Parameter", "contender", "entry", "names", "program_of"]
