"""What is known of a loss: formula, parameters, source."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lossml.errors import UsageError
from lossml.program import Node, fold_constants, parse

Kind = Literal["classification", "multi-label", "segmentation"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number in a loss.

    Attributes:
        default: the published value.
        low: least value.
        high: greatest value.
        whole: whether it must be a whole number.
    """

    default: float
    low: float = 0.0
    high: float = math.inf
    whole: bool = False

    def checked(self, name: str, value: float) -> float:
        """Return the value, or refuse it with the rule it breaks."""
        if not (math.isfinite(value) and self.low <= value <= self.high):
            raise UsageError(f"{name} is {value:g}; it must lie in [{self.low:g}, {self.high:g}]")
        if self.whole and not value.is_integer():
            raise UsageError(f"{name} is {value:g}; it must be a whole number")
        return value


@dataclass(frozen=True, slots=True)
class Entry:
    """A loss of the zoo.

    Attributes:
        name: as `lossml.load` takes it.
        title: as its authors call it.
        kind: what targets it is for.
        source: authors, year, where.
        meaning: one line for people.
        template: the program's text with {parameter} where a number goes, or a function of the numbers.
        parameters: by name.
    """

    name: str
    title: str
    kind: Kind
    source: str
    meaning: str
    template: str | Callable[[Mapping[str, float]], str]
    parameters: Mapping[str, Parameter] = field(default_factory=dict[str, Parameter])

    def text(self, **values: float) -> str:
        """Write the program with the given parameters, published values for the others.

        Raises:
            UsageError: for an unknown parameter or a value outside its range.
        """
        for name in values:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise UsageError(f"{self.name} has no parameter {name!r}; it has {known}")
        numbers = {
            name: parameter.checked(f"{self.name}: {name}", float(values.get(name, parameter.default)))
            for name, parameter in self.parameters.items()
        }
        if callable(self.template):
            return self.template(numbers)
        return self.template.format(**{name: repr(value) for name, value in numbers.items()})

    def program(self, **values: float) -> Node:
        """Build the program; see `text`."""
        return fold_constants(parse(self.text(**values)))
