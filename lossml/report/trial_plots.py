"""The curves of one trial's loss as drawings that stand alone."""

from collections.abc import Mapping

from lossml.backend.load import Named
from lossml.card import value_curves
from lossml.program import parse
from lossml.report.card_page import curve_charts
from lossml.report.markup import image
from lossml.search.records import Trial


def trial_plots(trial: Trial, classes: int) -> Mapping[str, str]:
    """Draw value and gradient of a trial's loss as SVG documents, by name.

    Args:
        trial: whose loss is drawn.
        classes: number of classes.
    """
    loss = Named(parse(trial.program), trial.scale)
    found = value_curves(loss, classes=classes)
    if found is None:
        return {}
    charts = curve_charts(trial.program, found)
    return {name: image(drawing) for name, drawing in zip(("value", "gradient"), charts, strict=True)}
