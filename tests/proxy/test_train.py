"""Training many networks at once is training each alone, in any pieces, and one bad loss harms no other."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F

from lossml.backend import ProgramLoss, stack
from lossml.backend.adamw import rate
from lossml.proxy import Run, Split, Task, TaskSpec, load_task
from lossml.proxy.augment import flip_and_shift
from lossml.proxy.networks import MLP, MatrixConv, PooledConv, StridedConv, whitening
from lossml.proxy.train import BLOCK, AdamW, Batches, Weights, advance, evaluate, initial

TEXTS = ("-sum_C(y*logp)", "sum_C(y*(1 - p))", "sum_C((p - y)^2)", "-y*(1 - p)^2*logp")


@pytest.fixture(scope="module")
def task():
    return replace(load_task(TaskSpec("digits", label_noise=0.2)), steps=64)


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(0, 255, (64, 3, 32, 32), generator=generator, dtype=torch.uint8),
        torch.randint(0, 4, (64,), generator=generator),
    )
    return Task("images", 4, split, split, split, lambda: StridedConv(3, 32, 4, (4, 8, 8)), steps=16, batch_size=16)


def runs(texts=TEXTS, seed=3):
    return [Run(ProgramLoss(text), 1.0 + k, seed) for k, text in enumerate(texts)]


def same(a, b, tolerance=0.0):
    torch.testing.assert_close(a.state.parameters, b.state.parameters, rtol=tolerance, atol=tolerance)


def test_together_is_each_alone(task):
    """Networks that train side by side, each with its loss and learning rate, end where each ends alone."""
    together = advance(task, stack, runs(), [None] * 4, 0, 8)
    for k, run in enumerate(runs()):
        (alone,) = advance(task, stack, [run], [None], 0, 8)
        same(together[k], alone, tolerance=2e-4)
        assert together[k].score.accuracy == pytest.approx(alone.score.accuracy, abs=0.01)


@dataclass(frozen=True)
class Maker:
    """Makes a network, and cannot be looked up in a table."""

    widths: list[int]

    def __call__(self):
        return MLP(64, *self.widths, 10)


def test_whatever_makes_a_network_makes_it(task):
    """A maker that has no hash trains as a function does."""
    ours, theirs = (replace(task, network=make) for make in (Maker([32]), lambda: MLP(64, 32, 10)))
    one, other = (advance(each, stack, runs()[:2], [None] * 2, 0, 1)[1] for each in (ours, theirs))
    same(one, other)


def test_training_can_be_cut_anywhere(task):
    """Going on from a rung gives bit for bit what training in one go gives."""
    whole = advance(task, stack, runs(), [None] * 4, 0, 16)
    states = [None] * 4
    for start, stop in ((0, 1), (1, 4), (4, 16)):
        states = [outcome.state for outcome in advance(task, stack, runs(), states, start, stop)]
    for outcome, state in zip(whole, states, strict=True):
        assert torch.equal(outcome.state.parameters, state.parameters)
        assert outcome.state.step == state.step == task.steps


def test_the_same_seed_starts_alike_and_another_does_not(task):
    """Weights depend on the seed alone, so that losses are compared in pairs."""
    assert torch.equal(initial(task, 1).parameters, initial(task, 1).parameters)
    assert not torch.equal(initial(task, 1).parameters, initial(task, 2).parameters)
    before = torch.random.get_rng_state()
    initial(task, 5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_training_equals_torch(task):
    """A network trained with cross-entropy goes where torch's own AdamW and module take it."""
    torch.manual_seed(3)
    network = task.network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.0)
    from lossml.proxy.train import _indices

    for step in range(8):
        optimizer.param_groups[0]["lr"] = task.learning_rate * rate(step / task.steps)
        (index,) = _indices(task, (3,), step)
        loss = F.cross_entropy(network(task.train.inputs[index]), task.train.targets[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (ours,) = advance(task, stack, [Run(ProgramLoss("-y*logp"), 1.0, 3)], [None], 0, 2)
    theirs = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    torch.testing.assert_close(ours.state.parameters, theirs, rtol=1e-4, atol=1e-5)


def test_weight_decay_and_rates_are_each_networks_own():
    """AdamW of two networks equals torch's of each."""
    generator = torch.Generator().manual_seed(0)
    start, gradients = torch.randn(2, 5, generator=generator), torch.randn(4, 2, 5, generator=generator)
    zero = torch.zeros(5)
    states = [Weights(row, zero, zero, {}, 0) for row in start]
    ours = AdamW(start.clone().requires_grad_(), states, torch.tensor([0.1, 0.01]), 0.3)
    theirs = [torch.nn.Parameter(row.clone()) for row in start]
    options = {"betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.3}
    optimizers = [torch.optim.AdamW([p], lr=lr, **options) for p, lr in zip(theirs, (0.1, 0.01), strict=True)]
    for gradient in gradients:
        ours.step(gradient, 1.0)
        for k, (p, optimizer) in enumerate(zip(theirs, optimizers, strict=True)):
            p.grad = gradient[k].clone()
            optimizer.step()
    torch.testing.assert_close(ours.parameters.detach(), torch.stack([p.detach() for p in theirs]))


def test_an_epoch_shows_every_sample_at_most_once(task):
    """The order is a permutation, another one each epoch and for each seed."""
    from lossml.proxy.train import _indices

    per_epoch = len(task.train) // task.batch_size
    first = torch.cat([_indices(task, (0,), step)[0] for step in range(per_epoch)])
    assert len(first.unique()) == len(first)
    assert not torch.equal(first[:64], _indices(task, (0,), per_epoch)[0])
    assert not torch.equal(first[:64], _indices(task, (1,), 0)[0])


@pytest.mark.parametrize("bad", ["y*exp(exp(exp(40*p)))", "-y*log(sum_C(y*p)^40)"])
def test_a_diverging_loss_fails_alone(task, bad):
    """A loss whose gradient overflows is reported, and its neighbours train as if it were not there."""
    fast = [Run(ProgramLoss(bad, scale=1e30), 1e6, 3), *runs()]
    outcomes = advance(task, stack, fast, [None] * 5, 0, 4)
    assert "not finite" in outcomes[0].failure
    assert outcomes[0].state is None
    for ours, alone in zip(outcomes[1:], advance(task, stack, runs(), [None] * 4, 0, 4), strict=True):
        same(ours, alone, tolerance=2e-4)


def test_a_network_alone_stops_when_it_diverges(images):
    """Convolutional networks train one at a time, and a hopeless one is not trained to the end."""
    (outcome,) = advance(images, stack, [Run(ProgramLoss("-y*logp"), 1e30, 0)], [None], 0, 16)
    assert "not finite" in outcome.failure


def test_convolutions_with_batch_normalisation_train(images):
    """A convolutional network learns its few images by heart, buffers included, in two pieces as in one."""
    run = Run(ProgramLoss("-y*logp"), 3.0, 0)
    long = replace(images, steps=160)
    (half,) = advance(long, stack, [run], [None], 0, 8)
    (rest,) = advance(long, stack, [run], [half.state], 8, 16)
    (whole,) = advance(long, stack, [run], [None], 0, 16)
    assert torch.equal(rest.state.parameters, whole.state.parameters)
    assert rest.score.accuracy > 0.9
    assert rest.state.buffers["features.1.running_mean"].abs().sum() > 0


def test_augmentation_and_bfloat16_are_used(images):
    """A task's augmentation is applied, seeded by step, and half precision still trains."""
    seen = []

    def augment(x, y, generator):
        seen.append(int(torch.randint(0, 1000, (1,), generator=generator)))
        return x, y

    changed = replace(images, augment=augment, bfloat16=True)
    (outcome,) = advance(changed, stack, [Run(ProgramLoss("-y*logp"), 1.0, 0)], [None], 0, 16)
    assert len(set(seen)) > 10
    assert outcome.failure is None


@pytest.mark.parametrize("count", [1, 4])
def test_the_layout_of_images_changes_no_result(images, count):
    """Images channels last, as built-in tasks lay them, or cut out of larger ones train to the same bits as others."""
    inputs = images.train.inputs
    wide = torch.nn.functional.pad(inputs, (0, 3, 1, 0))[..., 1:, :32]
    assert not wide.is_contiguous()
    outcomes = [
        advance(replace(images, augment=flip_and_shift, train=replace(images.train, inputs=x)), stack, runs()[:count],
                [None] * count, 0, 4)
        for x in (inputs, inputs.to(memory_format=torch.channels_last), wide)
    ]  # fmt: skip
    for plain, laid, cut in zip(*outcomes, strict=True):
        assert torch.equal(plain.state.parameters, laid.state.parameters)
        assert torch.equal(plain.state.parameters, cut.state.parameters)


@pytest.mark.parametrize("network", [StridedConv, MatrixConv])
@pytest.mark.parametrize("count", [1, 3])
def test_scoring_leaves_a_tasks_images_as_they_are(network, count):
    """Images of one channel that are numbers in single precision already are scaled beside their place, not in it."""
    images = 255 * torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    split = Split(images.clone(), torch.arange(32) % 4)
    task = Task("own", 4, split, split, split, lambda: network(1, 16, 4, (4, 8, 8)), steps=16, batch_size=16)
    outcomes = advance(task, stack, runs()[:count], [None] * count, 0, 4)
    again = evaluate(task, [one.state for one in outcomes], "validation")
    assert [one.score.nll for one in again] == [one.score.nll for one in outcomes]
    assert torch.equal(split.inputs, images)


def test_images_that_lie_channels_last_reach_the_network_so():
    """Rows of images that lie channels last, mirrored and shifted, still lie so: a copy a step is saved."""
    split = Split(
        torch.zeros(64, 3, 8, 8, dtype=torch.uint8).contiguous(memory_format=torch.channels_last), torch.arange(64) % 2
    )
    task = Task("own", 2, split, split, split, lambda: StridedConv(3, 8, 2, (4, 8)), steps=16, batch_size=16)
    for given in (task, replace(task, augment=flip_and_shift)):
        inputs, _ = Batches(given, (5,)).at(0)
        assert inputs[0].stride()[1] == 1


def test_augmentation_follows_from_seed_and_step_alone(images):
    """Whoever trains beside it and wherever a training goes on, a network sees the same pictures; each step others."""
    images = replace(images, augment=flip_and_shift)
    drawn = []
    for step in (0, BLOCK - 1, BLOCK, BLOCK + 1):
        alone, beside = Batches(images, (0,)), Batches(images, (0, 1))
        assert torch.equal(alone.at(step)[0][0], beside.at(step)[0][0])
        drawn.append(alone.drawn(flip_and_shift, step)[0])
    assert len({str(part.tolist()) for part in drawn}) == len(drawn)


def test_progress_reaches_the_losses(task):
    """A loss that is switched off by t = 0 at the start does not move the weights there."""
    start = initial(task, 3).parameters
    (still,) = advance(task, stack, [Run(ProgramLoss("-y*logp*max(0, t - 0.5)"), 1.0, 3)], [None], 0, 8)
    assert torch.equal(still.state.parameters, start)


class Watch(torch.nn.Module):
    """A stack of cross-entropies that writes down what it is told of progress."""

    told: ClassVar[list[float]] = []

    def set_progress(self, progress):
        self.told.append(progress)

    def forward(self, logits, target):
        return torch.nn.functional.cross_entropy(logits.movedim(2, 1), target, reduction="none").mean(1)


def test_progress_is_the_share_of_full_training_across_rungs(task):
    """At every step, from rung to rung, a loss is told step / steps of full fidelity, once and without a gap."""
    Watch.told.clear()
    states = [None]
    for start, stop in ((0, 1), (1, 4), (4, 16)):
        states = [o.state for o in advance(task, lambda _: Watch(), [Run(Watch())], states, start, stop)]
    assert Watch.told == [step / task.steps for step in range(task.steps)]


def test_scores_on_the_held_out_split_come_sample_by_sample(task):
    """Evaluation says of each sample whether the answer is right, and agrees with the module itself."""
    (outcome,) = advance(task, stack, [runs()[0]], [None], 0, 16)
    (found,) = evaluate(task, [outcome.state], "heldout")
    network = MLP(64, 32, 10)
    torch.nn.utils.vector_to_parameters(outcome.state.parameters, network.parameters())
    right = network(task.heldout.inputs).argmax(1) == task.heldout.targets
    assert found.score.parts["accuracy"].tolist() == right.tolist()
    assert found.score.accuracy == pytest.approx(float(right.float().mean()))


def test_the_rate_warms_up_and_falls_to_zero():
    """Linear to the peak over the first twentieth, then a cosine."""
    assert rate(0.0) < 0.05
    assert rate(0.05) == pytest.approx(1.0)
    assert rate(1.0) == pytest.approx(0.0, abs=1e-9)
    assert rate(0.3) > rate(0.6) > rate(0.9)


def convolutional(network, **changes):
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(0, 255, (64, 3, 32, 32), generator=generator, dtype=torch.uint8),
        torch.randint(0, 4, (64,), generator=generator),
    )
    options = {"steps": 16, "batch_size": 16, "augment": flip_and_shift, "learning_rate": 1e-3} | changes
    return Task("images", 4, split, split, split, network, **options)


def test_convolutions_as_products_are_convolutions():
    """A network of matrix products has the weights, logits and running statistics of its convolutions."""
    products, plain = MatrixConv(3, 32, 4, (8, 8, 16)), StridedConv(3, 32, 4, (8, 8, 16))
    plain.load_state_dict(products.state_dict())
    images = torch.randint(0, 255, (6, 3, 32, 32), dtype=torch.uint8)
    for training in (True, False):
        products.train(training), plain.train(training)
        torch.testing.assert_close(products(images), plain(images), rtol=1e-4, atol=1e-5)
    for one, other in zip(products.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_convolutional_networks_train_together_as_alone():
    """Three networks with three losses, seeds and rates, augmented, end where each ends alone, either way."""
    given = [Run(ProgramLoss(text), 1.0 + k, k) for k, text in enumerate(TEXTS[:3])]
    products = convolutional(lambda: MatrixConv(3, 32, 4, (8, 8, 16)), group=3)
    plain = convolutional(lambda: StridedConv(3, 32, 4, (8, 8, 16)))
    together = advance(products, stack, given, [None] * 3, 0, 4)
    for k, run in enumerate(given):
        for task in (products, plain):
            (alone,) = advance(task, stack, [run], [None], 0, 4)
            same(together[k], alone, tolerance=3e-4)
            for name, buffer in alone.state.buffers.items():
                if buffer.is_floating_point():
                    torch.testing.assert_close(together[k].state.buffers[name], buffer, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 32)])
def test_the_large_network_takes_small_images(channels, size):
    """Images of both kinds of data set give one logit a class, and every weight a gradient."""
    images = torch.randint(0, 255, (4, channels, size, size), dtype=torch.uint8)
    network = PooledConv(10, whitening(images), (8, 8, 8))
    logits = network(images)
    assert logits.shape == (4, 10)
    logits.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_whitened_patches_are_decorrelated():
    """What the filters give has unit variance and no correlation between directions, each with its opposite."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 3, 12, 12, generator=generator)
    images = (noise + noise.roll(1, 3) + noise.roll(1, 1)).mul(20).add(128).clamp(0, 255).to(torch.uint8)
    found = torch.nn.functional.conv2d(images.float() / 127.5 - 1.0, whitening(images))
    flat = found.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat[:12], -flat[12:])
    torch.testing.assert_close(flat[:12] @ flat[:12].T / flat.shape[1], torch.eye(12), rtol=0.02, atol=0.02)
