"""Memory: of a told trial a search keeps what later cohorts ask for, and no more."""

import gc
import tracemalloc
from types import SimpleNamespace

import pytest

from lossml.proxy import Facts
from lossml.search.events import silent
from lossml.search.journal import Journal, read_study
from lossml.search.loop import Search
from lossml.search.recipe import Recipe
from lossml.search.recorded import STUDY, read_cohorts
from lossml.search.records import Cohort, Metrics, State, Trial

PROGRAM = "-sum_C(y*logp)" + " - 0.1*sum_C(y*(logp + 0.01*p)^2)" * 4
RUNGS = tuple(Metrics(0.5, 0.5, 1.0 / 3.0, 0.1) for _ in range(3))
FACTS = Facts("digits", 10, (0.1,) * 10, 160, 8, (900, 360, 540), 2410)


def cohort(number, reason="", size=16):
    """Make a cohort of trials: one program, so that what is remembered of programs in general does not grow."""
    numbers = range(number * size, (number + 1) * size)
    trials = (Trial(k, PROGRAM, "insert", (), 1.0, (f"{k:023}",), State.COMPLETE, RUNGS, reason) for k in numbers)
    return Cohort(numbers.start, size, {}, (0.1, 0.2)), tuple(trials)


def searched(count):
    """Replay so many cohorts."""
    ledger = SimpleNamespace(cohorts=lambda: map(cohort, range(count)))
    return Search(Recipe("digits"), ledger, SimpleNamespace(facts=FACTS), silent)


@pytest.fixture
def held():
    """Give what counts the bytes of Python objects, without tensors and what is made once in a process."""
    searched(1)
    tracemalloc.start()

    def count():
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    yield count
    tracemalloc.stop()


def test_a_search_holds_no_trees_and_no_metrics_of_what_it_told(held):
    """Scores, text and keys of a trial and Optuna's own record are some 2 KiB; its tree alone would be twice that."""
    before, sizes = held(), []
    for count in (10, 40):
        search = searched(count)
        sizes.append(held() - before)
        assert search.trained == 16 * 16 * count
        del search
    assert (sizes[1] - sizes[0]) / (30 * 16) < 3000


def test_a_journal_keeps_in_its_file_what_a_trial_says(held, tmp_path):
    """What is long in a cohort and its trials is not in memory, before and after the journal is opened anew."""
    path, kilobytes = tmp_path / "journal.log", 100
    journal, before = Journal(path, "accuracy"), held()
    told = [cohort(k, "x" * 1000 * kilobytes, size=2) for k in range(4)]
    for one in told:
        journal.record(*one)
    del one, told
    assert held() - before < 1000 * kilobytes
    again = Journal(path, "accuracy")
    assert held() - before < 1000 * kilobytes
    assert again.cohorts() == read_cohorts(path) == [cohort(k, "x" * 1000 * kilobytes, size=2) for k in range(4)]
    assert read_study(path, STUDY).trials[7].user_attrs["reason"] == "x" * 1000 * kilobytes
