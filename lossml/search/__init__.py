"""The search: recipe, history, the loop, the pruner, confirmation and its statistics.

The room can be called: `lossml.search("digits", budget=24)` does what `lossml search` does.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossml.search.reading import RunRecord


class _Room(ModuleType):
    """A module that can be called, so that the room and the function share their one good name."""

    def __call__(self, dataset: str, *, name: str | None = None, **recipe: Any) -> "RunRecord":  # noqa: ANN401 - keys of a recipe
        """Search for a loss and confirm what was found.

        Args:
            dataset: a task's name: "digits", "cifar10", "image-folder:PATH", "module:attribute", ...
            name: of the run's folder in runs/.
            **recipe: keys of `lossml.search.recipe.Recipe`: budget, seed, label_noise, ...

        Returns:
            The run: trials, rejections and verdict.

        Raises:
            UsageError: for bad input, before anything is trained or written.
        """
        from lossml.search.runs import search  # noqa: PLC0415 - torch is imported when a search is

        return search({"dataset": dataset, **recipe}, name=name)


sys.modules[__name__].__class__ = _Room
