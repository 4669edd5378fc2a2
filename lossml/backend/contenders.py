"""Losses that no program of the language and no kept library has, as small modules: contenders beside programs.

Each takes logits (B, C, *pixels) in float32 and class numbers (B, *pixels) in which IGNORED does not count, and gives a
scalar, zero where nothing counts.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lossml.backend.weighting import IGNORED

SURE = 0.7  # of the right class: what is answered with less is hard (mmsegmentation's and torchvision users' threshold)
FEWEST = 16  # one in so many is kept, however easy
ROUNDS = 30  # of the fixed-point iteration for the tempered normalisation
BOUNDARY = 0.01  # weight of the boundary term, the paper's first


class HardestCrossEntropy(nn.Module):
    """The mean cross-entropy of the hard samples or pixels, and of at least a sixteenth of all that count.

    Hard is what gets a probability below 0.7 for its right class (Shrivastava et al. 2016; Wu et al. 2016).
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        each = functional.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")[target != IGNORED]
        if not len(each):
            return logits.sum() * 0.0
        fewest = max(1, len(each) // FEWEST)
        hard = each[each > -torch.tensor(SURE, device=each.device).log()]
        return hard.mean() if len(hard) >= fewest else each.topk(fewest).values.mean()


class BiTempered(nn.Module):
    """The bi-tempered logistic loss (Amid et al. 2019): bounded for t1 < 1, with heavy tails for t2 > 1.

    Args:
        t1: temperature of the logarithm, below 1.
        t2: temperature of the exponential, above 1.
    """

    def __init__(self, t1: float = 0.8, t2: float = 1.2) -> None:
        """Keep the temperatures."""
        super().__init__()
        self.t1, self.t2 = t1, t2

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        counts = target != IGNORED
        scores, classes = logits.movedim(1, -1)[counts], target[counts]
        if not len(classes):
            return logits.sum() * 0.0
        p = self._probabilities(scores)
        right = p.gather(1, classes.unsqueeze(1)).squeeze(1)
        bregman = -self._logarithm(right) - (1.0 - p.pow(2.0 - self.t1).sum(1)) / (2.0 - self.t1)
        return bregman.mean()

    def _logarithm(self, p: Tensor) -> Tensor:
        return (p.clamp_min(torch.finfo(p.dtype).tiny).pow(1.0 - self.t1) - 1.0) / (1.0 - self.t1)

    def _exponential(self, x: Tensor) -> Tensor:
        return (1.0 + (1.0 - self.t2) * x).clamp_min(0.0).pow(1.0 / (1.0 - self.t2))

    def _probabilities(self, scores: Tensor) -> Tensor:
        """Return the tempered softmax. Its normaliser is found without gradient, and one more step gives it one."""
        with torch.no_grad():
            shift = self._normaliser(scores)
        # d shift / d score of class k is the escort probability: the derivative of sum_k exp_t2(score - shift) = 1.
        escort = self._exponential(scores - shift).detach().pow(self.t2)
        escort = escort / escort.sum(1, keepdim=True)
        linear = (escort * scores).sum(1, keepdim=True)
        return self._exponential(scores - (shift + linear - linear.detach()))

    def _normaliser(self, scores: Tensor) -> Tensor:
        """Iterate the paper's algorithm 1 to the fixed point."""
        top = scores.max(1, keepdim=True).values
        first = scores - top
        now = first
        total = torch.ones_like(top)
        for _ in range(ROUNDS):
            total = self._exponential(now).sum(1, keepdim=True)
            now = first * total.pow(1.0 - self.t2)
        total = self._exponential(now).sum(1, keepdim=True)
        return -((1.0 / total).pow(1.0 - self.t2) - 1.0) / (1.0 - self.t2) + top


class BoundaryCrossEntropy(nn.Module):
    """Cross-entropy plus a little of the boundary loss (Kervadec et al. 2019).

    The boundary loss is the mean over pixels that count, summed over the classes of the image, of the class's
    probability times the signed distance to the class's boundary in pixels, negative within.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        counts = target != IGNORED
        if not bool(counts.any()):
            return logits.sum() * 0.0
        distance = signed_distances(target, logits.shape[1]).to(logits)
        boundary = (logits.softmax(1) * distance).sum(1)[counts].mean()
        return functional.cross_entropy(logits, target, ignore_index=IGNORED) + BOUNDARY * boundary


def signed_distances(target: Tensor, classes: int) -> Tensor:
    """Return each class's signed distances (B, C, *pixels) of class numbers (B, *pixels); 0 for one without a boundary.

    As in the authors' code: outside the distance to the class, inside minus the distance to the rest, less one.
    """
    from scipy.ndimage import distance_transform_edt  # noqa: PLC0415 - only this loss needs it

    pictures = target.detach().cpu().numpy()
    found = np.zeros((len(pictures), classes, *pictures.shape[1:]), dtype=np.float32)
    for k, picture in enumerate(pictures):
        for c in range(classes):
            inside = picture == c
            if inside.any() and not inside.all():
                far, near = (np.asarray(distance_transform_edt(part)) for part in (~inside, inside))
                found[k, c] = far - (near - 1) * inside
    return torch.from_numpy(found)
