"""A loss goes in, the shortest program that is the same loss comes out."""

from dataclasses import replace

import pytest

from lossml import zoo
from lossml.distill import Limits, distill, program_target, read_target
from lossml.errors import UsageError
from lossml.program import parse

BLOATED = "-sum_C(y*(logp*exp(0.0001*p) + 0.0001*p*p - 0.0001*p^2))*3 + 2*sum_C(p) - log(exp(2)) + mean_C(tanh(y)*y)"


@pytest.mark.parametrize(
    ("what", "size", "budget"),
    [(BLOATED, 4, 2_500), ("focal", 9, 3_000), ("label-smoothing", 5, 6_000), ("ngl", 7, 5_000)],
)
def test_a_published_loss_is_shortened(what, size, budget):
    """Bloat goes, scale and constants are fitted, and the shortest form within 1% has no more nodes than known."""
    found = distill(read_target(what), limits=Limits(budget=budget))
    assert found.shortest is not None
    assert found.shortest.size <= size
    assert found.shortest.disagreement <= 0.01
    assert found.evaluated <= budget


def test_a_black_box_is_distilled(own):
    """Of a user's module nothing is known but its values, and focal loss comes out of it."""
    found = distill(read_target(f"{own}:Focal"), limits=Limits(tolerance=0.03, budget=5_000))
    assert found.formula == ""
    assert found.shortest is not None
    assert found.shortest.size <= 9
    assert found.shortest.disagreement <= 0.03


def test_the_front_is_a_front_at_points_the_search_has_not_seen():
    """Each longer program is nearer, every formula reads back to the size given, the scale is the target's."""
    target = program_target(zoo.program_of("poly1"), "poly1")
    found = distill(target, limits=Limits(budget=2_600))
    sizes, apart = [row.size for row in found.front], [row.disagreement for row in found.front]
    assert sizes == sorted(set(sizes))
    assert apart == sorted(set(apart), reverse=True)
    assert [parse(row.formula).size for row in found.front] == sizes
    assert found.shortest is not None
    assert found.shortest.scale == pytest.approx(1.0)


def test_the_same_seed_gives_the_same_result():
    """Two distillations differ in nothing but the time they took."""
    one, two = (distill(read_target("sce"), limits=Limits(budget=2_600), seed=5) for _ in range(2))
    assert replace(one, seconds=0.0) == replace(two, seconds=0.0)


def test_a_tolerance_nothing_reaches_is_said(own):
    """Where nothing is near enough the front is still there, and nothing is called the answer."""
    found = distill(read_target(f"{own}:Focal"), limits=Limits(tolerance=1e-12, budget=10))
    assert found.shortest is None
    assert found.front
    assert found.evaluated == 10


@pytest.mark.parametrize(
    ("limits", "classes", "words"),
    [
        (Limits(tolerance=0.0), 10, "tolerance is 0"),
        (Limits(tolerance=float("nan")), 10, "tolerance is nan"),
        (Limits(budget=0), 10, "budget is 0"),
        (Limits(seconds=-1.0), 10, "time_limit is -1"),
        (Limits(), 1, "classes is 1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits, classes, words):
    """A wrong number gets the rule it breaks."""
    with pytest.raises(UsageError, match=words):
        distill(read_target("ce"), limits=limits, classes=classes)


def test_a_time_limit_holds():
    """The search ends soon after its time is over and still gives its front."""
    found = distill(read_target("ngl-tf"), limits=Limits(tolerance=1e-9, seconds=0.5))
    assert found.seconds < 8.0
    assert found.front


@pytest.mark.parametrize("classes", [2, 50])
def test_any_number_of_classes_will_do(classes):
    """Cross-entropy is found among two classes as among a hundred."""
    found = distill(read_target("-2*sum_C(y*logp + 0*p)"), limits=Limits(budget=2_500), classes=classes)
    assert found.shortest is not None
    assert found.shortest.size <= 4
