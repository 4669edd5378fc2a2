"""Losses that are no programs of the language: contenders beside programs, from libraries that keep them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from types import MappingProxyType

from lossml.errors import UsageError
from lossml.program import Node
from lossml.zoo.lookup import program_of


@dataclass(frozen=True, slots=True)
class Foreign:
    """A loss that sorts, searches or looks at neighbours, which no program of the language does.

    Attributes:
        name: as `--losses` and a recipe's baselines take it.
        title: as its authors call it.
        source: authors, year, where.
        library: what has it, as it is imported; "" where it is a small module of our own, no kept library having it.
        extra: of LossML's optional dependencies, the one that installs the library.
        masks: whether it looks at neighbouring pixels, so that only masks can have it.
    """

    name: str
    title: str
    source: str
    library: str = ""
    extra: str = ""
    masks: bool = False


FOREIGN: Mapping[str, Foreign] = MappingProxyType(
    {
        "lovasz": Foreign(
            "lovasz",
            "Lovász-Softmax",
            "Berman et al. (2018), arXiv:1705.08790",
            "segmentation_models_pytorch",
            "segmentation",
        ),
        "ohem": Foreign(
            "ohem",
            "cross-entropy of the hardest samples or pixels (OHEM)",
            "Shrivastava et al. (2016), arXiv:1604.03540; for pixels Wu et al. (2016), arXiv:1605.06885",
        ),
        "bi-tempered": Foreign(
            "bi-tempered",
            "bi-tempered logistic loss, t1 = 0.8, t2 = 1.2",
            "Amid et al. (2019), arXiv:1906.03361",
        ),
        "boundary": Foreign(
            "boundary",
            "cross-entropy plus 0.01 times the boundary loss",
            "Kervadec et al. (2019), arXiv:1812.07032",
            masks=True,
        ),
    }
)


def contender(call: str) -> Node | Foreign:
    """Return the program of "NAME" or "NAME(parameter=number, ...)", or a loss that is none by its name.

    Raises:
        UsageError: for an unknown name or bad parameters, and where the library of a foreign loss is not installed.
    """
    if call not in FOREIGN:
        return program_of(call)
    found = FOREIGN[call]
    if found.library and find_spec(found.library) is None:
        raise UsageError(f"{call} needs {found.library}; install it with pip install 'lossml[{found.extra}]'")
    return found
