"""A search on images with masks, whole: pixel aggregates, overlap as the objective, a contender that is no program."""

import pytest

from lossml import zoo
from lossml.backend import Crowd
from lossml.program import operations, parse
from lossml.proxy import TaskSpec, load_task
from lossml.search.known import known_as
from lossml.search.propose import make_grammar, seed_programs
from lossml.search.recipe import make_recipe
from lossml.search.runs import resume, search

PATCHES = '''
"""Two-class patches on a ground, twelve by twelve pixels: a task of milliseconds with masks."""

from functools import partial

import torch

from lossml.proxy import IGNORED, Split, Task
from lossml.proxy.augment import flip_and_shift
from lossml.proxy.networks import EncoderDecoder


def patches(count, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.zeros(count, 12, 12, dtype=torch.int64)
    masks[:, 2:8, 1:6], masks[:, 9:11, 7:11] = 1, 2
    shown = torch.tensor([40, 120, 200])[masks] + 60 * torch.randn(count, 12, 12, generator=generator)
    masks[:, :, 0] = IGNORED
    return Split(shown.clamp(0, 255).to(torch.uint8).unsqueeze(1), masks)


def task():
    splits = patches(24, 1), patches(12, 2), patches(20, 3)
    network = partial(EncoderDecoder, 1, 3, (4, 8))
    return Task("patches", 3, *splits, network=network, steps=16, batch_size=8, augment=flip_and_shift)
'''


@pytest.fixture
def patches(own_module):
    """The name of the task, as a person gives it; the working folder is a fresh one."""
    return f"{own_module('patches_task', PATCHES)}:task"


FLAGS = {
    "objective": "miou",
    "budget": 6,
    "cohort": 6,
    "candidates": 1,
    "confirm_seeds": 2,
    "learning_rates": [1.0],
    "workers": 0,
}


def test_a_search_on_masks_is_confirmed_against_overlaps(patches):
    """Programs over pixels are trained, and the best is compared in mIoU with CE, Dice+CE and Lovász on images."""
    flags = {**FLAGS, "dataset": patches, "seeds": "none", "baselines": ["ce", "dice+ce", "lovasz"]}
    record = search(flags)
    assert len(record.trials) == 6
    assert any({"sum_X", "mean_X"} & operations(parse(trial.program)) for trial in record.trials)
    rows = {row.contender.label: row for row in record.verdict.comparison.rows}
    assert {"ce", "dice+ce", "lovasz"} < set(rows)
    assert rows["lovasz"].contender.program == "lovasz"
    assert all(row.low <= row.difference <= row.high for label, row in rows.items() if label != "ce")
    assert record.verdict.comparison.samples == 20
    assert "miou" in record.verdict.sentence
    again = resume(record.path, {})
    assert again.verdict == record.verdict


def test_what_is_proposed_follows_from_the_task(patches):
    """Masks bring pixel aggregates and the published overlaps; one class a sample brings neither."""
    prior = load_task(TaskSpec(patches)).prior
    recipe = make_recipe({"dataset": patches})
    words = {name for name, _ in make_grammar(recipe, prior, 144).operations}
    assert {"sum_X", "mean_X", "sum_B", "mean_B"} <= words
    assert not {"sum_X", "mean_X"} & {name for name, _ in make_grammar(recipe, prior).operations}
    named, without = (dict(seed_programs(recipe, prior, pixels)) for pixels in (144, 1))
    assert set(named) - set(without) == {n for n, e in zoo.ENTRIES.items() if e.kind == "segmentation"}


@pytest.mark.parametrize("name", ["dice", "tversky", "dice+ce", "jaccard", "generalised-dice"])
def test_published_overlaps_are_recognised_on_masks(name):
    """Under their own name, on the pixels of a whole batch."""
    program = zoo.program_of(name)
    assert known_as(program, 11, 3072) == name


def test_an_overlap_beside_cross_entropy_is_no_variant_of_it():
    """Dice+CE is trained even where a search has trained as many relatives of cross-entropy as it may."""
    relatives = [zoo.program_of(name) for name in ("ce", "label-smoothing", "confidence-penalty", "sparse-lsr")]
    both = [zoo.program_of(name) for name in ("dice+ce", "dice+focal", "confidence-penalty(beta=0.05)")]
    crowd = Crowd.of(relatives, 11, 3072)
    on_masks = crowd.kin(crowd.places(both))
    assert on_masks[:2] == [0, 0]
    assert on_masks[2] >= 3
