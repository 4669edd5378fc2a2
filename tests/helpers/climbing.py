"""Taking a cohort from rung to rung without a pause, with a function in the place of training."""

from lossml.search.pruning import Climb
from lossml.search.records import RUNGS


def climbed(shadow, size, objective, measure, rungs=RUNGS):
    """Return the fates of a cohort whose members have at each rung what `measure` gives for their places."""
    climb = Climb(shadow, size, objective, rungs)
    while climb.living:
        climb.take(measure(climb.living, climb.place))
    return climb.fates
