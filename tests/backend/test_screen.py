"""The screens reject what cannot train, each for its reason, and nothing that can."""

import pytest
import torch

from lossml import zoo
from lossml.backend import Rejection, gradient_scale, logit_gradients, make_probe, screen
from lossml.backend.descent import learned
from lossml.backend.probe import CHUNK, samples_for
from lossml.backend.screen import sign_share
from lossml.program import parse

GOOD = ("-y*logp", "-y*p", "(p - y)^2", "-y*(1-p)^2*logp", "y*(1 - p^0.7)/0.7")


def reasons(*texts, known=(), classes=10):
    return [s.rejection for s in screen([parse(t) for t in texts], make_probe(classes), known)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("y*exp(exp(exp(1/p)))", Rejection.NOT_FINITE),
        ("y + 2", Rejection.FLAT),
        ("1e-30*y*p", Rejection.FLAT),
        ("y*logp", Rejection.SIGN),
        ("-p*logp", Rejection.DESCENT),
        ("sum_C(p^2)", Rejection.DESCENT),
        ("y*(1-p)^9 - y*p", None),
    ],
)
def test_each_fault_has_its_reason(text, reason):
    """Overflow, no gradient, and learning the wrong way are told apart."""
    assert reasons(text) == [reason]


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_losses_that_train_pass(classes):
    """Classical losses pass at any number of classes."""
    assert reasons(*GOOD, classes=classes) == [None] * len(GOOD)


def test_of_equal_losses_the_first_stays():
    """A loss equal up to scale to an earlier one of the batch, or to a known one, is a duplicate."""
    assert reasons("-y*logp", "5 - 2*y*logp") == [None, Rejection.DUPLICATE]
    known = screen([parse("-y*logp")], make_probe(10))[0].fingerprint.keys
    assert reasons("-7*y*logp", known=known) == [Rejection.DUPLICATE]


def test_a_batch_says_what_each_alone_would():
    """Screening together changes nothing, whatever stands beside a program."""
    texts = [*GOOD, "y*logp", "y*exp(exp(exp(1/p)))", "3"]
    assert reasons(*texts) == [reasons(text)[0] for text in texts]


def test_nothing_gives_nothing():
    """An empty batch is no error."""
    assert screen([], make_probe(10)) == []


def test_the_sign_looks_at_wrong_answers_only():
    """An under-confident loss, which pulls a confident right answer down, passes; its mirror does not."""
    probe = make_probe(10)
    programs = [parse("(p - 0.4*y)^2"), parse("-(p - 0.4*y)^2")]
    under, mirrored = sign_share(logit_gradients(programs, probe.logits, probe), probe).tolist()
    assert under == 1.0
    assert mirrored == 0.0


@pytest.mark.parametrize("pixels", [1, 4])
def test_descent_separates(pixels):
    """On overlapping clusters cross-entropy gets as far as itself, its mirror below chance, a greedy one between."""
    programs = [parse("-y*logp"), parse("-7*y*logp"), parse("y*logp"), parse("y*log1mp")]
    ce, scaled, mirrored, greedy = learned(programs, 10, pixels).tolist()
    assert ce == pytest.approx(1.0)
    assert scaled == pytest.approx(1.0)
    assert mirrored < 0.0
    assert greedy < 0.8, "what gains without bound from right answers gives classes up"


def test_descent_is_each_programs_own():
    """What stands beside a program does not change how far it gets, also where batches are cut."""
    programs = [parse(text) for text in GOOD] + [parse("y*exp(exp(exp(1/p)))")]
    torch.testing.assert_close(learned(programs, 1000)[:2], learned(programs[:2], 1000))
    assert learned(programs, 10)[-1] < 0.0
    assert learned([], 10).shape == (0,)


@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
def test_the_zoo_is_not_rejected(classes):
    """No published classification loss is screened out, at any number of classes."""
    entries = {name: zoo.program_of(name) for name, e in zoo.ENTRIES.items() if e.kind == "classification"}
    found = screen(list(entries.values()), make_probe(classes))
    assert {s.rejection for s in found} <= {None, Rejection.DUPLICATE}


def test_a_schedule_must_lead_the_right_way_through_the_whole_training():
    """A loss that turns round is rejected whenever it does so; one that only fades in is kept, and has a scale."""
    early, late, never = reasons("-y*logp*(4*t - 3.9)", "-y*logp*(0.2 - t)", "-y*logp*(1.1 - t)")
    assert (early, late, never) == (Rejection.SIGN, Rejection.SIGN, None)
    assert 1.0 < float(gradient_scale([parse("-t*y*logp")], 10)[0]) < 3.0


def test_losses_that_read_the_prior_are_scaled_by_the_tasks_own():
    """Where classes are as frequent as the prior says, balanced cross-entropy weighs 1 on average over the samples."""
    balanced = parse("-sum_C(y*logp/pi)/C")
    even = [0.1] * 10
    assert float(gradient_scale([balanced], 10, prior=even)[0]) == pytest.approx(1.0)
    prior = [1.0, *[0.02] * 9]
    prior = [share / sum(prior) for share in prior]
    probe = make_probe(10, 1, (0.1,))
    g = logit_gradients([parse("-sum_C(y*logp)")], probe.logits, probe)[0, :, :, 0]
    here = torch.tensor(prior, dtype=torch.double)[probe.target[:, 0]]
    sizes = g.square().mean(1)
    expected = (sizes.mean() / (here * sizes / (10 * here).square()).sum() * here.sum()).sqrt()
    assert float(gradient_scale([balanced], 10, prior=prior)[0]) == pytest.approx(float(expected))


def test_gradient_scale_makes_gradients_equal_at_the_start():
    """The factor is that between a loss's gradient and cross-entropy's near uniform predictions."""
    ce, doubled, flat = gradient_scale([parse("-y*logp"), parse("-2*y*logp"), parse("3")], 10).tolist()
    assert ce == pytest.approx(1.0)
    assert doubled == pytest.approx(0.5)
    assert flat == float("inf")
    assert gradient_scale([parse("exp(exp(exp(exp(1/p))))*y")], 10).isnan().all()


def test_large_batches_are_cut_without_changing_results():
    """Gradients of more programs than fit at once equal those of each alone."""
    probe = make_probe(1000)
    count = CHUNK // probe.logits.numel() + 2
    programs = [parse(f"-{k + 1}*y*logp") for k in range(count)]
    together = logit_gradients(programs, probe.logits, probe)
    assert len(together) == count
    torch.testing.assert_close(together[-1:], logit_gradients(programs[-1:], probe.logits, probe))


def test_probes_are_bounded():
    """Few classes get many samples, many classes get at least sixteen; more pixels than some show nothing new."""
    assert (samples_for(2), samples_for(100), samples_for(10_000), samples_for(2, 9)) == (64, 40, 16, 16)
    assert make_probe(5, 100_000).logits.shape == (16, 5, 64)
    assert make_probe(5).mask is None


OVERLAPS = (
    "-mean_C(sum_B(sum_X(y*p))/(sum_B(sum_X(y + p)) + 1))",
    "-mean_C(sum_X(y*p)/(sum_X(y + p) + 1))",
    "-mean_C(mean_X(y*p)/(mean_X(y + p) + 1))",
    "-mean_C(sum_X(y*p))",
    "-mean_C(mean_X(y*p))",
)


def test_a_probe_with_pixels_tells_aggregates_apart():
    """Overlaps of a batch and of an image, sums and means: each is a loss of its own, void pixels making the last so.

    Where a sample has one pixel all of them pass as few.
    """
    programs = [parse(text) for text in OVERLAPS]
    assert [s.rejection for s in screen(programs, make_probe(4, 3072))] == [None] * 5
    assert [s.rejection for s in screen(programs, make_probe(4))].count(Rejection.DUPLICATE) == 2


def test_an_overlap_that_is_to_shrink_is_rejected_on_images():
    """Dice turned round pushes the true class down, and its gradient is looked at where pixels count alone."""
    probe = make_probe(4, 3072)
    (turned,) = screen([parse(OVERLAPS[0][1:])], probe)
    assert turned.rejection is Rejection.SIGN
    gradients = logit_gradients([parse(OVERLAPS[0])], probe.logits, probe)
    void = (probe.mask == 0).expand_as(probe.logits)
    assert 0.1 < void.double().mean() < 0.3
    assert (gradients[0][void] == 0).all()
    assert (gradients[0][~void] != 0).all()


def test_the_scale_knows_how_many_pixels_a_task_has():
    """A sum over the pixels grows with their number, a mean and the overlap of a batch do not."""
    programs = [parse("-sum_C(sum_X(y*logp))"), parse("-sum_C(mean_X(y*logp))"), parse(OVERLAPS[0])]
    few, many = gradient_scale(programs, 4, 64), gradient_scale(programs, 4, 1024)
    assert (few / many).tolist() == pytest.approx([16.0, 1.0, 1.0], rel=0.1)
