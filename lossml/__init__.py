"""LossML discovers loss functions.

Names are looked up when they are first used, so that `import lossml` costs nothing and
`lossml --help` never waits for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossml.backend.module import ProgramLoss as ProgramLoss

_HOMES = {"ProgramLoss": "lossml.backend.module"}

__all__ = ["ProgramLoss", "__version__"]  # noqa: F822  __version__ is read on demand


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module holds anything
    if name == "__version__":
        return import_module("importlib.metadata").version("lossml")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lossml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
