"""Filling a cohort: proposals, screened in batches, until enough are worth training."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lossml import zoo
from lossml.backend import Crowd, Rejection, Screened, descend, gradient_scale, sieve
from lossml.backend.load import read_program
from lossml.distill.halloffame import read_hall_of_fame
from lossml.errors import LossMLError, RecipeError
from lossml.evolve import EvolutionaryProposer, Parent, Proposal, Proposer, RandomProposer, Surrogate
from lossml.evolve.propose import key_of
from lossml.program import Node, operations
from lossml.program.grammar import Grammar, classification_grammar, segmentation_grammar
from lossml.search.elsewhere import there
from lossml.search.known import known_names
from lossml.search.recipe import Recipe

LARGEST = 1_000_000  # characters read of a file of seeds
ASKED = 96  # programs proposed in one call
DESCENDED, DESCENDED_EACH = 48, 1.5  # programs that descend side by side: at most, and for each that is wanted
UNEVEN = 1.5  # the largest class against the smallest, from which the prior is worth reading
KIN = 3  # variants of one loss that are trained: more would only fill the population with it
UNSCREENED = frozenset({Rejection.FLAT, Rejection.SIGN})  # let pass without the screens
ROUNDS = 60  # calls before the search says that it finds nothing new


class ExhaustedError(LossMLError):
    """Nothing new can be proposed."""


NOTHING_NEW = "no new program passed the screens in {} proposals; widen the grammar or lower the budget"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which tests a program must pass before it is trained; all in a search, fewer to measure what one is worth.

    What is not finite at ordinary logits is never trained.

    Attributes:
        screens: a gradient, its sign, a moment of training.
        different: no duplicate, and no further variant of a loss that was trained several times.
    """

    screens: bool = True
    different: bool = True


ALL_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A program worth training, its fingerprint's keys, and the factor on its gradient."""

    proposal: Proposal
    keys: tuple[str, ...]
    scale: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs of a cohort, and what was rejected on the way to them, by reason."""

    accepted: tuple[Accepted, ...]
    rejections: Mapping[str, int]


def is_uneven(recipe: Recipe, prior: Sequence[float] = ()) -> bool:
    """Say whether the class prior tells a loss anything: under a long tail, or where the task's own is uneven."""
    tails = (recipe.long_tail, *(there(recipe, text).long_tail for text in recipe.also_on))
    return max(tails) > 1.0 or (bool(prior) and max(prior) > UNEVEN * min(prior))


def make_grammar(recipe: Recipe, prior: Sequence[float], pixels: int = 1) -> Grammar:
    """Return what may be generated for a recipe and a task's class shares and pixels."""
    make = classification_grammar if pixels == 1 else segmentation_grammar
    return make(prior=is_uneven(recipe, prior), progress=recipe.schedules)


def seed_programs(recipe: Recipe, prior: Sequence[float] = (), pixels: int = 1) -> tuple[tuple[str, Node], ...]:
    """Return the named programs that a search begins with.

    A file that ends in .csv is a hall of fame of PySR: equations that are no loss of our language are left out.

    Args:
        recipe: of the search.
        prior: the task's class shares, where they are known.
        pixels: of a sample; with more than one the published losses for masks are named too.

    Raises:
        RecipeError: where the file cannot be read; a UsageError where a line is no loss.
    """
    if recipe.seeds == "none":
        return ()
    if recipe.seeds == "zoo":
        uneven = is_uneven(recipe, prior)
        found = ((name, zoo.program_of(name)) for name in known_names(pixels))
        return tuple((name, p) for name, p in found if uneven or "pi" not in operations(p))
    if recipe.seeds.lower().endswith(".csv"):
        found = read_hall_of_fame(recipe.seeds).entries
        return tuple((f"{Path(recipe.seeds).name}, complexity {e.complexity}", e.program) for e in found)
    return tuple((line, read_program(line)) for line in _lines(recipe.seeds))


def _lines(path: str) -> list[str]:
    try:
        with Path(path).expanduser().open(encoding="utf-8") as file:
            text = file.read(LARGEST)
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"seeds is {path!r}: cannot read it ({error}); give zoo, none or a file of losses") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def make_proposer(
    recipe: Recipe, prior: Sequence[float], pixels: int = 1, rules: Rules = ALL_RULES
) -> tuple[Proposer, Mapping[str, int]]:
    """Return the proposer that a recipe names, and the seeds that the screens reject, by reason.

    Seeds are screened here, once: a proposer would suggest a rejected one again for every cohort.

    Args:
        recipe: of the search.
        prior: share of each class in the task's training split.
        pixels: of a sample.
        rules: which tests there are.
    """
    grammar = make_grammar(recipe, prior, pixels)
    if recipe.proposer == "random":
        return RandomProposer(grammar), {}
    seeds = [Proposal(program, name) for name, program in seed_programs(recipe, prior, pixels)]
    usable, rejections = _usable(seeds, prior, pixels, rules)
    return EvolutionaryProposer(grammar, seeds=tuple((one.operator, one.program) for one in usable)), rejections


def make_surrogate(recipe: Recipe) -> Surrogate | None:
    """Return what chooses among proposals; None where a recipe's proposer takes them as they come."""
    return Surrogate() if recipe.proposer == "surrogate" else None


Scale = Callable[[Sequence[Node]], Tensor]
"""Gives programs the factors (K,) by which they train; see `gradient_scale`."""


def make_scale(prior: Sequence[float], pixels: int = 1) -> Scale:
    """Return what scales losses for a task's class shares and pixels."""
    return partial(gradient_scale, classes=len(prior), pixels=pixels, prior=prior)


def fill(  # noqa: PLR0913, PLR0917 - all that a search knows when it fills a cohort
    proposer: Proposer,
    rng: random.Random,
    history: Sequence[Parent],
    known: Iterable[str],
    crowd: Crowd,
    size: int,
    surrogate: Surrogate | None = None,
    scale: Scale | None = None,
    rules: Rules = ALL_RULES,
) -> Plan:
    """Find `size` programs worth training.

    Args:
        proposer: where programs come from.
        rng: where chance comes from.
        history: the trials so far.
        known: fingerprint keys of all trials so far.
        crowd: the losses of all trials so far, in order.
        size: how many are wanted.
        surrogate: puts proposals into an order; None for the proposer's own.
        scale: gives losses cross-entropy's gradient size on the task; None for that of even classes.
        rules: which tests there are.

    Raises:
        ExhaustedError: where nothing new is found at all.
    """
    cohort = _Cohort(crowd, set(known), size, scale, rules)
    seen, choosing = list(history), surrogate is not None and surrogate.ready(history)
    for _ in range(ROUNDS):
        proposals = proposer.propose(rng, seen, ASKED * surrogate.breadth if surrogate and choosing else ASKED)
        seen += [Parent("", -1, (), key_of(p.program)) for p in proposals]  # so that none comes twice
        offers = cohort.sieved(proposals)
        if surrogate and choosing:
            young = crowd.youngest(surrogate.memory).numpy()
            order = surrogate.order(rng.getrandbits(32), history, young, _places(offers))
            offers = sorted((offers[k] for k in order), key=lambda offer: not offer.proposal.is_seed)
        left = cohort.take(offers)
        if choosing:
            cohort.rejections[Rejection.UNPROMISING.name] += left
        if cohort.is_full or not proposals:
            break
    if not cohort.accepted:
        raise ExhaustedError(NOTHING_NEW.format(sum(cohort.rejections.values())))
    return Plan(tuple(cohort.accepted), dict(+cohort.rejections))


@dataclass(frozen=True, slots=True, eq=False)
class _Offer:
    """A proposal, what the screens say of it, and how many earlier trials are its kin."""

    proposal: Proposal
    screened: Screened
    kin: int


def _places(offers: Sequence[_Offer]) -> NDArray[np.float64]:
    return np.array([offer.screened.place.numpy() for offer in offers])


class _Cohort:
    """A cohort that is being filled: what was accepted, what was rejected, what is known; a leaf."""

    def __init__(self, crowd: Crowd, known: set[str], size: int, scale: Scale | None, rules: Rules) -> None:
        self._crowd, self._known, self._size, self._rules = crowd, known, size, rules
        self._joined = crowd.emptied()
        self._scale = scale or partial(gradient_scale, classes=crowd.probe.classes)
        self.accepted: list[Accepted] = []
        self.rejections: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        return len(self.accepted) == self._size

    def sieved(self, proposals: Sequence[Proposal]) -> list[_Offer]:
        """Return what passes the cheap screens, and count the rest."""
        if not proposals:
            return []
        programs = [proposal.program for proposal in proposals]
        screened = sieve(programs, self._crowd.probe, self._known if self._rules.different else None)
        kin = self._crowd.kin(torch.stack([one.place for one in screened]))
        offers = [_Offer(*row) for row in zip(proposals, screened, kin, strict=True)]
        return [offer for offer in offers if self._passes(offer)]

    def take(self, offers: Sequence[_Offer]) -> int:
        """Accept the first that descend until the cohort is full; return how many were not looked at."""
        looked = 0
        while looked < len(offers) and not self.is_full:
            wanted = ceil(DESCENDED_EACH * (self._size - len(self.accepted)))
            for offer, scale in self._descended(offers[looked : looked + min(DESCENDED, wanted)]):
                if self.is_full:
                    break
                self._judge(offer, scale)
                looked += 1
        return len(offers) - looked

    def _descended(self, offers: Sequence[_Offer]) -> list[tuple[_Offer, float]]:
        """Put offers through the dear screen; return them with their scales."""
        screened = [offer.screened for offer in offers]
        if self._rules.screens:
            screened = descend(screened, self._crowd.probe)
        scales = map(float, self._scale([offer.proposal.program for offer in offers]))
        after = [replace(offer, screened=one) for offer, one in zip(offers, screened, strict=True)]
        return list(zip(after, scales, strict=True))

    def _judge(self, offer: _Offer, scale: float) -> None:
        if not self._passes(offer):
            return
        usable = 0.0 < scale < float("inf")
        if self._rules.screens and not usable:
            self.rejections[Rejection.FLAT.name] += 1
            return
        found = offer.screened.fingerprint
        keys = found.keys if found else ()
        self._joined = self._joined.plus(offer.screened.place.unsqueeze(0))
        self._known.update(keys)
        self.accepted.append(Accepted(offer.proposal, keys, scale if usable else 1.0))

    def _passes(self, offer: _Offer) -> bool:
        reason = offer.screened.rejection
        if reason in UNSCREENED and not self._rules.screens:
            reason = None
        if reason is None and self._rules.different and self._kin(offer) >= KIN:
            reason = Rejection.CROWDED
        if reason is not None:
            self.rejections[reason.name] += 1
        return reason is None

    def _kin(self, offer: _Offer) -> int:
        """Count the trials, and what the cohort has accepted, that an offer is a variant of."""
        (joined,) = self._joined.kin(offer.screened.place.unsqueeze(0))
        return offer.kin + joined


def _usable(
    proposals: Sequence[Proposal], prior: Sequence[float], pixels: int, rules: Rules
) -> tuple[list[Proposal], Counter[str]]:
    """Screen proposals that nothing is known before; return those worth training and why the others are not."""
    cohort = _Cohort(Crowd.of([], len(prior), pixels), set(), len(proposals), make_scale(prior, pixels), rules)
    cohort.take(cohort.sieved(proposals))
    return [one.proposal for one in cohort.accepted], cohort.rejections
