"""On a GPU: a graph's step is the step itself, and networks go where a CPU takes them."""

from dataclasses import replace

import pytest
import torch

from lossml.backend import ProgramLoss, stack
from lossml.proxy import Run, Split, Task, passes
from lossml.proxy.augment import flip_and_shift
from lossml.proxy.jobs import on_device
from lossml.proxy.networks import MLP, EncoderDecoder, MatrixConv, PooledConv, ResNet18, StridedConv
from lossml.proxy.train import advance, evaluate, initial

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
FILTERS = torch.randn(24, 3, 2, 2, generator=torch.Generator().manual_seed(2)) / 4
TEXTS = ("-sum_C(y*logp)", "sum_C((p - y)^2)", "-y*(1 - p)^2*logp")
NETWORKS = {
    "large": lambda: PooledConv(4, FILTERS, (24, 24, 32)),
    "small": lambda: StridedConv(3, 32, 4, (8, 8, 16)),
    "products": lambda: MatrixConv(3, 32, 4, (8, 8, 16)),
    "residual": lambda: ResNet18(3, 4),
}


def images(network, **changes):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 255, (64, 3, 32, 32), generator=generator, dtype=torch.uint8)
    split = Split(inputs, torch.randint(0, 4, (64,), generator=generator))
    options = {"steps": 16, "batch_size": 16, "augment": flip_and_shift, "learning_rate": 1e-3} | changes
    return Task("images", 4, split, split, split, network, **options)


def runs(count=1):
    return [Run(ProgramLoss(TEXTS[k]), 1.0 + k, k) for k in range(count)]


def ends(task, given, device, stop=8):
    found = advance(on_device(task, device), stack, given, [None] * len(given), 0, stop)
    return torch.stack([outcome.state.parameters for outcome in found]).cpu()


@pytest.fixture
def by_operations(monkeypatch):
    """Switch off graphs."""

    class Nothing:
        def get(self, *_):
            return None

    return lambda: monkeypatch.setattr(passes, "_CAPTURED", Nothing())


def can_be_captured(task, count=1):
    batch = task.train.inputs[: task.batch_size]
    return passes._captured(task, count, batch.unsqueeze(0).repeat_interleave(count, 0)) is not None


def assert_close(task, seed, ours, theirs, share=0.1):
    """Two trainings ended close by, against how far they went: rounding grows while they train."""
    went = theirs.cpu() - initial(task, seed).parameters.cpu()
    assert float((ours.cpu() - theirs.cpu()).norm()) < share * float(went.norm())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_graph_trains_as_operations_do(name, by_operations):
    """Replayed passes end where the operations one by one end, from rung to rung and for one network after another."""
    task = on_device(images(NETWORKS[name]), "cuda")
    assert can_be_captured(task)
    first = [advance(task, stack, [run], [None], 0, 4) for run in runs(3)]
    replayed = [advance(task, stack, [run], [one[0].state], 4, 8)[0] for run, one in zip(runs(3), first, strict=True)]
    by_operations()
    for run, one in zip(runs(3), replayed, strict=True):
        (plain,) = advance(task, stack, [run], [None], 0, 8)
        assert_close(task, run.seed, one.state.parameters, plain.state.parameters)


@pytest.mark.parametrize(("name", "count"), [("large", 1), ("products", 3)])
def test_compiled_passes_train_as_operations_do(name, count, by_operations):
    """Networks whose passes are compiled end where the operations one by one end."""
    task = on_device(images(NETWORKS[name], group=count, compiled=count), "cuda")
    batch = task.train.inputs[: task.batch_size].unsqueeze(0).repeat_interleave(count, 0)
    assert passes._recorded(task, count, batch, compiled=True) is not None
    ours = ends(task, runs(count), "cuda")
    by_operations()
    for run, one, other in zip(runs(count), ours, ends(task, runs(count), "cuda"), strict=True):
        assert_close(task, run.seed, one, other)


def test_tasks_take_turns_with_what_is_compiled_for_each():
    """A task that is gone on with after another, for which the compiler forgot it, trains as it did."""
    one, other = (on_device(images(NETWORKS["large"], compiled=1, steps=steps), "cuda") for steps in (16, 32))
    first, _, again = (advance(task, stack, runs(), [None], 0, 8)[0] for task in (one, other, one))
    assert_close(one, 0, again.state.parameters, first.state.parameters)


def test_what_cannot_be_compiled_is_recorded_as_it_is():
    """A network that a compiler gives up on is no reason to go without a graph."""

    class Odd(MLP):
        def forward(self, x):
            torch._dynamo.graph_break()
            return super().forward(x)

    generator = torch.Generator().manual_seed(1)
    flat = Split(torch.randn(64, 8, generator=generator), torch.randint(0, 3, (64,), generator=generator))
    task = Task("flat", 3, flat, flat, flat, lambda: Odd(8, 16, 3), steps=16, batch_size=16, compiled=1)
    task = on_device(task, "cuda")
    assert passes._recorded(task, 1, task.train.inputs[:16].unsqueeze(0), compiled=True) is None
    assert can_be_captured(task)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_gpu_trains_as_a_cpu_does(name):
    """In single precision a network ends where the CPU takes it, up to rounding that training makes larger."""
    task = images(NETWORKS[name])
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # which has fewer digits
        ours, theirs = (ends(task, runs(), device)[0] for device in ("cuda", "cpu"))
        other = ends(task, [Run(ProgramLoss(TEXTS[1]), 1.0, 0)], "cuda")[0]
    assert_close(task, 0, ours, theirs)
    with pytest.raises(AssertionError):  # another loss ends elsewhere
        assert_close(task, 0, other, theirs)


def test_networks_together_end_where_each_ends_alone():
    """Three networks of products in one graph, with losses, rates and seeds of their own, are each its own training."""
    task = on_device(images(NETWORKS["products"], group=3), "cuda")
    together = advance(task, stack, runs(3), [None] * 3, 0, 8)
    for k, run in enumerate(runs(3)):
        (alone,) = advance(task, stack, [run], [None], 0, 8)
        assert_close(task, run.seed, together[k].state.parameters, alone.state.parameters)


def test_half_precision_trains_and_answers():
    """In bfloat16 every network learns its few images better than chance."""
    for network in NETWORKS.values():
        task = on_device(images(network, bfloat16=True, steps=160, augment=None, compiled=1), "cuda")
        (found,) = advance(task, stack, runs(), [None], 0, 16)
        assert evaluate(task, [found.state], "heldout")[0].score.accuracy > 0.5


def test_flat_inputs_and_masks_train_from_graphs_too():
    """Networks of other kinds are captured as well: an MLP of many, and one that answers pixel by pixel."""
    generator = torch.Generator().manual_seed(1)
    flat = Split(torch.randn(64, 8, generator=generator), torch.randint(0, 3, (64,), generator=generator))
    plain = on_device(Task("flat", 3, flat, flat, flat, lambda: MLP(8, 16, 3), steps=16, batch_size=16), "cuda")
    assert can_be_captured(plain, 3)
    assert all(outcome.score for outcome in advance(plain, stack, runs(3), [None] * 3, 0, 16))
    pictures = torch.randint(0, 255, (16, 3, 32, 32), generator=generator, dtype=torch.uint8)
    masks = Split(pictures, torch.randint(0, 3, (16, 32, 32), generator=generator))
    task = Task("masks", 3, masks, masks, masks, lambda: EncoderDecoder(3, 3, (8, 8, 8)), steps=16, batch_size=4)
    task = on_device(replace(task, augment=flip_and_shift), "cuda")
    assert can_be_captured(task)
    assert advance(task, stack, runs(1), [None], 0, 16)[0].score is not None


def test_a_network_that_waits_for_the_gpu_trains_without_a_graph():
    """A network that reads a number in its forward pass cannot be recorded, and trains all the same."""

    class Waiting(MLP):
        def forward(self, x):
            return super().forward(x) * (1.0 if float(x.sum()) > 0 else 0.5)

    generator = torch.Generator().manual_seed(1)
    flat = Split(torch.randn(64, 8, generator=generator), torch.randint(0, 3, (64,), generator=generator))
    task = on_device(Task("flat", 3, flat, flat, flat, lambda: Waiting(8, 16, 3), steps=16, batch_size=16), "cuda")
    assert not can_be_captured(task)
    assert advance(task, stack, runs(1), [None], 0, 16)[0].score is not None


def test_an_augmentation_that_changes_the_type_is_what_is_trained_on(by_operations):
    """Images that become numbers with fractions on their way reach a recorded network as they are."""

    def brighter(inputs, targets, generator):
        return inputs / 255.0 + torch.rand(1, generator=generator).to(inputs.device), targets

    class Plain(MLP):
        def forward(self, x):
            return super().forward(x.flatten(1).float())  # what is scored is not changed on its way

    task = on_device(images(lambda: Plain(3072, 16, 4), augment=brighter), "cuda")
    (recorded,) = advance(task, stack, runs(), [None], 0, 8)
    by_operations()
    (plain,) = advance(task, stack, runs(), [None], 0, 8)
    assert_close(task, 0, recorded.state.parameters, plain.state.parameters)
