"""Losses to distil, as a user writes them."""

import pytest

OWN = """
import torch
from torch import nn
from torch.nn import functional as F


class Focal(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("gamma", torch.tensor(2.0))

    def forward(self, logits, target):
        logp = F.log_softmax(logits, 1).gather(1, target[:, None])[:, 0]
        return -((1 - logp.exp()) ** self.gamma * logp).mean()


def smoothed(logits, target):
    return F.cross_entropy(logits, target, label_smoothing=0.1)


def per_sample(logits, target):
    return 3.0 * F.cross_entropy(logits, target, reduction="none")


weighted = nn.CrossEntropyLoss(weight=torch.ones(10, dtype=torch.float32))


class NeedsGamma(nn.Module):
    def __init__(self, gamma):
        super().__init__()


def noisy(logits, target):
    return F.cross_entropy(logits + torch.randn_like(logits), target)


def detached(logits, target):
    return F.cross_entropy(logits, target).item()


def broken(logits, target):
    return F.cross_entropy(logits, target.float()[:3])


def flat(logits, target):
    return (logits - logits).sum()


def infinite(logits, target):
    return (logits.sum() * 0.0).sqrt()


number = 3
"""


@pytest.fixture
def own(own_module):
    """The name of a module of losses that lies in the folder where lossml runs."""
    return own_module("own_losses", OWN)
