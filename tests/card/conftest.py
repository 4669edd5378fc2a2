"""PyTorch losses to describe, as a user writes them."""

import pytest

OWN = """
import torch
from torch import nn
from torch.nn import functional as F


class Focal(nn.Module):
    def forward(self, logits, target):
        logp = F.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
        return -((1 - logp.exp()) ** 2 * logp).mean()


def smoothed(logits, target):
    return F.cross_entropy(logits, target, label_smoothing=0.31)


def looks_at_values(logits, target):
    return F.cross_entropy(logits, target) if logits.sum().item() < 1e9 else logits.sum()


hinge = nn.MultiMarginLoss()
weighted = nn.CrossEntropyLoss(weight=torch.arange(1.0, 11.0))


def noisy(logits, target):
    return F.cross_entropy(logits + torch.randn_like(logits), target)


def detached(logits, target):
    return F.cross_entropy(logits, target).item()
"""


@pytest.fixture
def own(own_module):
    """The name of a module of losses that lies in the folder where lossml runs."""
    return own_module("card_losses", OWN)
