"""What can be distilled: programs, names, files and a user's own PyTorch losses; nothing else."""

import pytest
import torch

from lossml.backend import logit_gradients, make_probe, torch_source
from lossml.distill import read_target
from lossml.distill.points import search_points
from lossml.errors import UsageError
from lossml.program import parse

PROBE = make_probe(10)


def gradient(text):
    return logit_gradients([parse(text)], PROBE.logits, PROBE)[0]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("Focal", "-y*(1 - p)^2*logp"),
        ("smoothed", "-(0.9*y + 0.1/C)*logp"),
        ("per_sample", "-3*y*logp"),
    ],
)
def test_a_users_loss_gives_the_gradient_that_its_formula_has(own, name, formula):
    """A class, a function of the mean and one that gives a value per sample are read alike, in float64."""
    torch.testing.assert_close(read_target(f"{own}:{name}").gradient(PROBE), gradient(formula), rtol=1e-9, atol=1e-12)


def test_a_loss_that_takes_only_float32_is_distilled_in_float32(own):
    """A constant of the wrong precision in a user's loss is no obstacle."""
    found = read_target(f"{own}:weighted").gradient(PROBE)
    torch.testing.assert_close(found, gradient("-y*logp"), rtol=1e-5, atol=1e-6)


def test_distilling_leaves_a_module_as_it_was(own):
    """A user's module keeps its precision and its mode: a copy is differentiated."""
    import own_losses

    before = own_losses.weighted.weight.dtype
    read_target(f"{own}:weighted").gradient(PROBE)
    assert own_losses.weighted.weight.dtype == before
    assert own_losses.weighted.training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothere", "has no 'nothere'"),
        ("number", "is a int"),
        ("NeedsGamma", "cannot be made without arguments"),
        ("noisy", "remove what is random"),
        ("detached", "a float, which has no gradient"),
        ("broken", "fails on logits and targets"),
        ("flat", "no gradient at the probe points"),
        ("infinite", "not finite"),
    ],
)
def test_what_is_no_loss_gets_a_sentence(own, name, words):
    """Whatever a user's module holds, the answer says what is wrong with it and what to give."""
    with pytest.raises(UsageError, match=words):
        search_points(read_target(f"{own}:{name}"), 10)


def test_an_exported_file_keeps_its_scale(tmp_path):
    """What `lossml export` wrote is read back with the factor that it was saved with; nothing in it is run."""
    file = tmp_path / "mine.py"
    file.write_text(torch_source(parse("-y*logp"), header="Mine.", name="Loss", scale=2.5))
    torch.testing.assert_close(read_target(str(file)).gradient(PROBE), 2.5 * gradient("-y*logp"))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no.such.module:loss", "cannot import"),
        ("focol", "did you mean focal"),
        ("t*y*p", "training progress"),
        ("dice", "several pixels"),
        ("1 + y", "no gradient at the probe points"),
    ],
)
def test_what_a_probe_cannot_tell_is_refused(what, words):
    """A loss that reads what probe points do not have is not distilled into one that does not."""
    with pytest.raises(UsageError, match=words):
        search_points(read_target(what), 10)
