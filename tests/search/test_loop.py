"""The loop: a cohort's last rung beside the next cohort's first, the same search however it is cut."""

import random
from itertools import pairwise
from time import monotonic

import pytest

from lossml.backend import stack
from lossml.evolve import EvolutionaryProposer
from lossml.proxy import Facts, Outcome, Score, TaskSpec, Trainer
from lossml.search.events import CohortFinished, Proposed, Proposing, RungStarted, silent
from lossml.search.loop import Search
from lossml.search.propose import make_proposer
from lossml.search.pruning import FEW
from lossml.search.recipe import PRUNERS, Recipe
from lossml.search.records import FULL, State

FACTS = Facts("made up", 10, (0.1,) * 10, 160, 8, (900, 360, 540), 2410)


class Memory:
    """A ledger in memory."""

    def __init__(self, found=()):
        self.found = list(found)

    def cohorts(self):
        return list(self.found)

    def record(self, cohort, trials):
        self.found.append((cohort, tuple(trials)))

    def trials(self):
        return [trial for _, trials in self.found for trial in trials]


class Drawn:
    """Gives scores that follow from seed and rung alone, or a failure; notes what it was asked, and when."""

    def __init__(self, log=None, failing=0.3):
        self.facts, self.log, self.failing = FACTS, [] if log is None else log, failing

    def begin(self, runs, states, start, stop):
        assert [state for state in states if state != start] == [None] * (len(states) if start == 0 else 0)
        self.log.append(("begun", stop, len(runs)))

        def wait():
            self.log.append(("waited", stop, len(runs)))
            return [self.outcome(run, stop) for run in runs]

        return wait

    def outcome(self, run, stop):
        rng = random.Random(f"{run.seed}/{stop}")
        if rng.random() < self.failing:
            return Outcome(None, None, f"failed on the way to {stop}")
        accuracy = rng.random()
        return Outcome(stop, Score(accuracy, accuracy, 1.0, 0.1, ()))


class Watching(EvolutionaryProposer):
    """Evolution that notes what it saw."""

    def propose(self, rng, history, count):
        if all(parent.number >= 0 for parent in history):  # others were proposed for this cohort already
            SEEN.append([(parent.number, parent.scores) for parent in history])
        return super().propose(rng, history, count)


SEEN = []


def made(recipe):
    """Make a proposer that notes in SEEN what it saw."""
    usual, _ = make_proposer(recipe, FACTS.prior)
    SEEN.clear()
    return Watching(usual.grammar, usual.seeds)


def recipe(**settings):
    return Recipe("made up", **{"budget": 80, "cohort": 16, "proposer": "evolve", "seeds": "none", **settings})


def last_rung(trials):
    """Return those that were trained to the last rung, or failed on the way."""
    return [trial for trial in trials if trial.state is not State.PRUNED and len(trial.metrics) >= 2]


def stands(trial, *, early=()):
    """Return what a proposal knows of a trial; of those in `early`, what they were worth before the last rung."""
    scores = trial.scores("accuracy")
    if trial in early:
        return trial.number, scores[:2]
    return trial.number, () if trial.state is State.FAILED else scores


def test_the_next_cohort_begins_before_the_last_rung_is_waited_for():
    """Workers have the first rung of the next cohort to do while one of them trains what is left of the last."""
    log = []
    Search(recipe(budget=32), Memory(), Drawn(log, failing=0), log.append, proposer=made(recipe())).run(float("inf"))
    short = [one if isinstance(one, tuple) else type(one) for one in log]
    last = next(one for one in short if isinstance(one, tuple) and one[:2] == ("begun", FULL) and one[2] <= 16 / FEW)
    place = short.index(last)
    assert short[place + 1 : place + 7] == [
        Proposing,
        Proposed,
        ("begun", 1, 16),
        RungStarted,
        ("waited", *last[1:]),
        CohortFinished,
    ]


def test_a_proposal_sees_of_the_last_rung_before_it_nothing_and_of_others_all():
    """What it knows follows from the ledger alone: neither who was ready first nor an interruption can change it."""
    held_back = []
    for seed in range(4):
        memory, what = Memory(), recipe(seed=seed, budget=64)
        Search(what, memory, Drawn(), silent, proposer=made(what)).run(float("inf"))
        trials = memory.trials()
        assert [len(one) for one in SEEN] == [0, 16, 32, 48]
        for count, known in zip((16, 32, 48), SEEN[1:], strict=True):
            on_last = last_rung(trials[count - 16 : count])
            early = on_last if len(on_last) <= 16 / FEW else []
            assert known == [stands(trial, early=early) for trial in trials[:count]]
            held_back.append({one.state for one in early})
    assert {State.COMPLETE, State.FAILED} <= set.union(*held_back)
    assert set() in held_back


@pytest.mark.parametrize("pruner", [name for name in PRUNERS if name != "wilcoxon"])
@pytest.mark.parametrize("seed", range(2))
def test_a_search_that_was_cut_anywhere_goes_the_same_way(pruner, seed):
    """After each cohort a search is taken up again from the ledger; trials and rejections are those of one go."""
    what = recipe(budget=48, pruner=pruner, seed=seed)
    whole, cut = Memory(), Memory()
    Search(what, whole, Drawn(), silent).run(float("inf"))
    for _ in range(3):
        again = Memory(cut.found)
        Search(what, again, Drawn(), silent).run(float("inf"))
        cut = Memory(again.found[: len(cut.found) + 1])
    assert [trials for _, trials in cut.found] == [trials for _, trials in whole.found]
    assert [one.rejections for one, _ in cut.found] == [one.rejections for one, _ in whole.found]


def test_training_ends_with_the_cohort_that_reaches_the_limit():
    """What is being trained counts as trained, so that a search with a limit ends at the same cohort when resumed."""
    whole = Memory()
    Search(recipe(), whole, Drawn(), silent).run(float("inf"))
    spent = [sum(t.trained((1, 4, 16)) for _, trials in whole.found[:k] for t in trials) for k in range(1, 6)]
    for (less, more), count in zip(pairwise(spent), range(2, 6), strict=False):
        for found in ([], whole.found[:1]):
            part = Memory(found)
            search = Search(recipe(), part, Drawn(), silent)
            search.run(float("inf"), less + 1)
            assert part.trials() == [trial for _, trials in whole.found[:count] for trial in trials]
            assert search.trained == more


def test_where_many_reach_the_last_rung_it_is_waited_for():
    """Without pruning the next proposal sees everything: the last rung fills the workers by itself."""
    memory = Memory()
    what = recipe(pruner="none")
    Search(what, memory, Drawn(failing=0), silent, proposer=made(what)).run(float("inf"))
    for known in SEEN:
        assert known == [stands(trial) for trial in memory.trials()[: len(known)]]


def test_seconds_of_proposing_and_waiting_add_up(clouds):
    """Real training: what cohorts are recorded to have taken is above 0, and together less than the search took."""
    memory, heard, began = Memory(), [], monotonic()
    with Trainer(TaskSpec(clouds), stack, workers=1, device="cpu") as trainer:
        Search(Recipe(clouds, budget=24, cohort=8), memory, trainer, heard.append).run(float("inf"))
    assert [len(trials) for _, trials in memory.found] == [8, 8, 8]
    seconds = [second for cohort, _ in memory.found for second in cohort.seconds]
    assert min(seconds) > 0
    assert sum(seconds) < monotonic() - began
    assert [event.done for event in heard if isinstance(event, CohortFinished)] == [8, 16, 24]
