"""Logits and labels that a card looks at, for losses of single samples and of whole images alike.

Where samples share one loss (Dice), a sample alone means nothing. A hard label then stands for an
image in which every class has equally many pixels and each pixel gets the same answer relative to
its own class; labels in shares stand for an image whose pixels all get one answer.
"""

import torch
from torch import Tensor

from lossml.card.subject import Subject
from lossml.program import Axes

UNITS = 64  # least pixels of an image in which every class is met
ROUNDING = 1e-13  # of a sum over the classes, relative to its terms
SHARED = 50  # pixels of an image that gets one answer: a tenth is a whole number of them


def flat(values: Tensor) -> bool:
    """Say whether values differ by rounding alone."""
    known = values.detach()[values.isfinite()].double()
    return len(known) > 0 and float(known.max() - known.min()) <= ROUNDING * (1.0 + float(known.abs().max()))


def hard(subject: Subject, logits: Tensor) -> Tensor:
    """Evaluate the loss (K,) at logits (K, C) whose first class is the true one."""
    classes = logits.shape[1]
    if not subject.coupled:
        return subject.value(logits.view(-1, 1, classes, 1), torch.zeros(len(logits), 1, 1, dtype=torch.long))
    labels = torch.arange(classes).repeat(max(1, UNITS // classes))
    seen = (torch.arange(classes) - labels.unsqueeze(1)) % classes
    return together(subject, logits[:, seen], labels.expand(len(logits), -1))


def together(subject: Subject, logits: Tensor, labels: Tensor) -> Tensor:
    """Evaluate scenes (K,) of N samples: logits (K, N, C), labels (K, N)."""
    if subject.coupled is Axes.PIXEL:
        return subject.value(logits.transpose(1, 2).unsqueeze(1), labels.unsqueeze(1))
    return subject.value(logits.unsqueeze(-1), labels.unsqueeze(-1))


def slopes(subject: Subject, logits: Tensor) -> Tensor:
    """Take the gradient (K, C) of `hard`, one sample's gradient, in the precision of the logits."""
    leaf = logits.clone().requires_grad_()
    with torch.enable_grad():
        value = hard(subject, leaf)
    return _gradient(value, leaf)


def _gradient(value: Tensor, leaf: Tensor) -> Tensor:
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True, materialize_grads=True)
    return found


def by_label(subject: Subject, logits: Tensor) -> Tensor:
    """Evaluate a loss of single samples with each class as the label: logits (..., C) to losses (..., C)."""
    classes = logits.shape[-1]
    every = logits.unsqueeze(-2).expand(*logits.shape, classes).reshape(-1, 1, classes, 1)
    labels = torch.arange(classes).repeat(len(every) // classes).view(-1, 1, 1)
    return subject.value(every, labels).view(logits.shape)


def label_slopes(subject: Subject, logits: Tensor) -> Tensor:
    """Take the gradient (S, C, C) of the losses of single samples (S, C) with each class as the label."""
    classes = logits.shape[1]
    leaf = logits.repeat_interleave(classes, 0).requires_grad_()
    labels = torch.arange(classes).repeat(len(logits)).view(-1, 1, 1)
    with torch.enable_grad():
        value = subject.value(leaf.view(-1, 1, classes, 1), labels)
    return _gradient(value, leaf).view(-1, classes, classes)


def risk(subject: Subject, logits: Tensor, shares: Tensor) -> Tensor:
    """Evaluate the expected loss (M, P) of answers (M or 1, P, C) to labels in shares (M, C), tenths each."""
    if not subject.coupled:
        return (by_label(subject, logits) * shares.unsqueeze(1)).sum(-1)
    many = logits.expand(len(shares), -1, -1)
    counts = (SHARED * shares).round().long()
    labels = torch.stack([torch.arange(shares.shape[1]).repeat_interleave(row) for row in counts])
    scenes = many.unsqueeze(2).expand(-1, -1, SHARED, -1).flatten(0, 1)
    return together(subject, scenes, labels.repeat_interleave(many.shape[1], 0)).view(many.shape[:2])


def risk_slopes(subject: Subject, logits: Tensor, shares: Tensor) -> Tensor:
    """Take the gradient (M, C) of the expected loss of one answer (M, C) to each of M label shares."""
    leaf = logits.clone().requires_grad_()
    with torch.enable_grad():
        value = risk(subject, leaf.unsqueeze(1), shares)
    return _gradient(value, leaf)


def answer(subject: Subject, logits: Tensor) -> Tensor:
    """Turn logits (..., C) into what the loss takes for the answer."""
    return logits.sigmoid() if subject.link == "sigmoid" else logits.softmax(-1)


def logits_of(subject: Subject, shares: Tensor) -> Tensor:
    """Turn an answer (..., C) into logits."""
    return shares.logit() if subject.link == "sigmoid" else shares.log()
