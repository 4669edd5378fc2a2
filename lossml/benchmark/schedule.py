"""Learning rates by step: warm-up, then cosine, steps, or steps where the training loss stands still."""

import math
from dataclasses import dataclass, replace

from lossml.benchmark.recipe import Training

FIRST = 0.01  # share of the peak that a warm-up begins with
GAIN = 1e-4  # relative fall of the training loss that counts as one, torch's own threshold


@dataclass(frozen=True, slots=True)
class Plateau:
    """What a plateau rule has seen: the least training loss, epochs since, and the share it has come down to."""

    least: float = math.inf
    waited: int = 0
    share: float = 1.0


def after_epoch(seen: Plateau, loss: float, recipe: Training) -> Plateau:
    """Take an epoch's mean training loss in; losses may be negative, so a gain is measured by their size."""
    if loss < seen.least - GAIN * abs(seen.least if math.isfinite(seen.least) else 0.0):
        return replace(seen, least=loss, waited=0)
    if seen.waited + 1 <= recipe.step_epochs:
        return replace(seen, waited=seen.waited + 1)
    return replace(seen, waited=0, share=max(recipe.lowest_rate, seen.share * recipe.step_factor))


def rate(recipe: Training, epoch: float, seen: Plateau) -> float:
    """Return the share of the peak learning rate after `epoch` epochs, whole or not."""
    done, rising = epoch / recipe.epochs, recipe.warmup
    if done < rising:
        return FIRST + (1.0 - FIRST) * done / rising
    if recipe.schedule == "plateau":
        return seen.share
    if recipe.schedule == "step":
        return max(recipe.lowest_rate, recipe.step_factor ** int(epoch // recipe.step_epochs))
    if recipe.schedule == "cosine":
        falling = 0.5 * (1.0 + math.cos(math.pi * (done - rising) / (1.0 - rising)))
        return recipe.lowest_rate + (1.0 - recipe.lowest_rate) * falling
    return 1.0
