"""Kin are losses whose gradients point almost the same way, whatever their scale."""

import pytest
import torch

from lossml.backend import Crowd, logit_gradients, make_probe
from lossml.backend.crowd import BLOCK
from lossml.program import parse

CE, SCALED, NEAR, FAR = (
    parse(text) for text in ("-sum_C(y*logp)", "-9*sum_C(y*logp)", "-sum_C(y*(logp + 0.01*p))", "sum_C((p - y)^2)")
)


def test_kin_are_counted_by_the_angle_between_gradients():
    """Scale does not matter, a small further term neither; another shape does."""
    crowd = Crowd.of([CE, FAR], 10)
    crowd = crowd.plus(crowd.places([SCALED]))
    assert crowd.kin(crowd.places([CE, NEAR, FAR, parse("y")])) == [2, 2, 1, 0]
    probe = make_probe(10)
    one, other = logit_gradients([CE, NEAR], probe.logits, probe).flatten(1)
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.99


def test_a_crowd_is_not_changed_by_growing():
    """What is added is in the new one only; nothing is kin to nobody."""
    empty = Crowd.of([], 3)
    place = empty.places([CE])
    grown = empty.plus(place)
    assert (empty.kin(place), grown.kin(place), grown.kin(empty.places([]))) == ([0], [1], [])


@pytest.mark.parametrize("size", [1, 16, BLOCK + 1])
def test_a_crowd_that_grew_is_the_crowd_that_was_there_at_once(size):
    """In steps of any size: the same kin of each, and the youngest in order."""
    places = torch.randn(3 * BLOCK, 30, generator=torch.Generator().manual_seed(1))
    places[::7] = places[0]
    places /= places.norm(dim=1, keepdim=True)
    grown = Crowd(make_probe(3), (places[:0],))
    for part in places.split(size):
        grown = grown.plus(part)
    assert grown.kin(places) == Crowd(make_probe(3), (places.half(),)).kin(places)
    assert grown.kin(places)[:2] == [-(-len(places) // 7), 1]
    for count in (1, BLOCK, 2 * BLOCK + 3, 9 * BLOCK):
        assert torch.allclose(grown.youngest(count), places[-count:], rtol=1e-3, atol=1e-6)


def test_half_precision_moves_a_cosine_by_less_than_a_ten_thousandth():
    """Cosines with what a crowd keeps are exact to 1e-4, also where all are rounded alike."""
    places = several_directions()
    crowd = Crowd.of([], 10).plus(places)
    torch.testing.assert_close(places @ crowd.youngest(len(places)).T, places @ places.T, rtol=0, atol=1e-4)


def several_directions() -> torch.Tensor:
    """Return directions of losses, one of equal numbers, and one of none."""
    places = Crowd.of([], 10).places([CE, NEAR, FAR]).float()
    equal = torch.full_like(places[:1], places.shape[1] ** -0.5)
    return torch.cat([places, equal, torch.zeros_like(equal)])
