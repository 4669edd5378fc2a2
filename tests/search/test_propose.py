"""Filling a cohort: only new, usable losses, each rejection counted, the same for the same seed."""

import random

import pytest

from lossml import zoo
from lossml.backend import Crowd, Rejection, make_probe, screen, stack
from lossml.errors import LossMLError, RecipeError, UsageError
from lossml.evolve import EvolutionaryProposer, Parent, Proposal, RandomProposer, Surrogate
from lossml.program import parse, show
from lossml.program.grammar import classification_grammar
from lossml.proxy import TaskSpec, Trainer
from lossml.search.events import silent
from lossml.search.journal import Journal
from lossml.search.loop import Search
from lossml.search.propose import (
    KIN,
    ExhaustedError,
    Rules,
    fill,
    make_grammar,
    make_proposer,
    make_surrogate,
    seed_programs,
)
from lossml.search.recipe import Recipe

GRAMMAR = classification_grammar()
EMPTY = Crowd.of([], 10)
EVEN = (0.11, 0.09) * 5
UNEVEN = (0.16, 0.04) * 5


class Fixed:
    """A proposer with a list of its own."""

    def __init__(self, *texts):
        self.rest = [Proposal(parse(text), "fixed") for text in texts]

    def propose(self, rng, history, count):
        now, self.rest = self.rest[:count], self.rest[count:]
        return now


def texts(plan):
    return [show(one.proposal.program) for one in plan.accepted]


def test_what_is_accepted_is_new_usable_and_counted():
    """Every program of a cohort passes the screens, no two are one loss, and known losses stay out."""
    ce = parse("-sum_C(y*logp)")
    (known,) = screen([ce], make_probe(10))
    plan = fill(RandomProposer(GRAMMAR), random.Random(1), [], known.fingerprint.keys, EMPTY, 12)
    assert len(plan.accepted) == 12
    again = screen([one.proposal.program for one in plan.accepted], make_probe(10), known.fingerprint.keys)
    assert [one.rejection for one in again] == [None] * 12
    assert set(plan.rejections) <= {reason.name for reason in Rejection}
    assert sum(plan.rejections.values()) > 0
    assert all(0.0 < one.scale < float("inf") for one in plan.accepted)


def test_the_same_seed_fills_the_same_cohort():
    """A cohort is a pure function of the random state and the history."""
    history = [
        Parent.of(zoo.program_of(name), k, (0.8 + k / 100,)) for k, name in enumerate(["ce", "focal", "gce"] * 10)
    ]
    proposer = EvolutionaryProposer(GRAMMAR)
    one, two = (fill(proposer, random.Random("7/16"), history, [], EMPTY, 8) for _ in range(2))
    other = fill(proposer, random.Random("8/16"), history, [], EMPTY, 8)
    assert one == two
    assert texts(one) != texts(other)


def test_each_rejection_is_counted_by_its_reason():
    """One program for each screen, one good one, one that is the same loss again up to scale."""
    proposer = Fixed(
        "y*0 + p*0", "sum_C(y*logp)", "-sum_C(y*logp)", "-3*sum_C(y*logp) + 7", "log(1 + exp(exp(9*z))) - 0*y"
    )
    plan = fill(proposer, random.Random(0), [], [], EMPTY, 5)
    assert texts(plan) == ["-sum_C(y*logp)"]
    assert plan.rejections["FLAT"] == 1
    assert plan.rejections["SIGN"] == 1
    assert plan.rejections["DUPLICATE"] == 1
    assert plan.rejections["NOT_FINITE"] == 1


def test_an_exhausted_proposer_gives_a_smaller_cohort_and_then_an_error():
    """A search that finds nothing new says so, and does not wait for ever."""
    assert len(fill(Fixed("-sum_C(y*logp)", "sum_C(y*(1 - p))"), random.Random(0), [], [], EMPTY, 8).accepted) == 2
    with pytest.raises(LossMLError, match="no new program"):
        fill(Fixed("sum_C(y*logp)"), random.Random(0), [], [], EMPTY, 8)


def test_a_full_cohort_rejects_nothing_that_passed_the_screens():
    """What a full cohort has no room for is not counted as rejected; what the cheap screens refused is."""
    plan = fill(Fixed("-sum_C(y*logp)", "sum_C(y*logp)", "sum_C(y*(1 - p))"), random.Random(0), [], [], EMPTY, 1)
    assert texts(plan) == ["-sum_C(y*logp)"]
    assert plan.rejections == {"SIGN": 1}


def surrogate_case():
    """Trials of which those like cross-entropy did badly and those like MAE well."""
    past = [f"-y*logp + {k}*p^2" for k in (0.2, 1, 2, 4, 8, 16)] + [f"y*(1 - p^{k})" for k in (0.3, 0.6, 1, 1.5, 2, 3)]
    programs = [parse(text) for text in past]
    history = [Parent.of(program, k, (k // 6 * 0.5,)) for k, program in enumerate(programs)]
    return history, EMPTY.plus(EMPTY.places(programs))


def test_a_surrogate_trains_the_promising_and_counts_the_others():
    """Of two proposals that the screens let pass, the one like earlier good trials is trained."""
    history, crowd = surrogate_case()
    proposer = Fixed("-y*logp + 3*p^2", "y*(1 - p^0.8)")
    plain = fill(proposer, random.Random(0), history, [], crowd, 1)
    assert texts(plain) == ["-y*logp + 3*p^2"]
    proposer = Fixed("-y*logp + 3*p^2", "y*(1 - p^0.8)")
    chosen = fill(proposer, random.Random(0), history, [], crowd, 1, Surrogate(start=12))
    assert texts(chosen) == ["y*(1 - p^0.8)"]
    assert chosen.rejections == {"UNPROMISING": 1}


def test_a_surrogate_never_passes_over_what_was_given():
    """Seeds are trained whatever the surrogate thinks of them; and until it has seen enough it does not choose."""
    history, crowd = surrogate_case()
    seeds = (("mine", parse("-y*logp + 3*p^2")),) * 13
    proposer = EvolutionaryProposer(GRAMMAR, seeds=seeds)
    plan = fill(proposer, random.Random(0), history, [], crowd, 1, Surrogate(start=12))
    assert [one.proposal.operator for one in plan.accepted] == ["seed:mine"]
    early = fill(proposer, random.Random(0), history, [], crowd, 1, Surrogate(start=13))
    assert "UNPROMISING" not in early.rejections


def test_a_search_with_a_surrogate_fills_the_same_cohort_again():
    """Also with a forest in it a cohort is a pure function of the random state and the history."""
    history, crowd = surrogate_case()
    one, two = (
        fill(EvolutionaryProposer(GRAMMAR), random.Random("7/16"), history, [], crowd, 6, Surrogate(start=12))
        for _ in range(2)
    )
    assert one == two


@pytest.mark.parametrize(("name", "chooses"), [("surrogate", True), ("evolve", False), ("random", False)])
def test_the_recipe_says_whether_there_is_a_surrogate(name, chooses):
    """The proposers without one are its controls."""
    assert (make_surrogate(Recipe("digits", proposer=name)) is not None) == chooses


def test_zoo_seeds_are_classification_losses_and_read_the_prior_under_a_long_tail_alone():
    """Segmentation losses are no seeds; where classes are balanced the prior says nothing."""
    plain = dict(seed_programs(Recipe("digits")))
    tailed = dict(seed_programs(Recipe("digits", long_tail=10.0)))
    assert "ce" in plain
    assert "dice" not in plain
    assert set(tailed) - set(plain) == {"logit-adjustment", "balanced-ce", "ldam"}
    assert dict(seed_programs(Recipe("digits"), UNEVEN)) == tailed
    assert dict(seed_programs(Recipe("digits"), EVEN)) == plain
    assert seed_programs(Recipe("digits", seeds="none")) == ()


def test_a_file_of_seeds_is_read_line_by_line(tmp_path):
    """Expressions and zoo names, blank lines and comments."""
    file = tmp_path / "seeds.txt"
    file.write_text("# mine\n\n-sum_C(y*logp)\nfocal(gamma=1.5)\n")
    found = seed_programs(Recipe("digits", seeds=str(file)))
    assert [program for _, program in found] == [parse("-sum_C(y*logp)"), zoo.program_of("focal(gamma=1.5)")]


def test_a_file_of_seeds_that_cannot_be_used_is_refused(tmp_path):
    """Missing, undecodable, or with a line that is no loss: a sentence, never a traceback."""
    with pytest.raises(RecipeError, match="give zoo, none or a file"):
        seed_programs(Recipe("digits", seeds=str(tmp_path / "none.txt")))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="cannot read it"):
        seed_programs(Recipe("digits", seeds=str(binary)))
    bad = tmp_path / "bad.txt"
    bad.write_text("__import__('os').system('true')\n")
    with pytest.raises(UsageError):
        seed_programs(Recipe("digits", seeds=str(bad)))


def test_a_hall_of_fame_of_pysr_is_a_file_of_seeds(tmp_path):
    """Equations come with their complexity; those that our language does not have are left out."""
    file = tmp_path / "hall_of_fame.csv"
    file.write_text('Complexity,Loss,Equation\n1,0.9,"1.5"\n4,0.2,"-(logp) * y"\n6,0.1,"sinh(p) * y"\n')
    found = seed_programs(Recipe("digits", seeds=str(file)))
    assert [name for name, _ in found] == ["hall_of_fame.csv, complexity 1", "hall_of_fame.csv, complexity 4"]
    proposer, rejections = make_proposer(Recipe("digits", seeds=str(file)), EVEN)
    assert [show(program) for _, program in proposer.seeds] == ["-logp*y"]
    assert rejections == {"FLAT": 1}
    file.write_text("no, such, file")
    with pytest.raises(UsageError, match="no hall of fame"):
        seed_programs(Recipe("digits", seeds=str(file)))


def test_no_kind_of_loss_fills_the_search():
    """Of variants of one loss a few are trained, the further ones rejected; another kind still comes in."""
    variants = [f"-sum_C(y*logp) + {k}/1000*sum_C((p - y)^2)" for k in range(8)]
    plan = fill(Fixed(*variants, "sum_C(y*(1 - p))"), random.Random(0), [], [], EMPTY, 9)
    assert texts(plan)[-1] == "sum_C(y*(1 - p))"
    assert len(plan.accepted) == KIN + 1
    assert plan.rejections == {"CROWDED": len(variants) - KIN}
    trained = EMPTY.plus(EMPTY.places([one.proposal.program for one in plan.accepted]))
    with pytest.raises(ExhaustedError):
        fill(Fixed("-sum_C(y*logp) + 9/1000*sum_C((p - y)^2)"), random.Random(0), [], [], trained, 1)


def test_each_test_can_be_left_out_to_measure_what_it_is_worth():
    """Without screens what is flat or goes the wrong way is trained, with a scale that can be used; duplicates are not.

    Without the tests for difference duplicates and crowds are trained, and the screens still reject.
    """
    flat, wrong, right, twice = "y*0 + p*0", "sum_C(y*logp)", "-sum_C(y*logp)", "-2*sum_C(y*logp)"
    proposed = flat, wrong, right, twice
    plan = fill(Fixed(*proposed), random.Random(0), [], [], EMPTY, 4, rules=Rules(screens=False))
    assert texts(plan) == [flat, wrong, right]
    assert plan.rejections == {"DUPLICATE": 1}
    assert plan.accepted[0].scale == 1.0
    (known,) = screen([parse(right)], make_probe(10))
    crowd = EMPTY.plus(EMPTY.places([parse(right)] * KIN))
    again = fill(Fixed(*proposed), random.Random(0), [], known.fingerprint.keys, crowd, 4, rules=Rules(different=False))
    assert texts(again) == [right, twice]
    assert again.rejections == {"FLAT": 1, "SIGN": 1}
    everything = fill(Fixed(*proposed), random.Random(0), [], [], crowd, 4, rules=Rules(screens=False, different=False))
    assert texts(everything) == list(proposed)


def test_rejected_seeds_are_counted_once_and_never_proposed(tmp_path):
    """Of seeds that are one loss the first stays; a proposer would suggest the others for every cohort."""
    file = tmp_path / "seeds.txt"
    file.write_text("-sum_C(y*logp)\n-2*sum_C(y*logp)\nsum_C(y*logp)\n")
    proposer, rejections = make_proposer(Recipe("digits", seeds=str(file)), EVEN)
    assert rejections == {"DUPLICATE": 1, "SIGN": 1}
    proposals = proposer.propose(random.Random(0), [], 20)
    assert [p.program for p in proposals if p.operator.startswith("seed:")] == [parse("-sum_C(y*logp)")]


@pytest.mark.parametrize(
    ("recipe", "prior", "read"),
    [
        (Recipe("digits"), EVEN, set()),
        (Recipe("digits", long_tail=50.0), EVEN, {"pi"}),
        (Recipe("digits"), UNEVEN, {"pi"}),
        (Recipe("digits", schedules=True), EVEN, {"t"}),
        (Recipe("digits", schedules=True, long_tail=2.0), EVEN, {"pi", "t"}),
    ],
)
def test_a_search_may_read_the_prior_where_classes_are_uneven_and_progress_where_the_recipe_says_so(
    recipe, prior, read
):
    """What proposers write follows from the recipe and the task's own class shares."""
    assert {name for name, _ in make_grammar(recipe, prior).terminals} & {"pi", "t"} == read


def test_the_random_proposer_takes_no_seeds():
    """The control of a search begins with chance alone."""
    proposer, rejections = make_proposer(Recipe("digits", proposer="random"), EVEN)
    assert isinstance(proposer, RandomProposer)
    assert rejections == {}


def test_a_search_trains_what_its_own_proposer_gives(clouds, tmp_path):
    """A proposer that is handed in takes the place of the recipe's; the tests before training stay."""
    own = Fixed("sum_C(y*logp)", "-sum_C(y*logp)", "sum_C(y*(1 - p))")
    recipe = Recipe(clouds, budget=2, cohort=2, seeds="zoo")
    journal = Journal(tmp_path / "journal.log", recipe.aim, recipe.stages)
    with Trainer(TaskSpec(clouds), stack, workers=0) as trainer:
        Search(recipe, journal, trainer, silent, proposer=own).run(float("inf"))
    ((cohort, trials),) = journal.cohorts()
    assert [(trial.operator, trial.program) for trial in trials] == [
        ("fixed", "-sum_C(y*logp)"),
        ("fixed", "sum_C(y*(1 - p))"),
    ]
    assert cohort.rejections["SIGN"] == 1
