"""Filling a cohort: proposals, screened in batches, until enough are worth training."""

import random
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossml import zoo
from lossml.backend import Crowd, Fingerprint, Rejection, Screened, gradient_scale, make_probe, screen
from lossml.backend.load import read_program
from lossml.distill.halloffame import read_hall_of_fame
from lossml.errors import LossMLError, RecipeError
from lossml.evolve import EvolutionaryProposer, Parent, Proposal, Proposer, RandomProposer
from lossml.program import Node, operations
from lossml.program.grammar import Grammar, classification_grammar
from lossml.search.recipe import Recipe

LARGEST = 1_000_000  # characters read of a file of seeds
ASKED = 96  # programs screened in one call
UNEVEN = 1.5  # the largest class against the smallest, from which the prior is worth reading
KIN = 3  # variants of one loss that are trained: more would only fill the population with it
ROUNDS = 60  # calls before the search says that it finds nothing new


class ExhaustedError(LossMLError):
    """Nothing new can be proposed."""


NOTHING_NEW = "no new program passed the screens in {} proposals; widen the grammar or lower the budget"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A program worth training."""

    proposal: Proposal
    fingerprint: Fingerprint
    scale: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The programs of a cohort, and what was rejected on the way to them, by reason."""

    accepted: tuple[Accepted, ...]
    rejections: Mapping[str, int]


def is_uneven(recipe: Recipe, prior: Sequence[float] = ()) -> bool:
    """Say whether the class prior tells a loss anything: under a long tail, or where the task's own is uneven."""
    return recipe.long_tail > 1.0 or (bool(prior) and max(prior) > UNEVEN * min(prior))


def make_grammar(recipe: Recipe, prior: Sequence[float]) -> Grammar:
    """Return what may be generated for a recipe and a task's class shares."""
    return classification_grammar(prior=is_uneven(recipe, prior), progress=recipe.schedules)


def seed_programs(recipe: Recipe, prior: Sequence[float] = ()) -> tuple[tuple[str, Node], ...]:
    """Return the named programs that a search begins with.

    A file that ends in .csv is a hall of fame of PySR: equations that are no loss of our language are left out.

    Args:
        recipe: of the search.
        prior: the task's class shares, where they are known.

    Raises:
        RecipeError: where the file cannot be read; a UsageError where a line is no loss.
    """
    if recipe.seeds == "none":
        return ()
    if recipe.seeds == "zoo":
        uneven = is_uneven(recipe, prior)
        found = ((name, zoo.program_of(name)) for name, e in zoo.ENTRIES.items() if e.kind == "classification")
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


def make_proposer(recipe: Recipe, prior: Sequence[float]) -> tuple[Proposer, Mapping[str, int]]:
    """Return the proposer that a recipe names, and the seeds that the screens reject, by reason.

    Seeds are screened here, once: a proposer would suggest a rejected one again for every cohort.

    Args:
        recipe: of the search.
        prior: share of each class in the task's training split.
    """
    grammar = make_grammar(recipe, prior)
    if recipe.proposer == "random":
        return RandomProposer(grammar), {}
    seeds = [Proposal(program, name) for name, program in seed_programs(recipe, prior)]
    judged = _sift(seeds, (), len(prior))
    usable = tuple((one.proposal.operator, one.proposal.program) for one in judged if isinstance(one, Accepted))
    rejections = Counter(one.name for one in judged if isinstance(one, Rejection))
    return EvolutionaryProposer(grammar, seeds=usable), rejections


def fill(
    proposer: Proposer, rng: random.Random, history: Sequence[Parent], known: Iterable[str], crowd: Crowd, size: int
) -> Plan:
    """Find `size` programs worth training.

    Args:
        proposer: where programs come from.
        rng: where chance comes from.
        history: the trials so far.
        known: fingerprint keys of all trials so far.
        crowd: the losses of all trials so far.
        size: how many are wanted.

    Raises:
        ExhaustedError: where nothing new is found at all.
    """
    met, seen = set(known), list(history)
    accepted: list[Accepted] = []
    rejections: Counter[str] = Counter()
    for _ in range(ROUNDS):
        proposals = proposer.propose(rng, seen, ASKED)
        seen += [Parent(p.program, -1, ()) for p in proposals]  # so that none comes twice
        for one in _sift(proposals, met, crowd.probe.classes):
            if len(accepted) == size:
                break
            if isinstance(one, Rejection):
                rejections[one.name] += 1
            elif crowd.kin([one.proposal.program]) >= [KIN]:
                rejections[Rejection.CROWDED.name] += 1
            else:
                crowd = crowd.plus([one.proposal.program])
                met.update(one.fingerprint.keys)
                accepted.append(one)
        if len(accepted) == size or not proposals:
            break
    if not accepted:
        raise ExhaustedError(NOTHING_NEW.format(sum(rejections.values())))
    return Plan(tuple(accepted), dict(rejections))


def _sift(proposals: Sequence[Proposal], known: Container[str], classes: int) -> list[Accepted | Rejection]:
    """Screen proposals; each is worth training, or has the reason why not."""
    screened = screen([p.program for p in proposals], make_probe(classes), known)
    scales = [float(x) for x in gradient_scale([p.program for p in proposals], classes)] if proposals else []
    return [_sifted(*row) for row in zip(proposals, screened, scales, strict=True)]


def _sifted(proposal: Proposal, result: Screened, scale: float) -> Accepted | Rejection:
    if result.rejection is not None:
        return result.rejection
    if result.fingerprint is None or not 0.0 < scale < float("inf"):
        return Rejection.FLAT
    return Accepted(proposal, result.fingerprint, scale)
