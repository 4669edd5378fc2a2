"""What can go wrong, in sentences that name the value, the rule it breaks and what to do."""


class LossMLError(Exception):
    """A failure LossML can explain; the command line prints it and exits with 1."""


class UsageError(LossMLError, ValueError):
    """Something given was wrong: the command line prints it and exits with 2."""


class ProgramError(UsageError):
    """A loss program that cannot be read or whose types do not fit.

    Attributes:
        position: index of the offending character in the text, where there is a text.
    """

    def __init__(self, message: str, position: int | None = None) -> None:
        """Keep the sentence and, where known, the place in the text."""
        super().__init__(message)
        self.position = position


class RecipeError(UsageError):
    """A recipe or flag with an unknown key or a value outside its range."""


class DataError(UsageError):
    """A data set that is missing, truncated or laid out in another way than expected."""


class RunError(UsageError):
    """A run folder that is missing, was made by another recipe, or holds nothing to use."""
