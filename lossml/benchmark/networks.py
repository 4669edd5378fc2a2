"""The networks of full training: torchvision's with random weights, and two small ones for machines without a GPU."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from lossml.benchmark.recipe import Training
from lossml.errors import UsageError
from lossml.proxy.networks import EncoderDecoder

MEAN, SPREAD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's pixels, in 0 to 255


class Normalised(nn.Module):
    """A network on images (B, 3, H, W) of uint8, normalised on the device that it computes on.

    Args:
        body: takes normalised images; gives logits, or a mapping with logits as "out".
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, body: nn.Module) -> None:
        """Keep the network."""
        super().__init__()
        self.body = body
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, C) or (B, C, H, W)."""
        pixels = (images.to(memory_format=torch.channels_last).float() - self.mean) / self.spread
        found = self.body(pixels)
        return found["out"] if isinstance(found, Mapping) else found


class SmallResNet(nn.Sequential):
    """A ResNet for small images (He et al. 2016, section 4.2): three stages of torchvision's basic blocks.

    Args:
        classes: number of classes.
        width: channels of the first stage; the others have twice and four times as many.
        depth: blocks of a stage; with 3 it is the paper's ResNet-20.
        stem: stride of the first convolution; 1 in the paper.
    """

    def __init__(self, classes: int, width: int, depth: int, stem: int) -> None:
        """Build the layers."""
        layers: list[nn.Module] = [
            nn.Conv2d(3, width, 3, stem, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        before = width
        for stage in range(3):
            for block in range(depth):
                after, stride = width * 2**stage, 2 if stage and not block else 1
                layers.append(_block(before, after, stride))
                before = after
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def _block(before: int, after: int, stride: int) -> nn.Module:
    from torchvision.models.resnet import BasicBlock

    beside = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
    return BasicBlock(before, after, stride, beside if before != after else None)


def _torchvision(name: str, **options: Any) -> Callable[[Training, int], nn.Module]:  # noqa: ANN401 - torchvision's own
    def make(_recipe: Training, classes: int) -> nn.Module:
        from torchvision import models

        return Normalised(models.get_model(name, weights=None, num_classes=classes, **options))

    return make


def _vit(name: str) -> Callable[[Training, int], nn.Module]:
    def make(recipe: Training, classes: int) -> nn.Module:
        height, width = recipe.size
        if height != width or height % 16:
            raise UsageError(f"size is {list(recipe.size)}; {name} takes squares whose side is a multiple of 16")
        return _torchvision(name, image_size=height)(recipe, classes)

    return make


def _inception(_recipe: Training, classes: int) -> nn.Module:
    from torchvision.models import Inception3

    return Normalised(Inception3(num_classes=classes, aux_logits=False, init_weights=False))


_BACKBONE = {"weights_backbone": None}
NETWORKS: Mapping[str, Callable[[Training, int], nn.Module]] = MappingProxyType(
    {
        "small-resnet": lambda r, classes: Normalised(SmallResNet(classes, r.width, r.depth, r.stem)),
        "resnet18": _torchvision("resnet18"),
        "resnet50": _torchvision("resnet50"),
        "inception_v3": _inception,
        "vit_b_16": _vit("vit_b_16"),
        "small-unet": lambda r, classes: EncoderDecoder(3, classes, (r.width, 2 * r.width, 4 * r.width)),
        "lraspp_mobilenet_v3_large": _torchvision("lraspp_mobilenet_v3_large", **_BACKBONE),
        "deeplabv3_resnet50": _torchvision("deeplabv3_resnet50", **_BACKBONE),
    }
)
SEGMENTING = frozenset({"small-unet", "lraspp_mobilenet_v3_large", "deeplabv3_resnet50"})


def check_network(recipe: Training, *, masks: bool) -> None:
    """Refuse a network that is not known or does not fit the data."""
    if recipe.network not in NETWORKS:
        raise UsageError(f"unknown network {recipe.network!r}; there are {', '.join(NETWORKS)}")
    if (recipe.network in SEGMENTING) != masks:
        fitting = [name for name in NETWORKS if (name in SEGMENTING) == masks]
        kind = "pixels of masks" if masks else "whole images"
        raise UsageError(
            f"{recipe.data} asks for classes of {kind}; {recipe.network} does not, {', '.join(fitting)} do"
        )


def build(recipe: Training, classes: int, seed: int) -> nn.Module:
    """Build a recipe's network; the seed decides its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[recipe.network](recipe, classes)
    return network.to(memory_format=torch.channels_last)
