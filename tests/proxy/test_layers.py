"""The proxy networks' own layers are torch's."""

from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from lossml.proxy import layers
from lossml.proxy.layers import Convolution, NormalisedRelu

PRECISIONS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
SHAPES = [(32, 16, 9), (7, 5, 3), (2, 300, 1), (128, 64, 4)]  # images, channels and side


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    found = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2 + 0.5
    return found.to(dtype).to(memory_format=torch.channels_last).requires_grad_()


def norms(channels: int) -> tuple[NormalisedRelu, nn.Sequential]:
    ours, plain = NormalisedRelu(channels), nn.BatchNorm2d(channels)
    with torch.no_grad():
        for k, part in enumerate([*ours.parameters(), *list(ours.buffers())[:2]]):
            part.uniform_(0.5 if k == 3 else -1.0, 1.5, generator=torch.Generator().manual_seed(k))
    plain.load_state_dict(ours.state_dict())
    return ours, nn.Sequential(plain, nn.ReLU())


def close(found, expected, tolerance):
    """Compare by the largest number of all, as bfloat16 rounds what lies between, too."""
    scale = float(expected.detach().abs().max().clamp_min(1e-6))
    torch.testing.assert_close(found.double() / scale, expected.double() / scale, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_normalisation_is_torchs(shape, dtype, training):
    """Values, three gradients and running statistics are those of BatchNorm2d in double precision with a ReLU."""
    count, channels, side = shape
    ours, plain = norms(channels)
    ours.train(training)
    plain.train(training).double()
    x = images(count, channels, side, side, dtype=dtype)
    exact = x.detach().double().requires_grad_()
    slope = images(count, channels, side, side, seed=1, dtype=dtype).detach()
    found, expected = ours(x), plain(exact)
    found.backward(slope)
    expected.backward(slope.double())
    assert found.dtype == dtype
    assert torch.equal(found > 0, expected > 0) or dtype == torch.float32
    close(found, expected, PRECISIONS[dtype])
    close(x.grad, exact.grad, PRECISIONS[dtype])
    for one, other in zip([*ours.parameters()], [*plain.parameters()], strict=True):
        close(one.grad, other.grad, 1e-4)
    for one, other in zip(ours.buffers(), plain.buffers(), strict=True):
        close(one, other, 1e-5)


@pytest.mark.parametrize("side", [4, 5, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_is_torchs(stride, side):
    """Values are torch's to the bit, and both gradients are those in double precision, rounded."""
    convolution = Convolution(32, 24, stride)
    x = images(6, 32, side, side, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), patch.object(layers, "_patches", wraps=layers._patches) as written:
        found = convolution(x)
        slope = images(*found.shape, seed=1, dtype=torch.bfloat16).detach()
        found.backward(slope)
    assert written.call_count == 1
    weight = convolution.weight.detach().bfloat16()
    assert torch.equal(found, nn.functional.conv2d(x, weight, stride=stride, padding=1))
    exact, own = x.detach().double().requires_grad_(), weight.double().requires_grad_()
    nn.functional.conv2d(exact, own, stride=stride, padding=1).backward(slope.double())
    close(x.grad, exact.grad, PRECISIONS[torch.bfloat16])
    close(convolution.weight.grad, own.grad, PRECISIONS[torch.bfloat16])


@pytest.mark.parametrize("training", [True, False])
def test_networks_side_by_side_are_each_alone(training):
    """Under `vmap` three layers give each its own values, gradients and statistics, to the bit."""
    layer = nn.Sequential(Convolution(32, 8, 2), NormalisedRelu(8)).train(training)
    names = [name for name, _ in layer.named_parameters()]

    def fresh() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        weights = {name: torch.randn(3, *part.shape).requires_grad_() for name, part in layer.named_parameters()}
        return weights, {name: torch.stack([part + 1] * 3) for name, part in layer.named_buffers()}

    x = torch.stack([images(4, 32, 6, 6, seed=k).detach() for k in range(3)])
    with torch.autocast("cpu", torch.bfloat16):
        x = x.bfloat16()
        weights, buffers = fresh()
        together = vmap(lambda p, b, one: functional_call(layer, (p, b), (one,)))(weights, buffers, x)
        alone_weights, alone_buffers = fresh()
        alone = torch.stack(
            [
                functional_call(layer, {n: t[k] for n, t in (*alone_weights.items(), *alone_buffers.items())}, (x[k],))
                for k in range(3)
            ]
        )
    for one in (together, alone):
        one.float().square().sum().backward()
    assert torch.equal(together, alone)
    for name in names:
        torch.testing.assert_close(weights[name].grad, alone_weights[name].grad, rtol=0, atol=0, msg=name)
    for name, buffer in buffers.items():
        assert torch.equal(buffer, alone_buffers[name]), name


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(bad):
    """One bad pixel makes its channel no number, and only that."""
    x = images(4, 3, 5, 5).detach()
    x[1, 2, 0, 0] = bad
    for dtype in PRECISIONS:
        found = NormalisedRelu(3)(x.to(dtype))
        assert found[:, :2].isfinite().all()
        assert found[:, 2].isnan().all()


def test_other_layouts_and_compilers_are_taken():
    """Images channels first give the same, and a compiled layer is torch's own."""
    ours, _ = norms(8)
    x = images(4, 8, 5, 5).detach()
    torch.testing.assert_close(ours(x.contiguous()), ours(x))
    compiled = torch.compile(ours, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), ours(x))
