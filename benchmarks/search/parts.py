"""Parts of a proposer that were tried and are not in the product, each as its own proposer; tried.py measures them.

Each is the product's evolutionary proposer with one thing changed, on the same screens, surrogate and pruner.
"""

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import optuna
from methods import Memory
from optuna.distributions import BaseDistribution, FloatDistribution

from lossml.errors import ProgramError
from lossml.evolve import EvolutionaryProposer, Parent, Proposal, vary
from lossml.evolve.evolutionary import better, depth_then_score
from lossml.evolve.propose import SEED
from lossml.evolve.surrogate import merits
from lossml.program import Node, constant, nodes
from lossml.program.tree import CONST, fold, rebuild, with_args
from lossml.search.records import Trial

BEST = 5  # structures whose constants are tuned


@dataclass(frozen=True, slots=True)
class Frugal(EvolutionaryProposer):
    """Adaptive parsimony: scores of programs of a complexity that is common among parents count less (PySR).

    Attributes:
        parsimony: points of score per share of the parents that have as many nodes.
    """

    parsimony: float = 0.1

    def _pool(self, history: Sequence[Parent]) -> list[Parent]:
        pool = super(Frugal, self)._pool(history)
        common = Counter(parent.program.size for parent in pool)
        loss = {size: self.parsimony * count / len(pool) for size, count in common.items()}
        return [replace(p, scores=tuple(s - loss[p.program.size] for s in p.scores)) for p in pool]


@dataclass(frozen=True, slots=True)
class Parted(EvolutionaryProposer, ABC):
    """Parents are drawn from a part of the population, each time another.

    Attributes:
        memory: the search's ledger, which knows where trials come from.
        homes: the part of each trial, by number.
    """

    memory: Memory = field(default_factory=Memory)
    homes: Mapping[int, int] = field(default_factory=dict)

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        settled = replace(self, homes=self._homes(self.memory.trials()))
        return EvolutionaryProposer.propose(settled, rng, history, count)

    @abstractmethod
    def _homes(self, trials: Sequence[Trial]) -> dict[int, int]:
        """Give the part of each trial, by number."""

    @abstractmethod
    def _part(self, rng: random.Random, pool: Sequence[Parent]) -> list[Parent]:
        """Choose a part and give its parents."""

    def _child(self, rng: random.Random, pool: Sequence[Parent]) -> Proposal | None:
        part = self._part(rng, pool)
        return super(Parted, self)._child(rng, part if len(part) > 1 else pool)


@dataclass(frozen=True, slots=True)
class Islands(Parted):
    """Populations apart: a child lives where its mother does, and one pair of parents in ten is of all islands.

    Attributes:
        islands: how many there are.
        migration: share of children whose parents may live anywhere.
    """

    islands: int = 4
    migration: float = 0.1

    def _homes(self, trials: Sequence[Trial]) -> dict[int, int]:
        homes: dict[int, int] = {}
        for trial in trials:
            mother = trial.parents[0] if trial.parents else -1
            homes[trial.number] = homes.get(mother, trial.number % self.islands)
        return homes

    def _part(self, rng: random.Random, pool: Sequence[Parent]) -> list[Parent]:
        island = rng.randrange(self.islands)
        if rng.random() < self.migration:
            return list(pool)
        return [parent for parent in pool if self.homes.get(parent.number) == island]


@dataclass(frozen=True, slots=True)
class AgeLayers(Parted):
    """Parents of like age, counted from their oldest root, after the age-layered population of Hornby (2006).

    Attributes:
        limits: trials since the oldest ancestor at which a layer ends; the last layer has no end.
    """

    limits: tuple[int, ...] = (24, 48, 96)

    def _homes(self, trials: Sequence[Trial]) -> dict[int, int]:
        born: dict[int, int] = {}
        for trial in trials:
            born[trial.number] = min((born.get(k, k) for k in trial.parents), default=trial.number)
        now = len(trials)
        return {number: sum(now - root > limit for limit in self.limits) for number, root in born.items()}

    def _part(self, rng: random.Random, pool: Sequence[Parent]) -> list[Parent]:
        layer = rng.choice(sorted({self.homes.get(parent.number, 0) for parent in pool}))
        return [parent for parent in pool if self.homes.get(parent.number, 0) in {layer, layer - 1}]


@dataclass(frozen=True, slots=True)
class Crediting(EvolutionaryProposer):
    """Operator rates that adapt: by the share of an operator's children that did better than their mother.

    Probability matching (Thierens 2005), with each operator's first rate as what is expected of it.

    Attributes:
        memory: the search's ledger, which knows where trials come from.
        doubt: children by which an operator is taken to have succeeded as often as all do.
        rates: of the mutations, in order, and of crossover.
    """

    memory: Memory = field(default_factory=Memory)
    doubt: float = 8.0
    rates: tuple[float, ...] = ()

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        return EvolutionaryProposer.propose(replace(self, rates=self._rates(history)), rng, history, count)

    def _rates(self, history: Sequence[Parent]) -> tuple[float, ...]:
        known = {parent.number: parent for parent in history}
        born = [(t.operator, known[t.number], known[t.parents[0]]) for t in self.memory.trials() if t.parents]
        bred = [(operator, better(child, mother, self.tie)) for operator, child, mother in born]
        usual = (1 + sum(won for _, won in bred)) / (4 + len(bred))

        def rate(name: str) -> float:
            won = [success for operator, success in bred if operator == name]
            return (sum(won) + self.doubt * usual) / (len(won) + self.doubt) / usual

        mutation = sum(weight for _, _, weight in vary.MUTATIONS)
        shares = [(name, (1 - self.crossovers) * weight / mutation) for name, _, weight in vary.MUTATIONS]
        return tuple(share * rate(name) for name, share in [*shares, ("crossover", self.crossovers)])

    def _child(self, rng: random.Random, pool: Sequence[Parent]) -> Proposal | None:
        mother = self._select(rng, pool)
        (place,) = rng.choices(range(len(self.rates)), self.rates)
        if place == len(vary.MUTATIONS):
            father = self._select(rng, pool)
            child = vary.crossover(rng, self.grammar, mother.program, father.program)
            return child and Proposal(child, "crossover", (mother.number, father.number))
        name, mutation, _ = vary.MUTATIONS[place]
        child = mutation(rng, self.grammar, mother.program)
        return child and Proposal(child, name, (mother.number,))


@lru_cache(maxsize=8192)
def constants(program: Node) -> tuple[Node, ...]:
    """Give those of a program's constants, each once, that may be a tenth larger and smaller: not the 1 of 1 - p."""
    found = dict.fromkeys(node for _, node in nodes(program) if node.op == CONST and node.value)
    return tuple(one for one in found if all(_fits(program, one, one.value * by) for by in (0.9, 1.1)))


def _fits(program: Node, one: Node, value: float) -> bool:
    try:
        _put(program, {one: value})
    except ProgramError:
        return False
    return True


def _put(program: Node, new: Mapping[Node, float]) -> Node:
    def visit(node: Node, args: tuple[Node, ...]) -> Node:
        return constant(float(f"{new[node]:.3g}")) if node in new else with_args(node, args)

    return rebuild(program, visit)


def with_constants(program: Node, values: Sequence[float]) -> Node:
    """Put values in the place of a program's constants, equal ones alike; a ProgramError where one does not fit."""
    return _put(program, dict(zip(constants(program), values, strict=True)))


@lru_cache(maxsize=8192)
def shape(program: Node) -> str:
    """Give what a program is but for the values of its constants."""
    places = {one: f"c{k}" for k, one in enumerate(constants(program))}

    def visit(node: Node, args: tuple[str, ...]) -> str:
        return places.get(node) or f"{node.op}{node.value or ''}({','.join(args)})"

    return fold(program, visit)


@dataclass(frozen=True, slots=True)
class Tuned(EvolutionaryProposer):
    """A share of the children are the best structures with other constants.

    Attributes:
        tuned: that share.
    """

    tuned: float = 0.25

    def _best(self, history: Sequence[Parent]) -> list[Parent]:
        """Give the best of each structure with constants, best first."""
        living = sorted((p for p in history if p.scores and constants(p.program)), key=depth_then_score)
        first: dict[str, Parent] = {}
        for parent in living:
            first.setdefault(shape(parent.program), parent)
        return list(first.values())[:BEST]


@dataclass(frozen=True, slots=True)
class Local(Tuned):
    """Local search that the surrogate judges: constants near and far are offered, and it takes what looks best."""

    spreads: tuple[float, ...] = (0.05, 0.2, 0.5, 1.0)

    def _child(self, rng: random.Random, pool: Sequence[Parent]) -> Proposal | None:
        best = self._best(pool)
        if not best or rng.random() >= self.tuned:
            return super(Local, self)._child(rng, pool)
        parent, spread = rng.choice(best), rng.choice(self.spreads)
        values = [one.value * rng.lognormvariate(0.0, spread) for one in constants(parent.program)]
        return _offered(self, parent, values, "local")


def _offered(proposer: EvolutionaryProposer, parent: Parent, values: Sequence[float], name: str) -> Proposal | None:
    try:
        child = with_constants(parent.program, values)
    except ProgramError:
        return None
    return Proposal(child, name, (parent.number,)) if proposer.grammar.allows(child) else None


@dataclass(frozen=True, slots=True)
class Sampled(Tuned):
    """Optuna's tree-structured Parzen estimator on the constants of the best structures.

    Its trials are those of the structure that the search has trained, its value is their rank among all.

    Attributes:
        reach: by how many times a constant may differ from the best one's.
        told: the history.
    """

    reach: float = 4.0
    told: tuple[Parent, ...] = ()

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        return EvolutionaryProposer.propose(replace(self, told=tuple(history)), rng, history, count)

    def _child(self, rng: random.Random, pool: Sequence[Parent]) -> Proposal | None:
        best = self._best(pool)
        if not best or rng.random() >= self.tuned:
            return super(Sampled, self)._child(rng, pool)
        parent = rng.choice(best)
        return _offered(self, parent, self._asked(rng, parent), "sampled")

    def _asked(self, rng: random.Random, parent: Parent) -> list[float]:
        first = [one.value for one in constants(parent.program)]
        space: dict[str, BaseDistribution] = {
            str(k): FloatDistribution(1 / self.reach, self.reach, log=True) for k in range(len(first))
        }
        sampler = optuna.samplers.TPESampler(n_startup_trials=2, multivariate=True, seed=rng.getrandbits(32))
        study = optuna.create_study(sampler=sampler, direction="maximize")
        known = {p.number: merit for p, merit in zip(self.told, merits(self.told), strict=True) if p.number >= 0}
        for p in self.told:
            if p.number in known and shape(p.program) == shape(parent.program):
                self._tell(study, space, first, p, float(known[p.number]))
        factors = study.ask(space).params
        return [value * factors[str(k)] for k, value in enumerate(first)]

    def _tell(self, study: optuna.Study, space: dict, first: Sequence[float], parent: Parent, merit: float) -> None:
        ratios = [one.value / value for one, value in zip(constants(parent.program), first, strict=True)]
        if all(1 / self.reach <= ratio <= self.reach for ratio in ratios):
            parameters = {str(k): ratio for k, ratio in enumerate(ratios)}
            study.add_trial(optuna.trial.create_trial(params=parameters, distributions=space, value=merit))


Tune = Callable[[Node, int], list[float]]


@dataclass(frozen=True, slots=True)
class Unrolled(Tuned):
    """Constants of the best structures by the gradient of the validation error through some unrolled steps.

    Attributes:
        tune: gives a program's constants anew, from a seed.
        tried: structures of a cohort that are tuned; they are trained before anything else.
    """

    tune: Tune = lambda program, _: [one.value for one in constants(program)]
    tried: int = 2

    def propose(self, rng: random.Random, history: Sequence[Parent], count: int) -> list[Proposal]:
        plain = EvolutionaryProposer.propose(self, rng, history, count)
        if len(history) < self.start or any(parent.number < 0 for parent in history):
            return plain  # the cohort's first call alone
        met = {parent.program for parent in history}
        best = self._best(history)[: self.tried]
        tuned = [_offered(self, one, self.tune(one.program, one.number), SEED + "unrolled") for one in best]
        return [*(one for one in tuned if one is not None and one.program not in met), *plain][:count]
