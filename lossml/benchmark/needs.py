"""What full training needs beyond LossML's own requirements."""

from importlib.util import find_spec

from lossml.errors import UsageError

LIBRARIES = {"lightning_fabric": "lightning-fabric", "torchmetrics": "torchmetrics"}


def check_installed() -> None:
    """Refuse to begin where a library of the extra is missing; a UsageError says how to get it."""
    missing = [name for module, name in LIBRARIES.items() if find_spec(module) is None]
    if missing:
        raise UsageError(
            f"full training needs {' and '.join(missing)}; install with pip install 'lossml[benchmark]'. "
            "The proxy tasks of a search need nothing more: lossml benchmark digits, or --proxy"
        )
