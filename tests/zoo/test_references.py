"""Every loss of the zoo equals an independent reference in value and logit gradient."""

import math
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lossml import zoo
from lossml.backend import ProgramLoss
from lossml.program import operations

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of foreign libraries at import, nothing else
    import monai.losses as monai
    import segmentation_models_pytorch.losses as smp
    from timm.loss import AsymmetricLossSingleLabel
    from torchvision.ops import sigmoid_focal_loss

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
REVERSE = -math.log(1e-4)


def prior_of(classes):
    shares = torch.arange(1.0, classes + 1, dtype=torch.float64)
    return shares / shares.sum()


def onehot(logits, target):
    return F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)


def per_sample(write):
    """Make a reference of a function of one sample: its probabilities (C,) and the number of its class."""

    def reference(logits, target):
        rows = [write(row.softmax(0), int(label)) for row, label in zip(logits, target, strict=True)]
        return torch.stack(rows).mean()

    return reference


def others(p, t):
    return [k for k in range(len(p)) if k != t]


@per_sample
def focal(p, t):
    return -((1 - p[t]) ** 2) * p[t].log()


@per_sample
def taylor(p, t):
    return (1 - p[t]) + (1 - p[t]) ** 2 / 2


@per_sample
def symmetric(p, t):
    return -0.1 * p[t].log() + sum(p[k] * REVERSE for k in others(p, t))


@per_sample
def generalised(p, t):
    return (1 - p[t] ** 0.7) / 0.7


@per_sample
def normalised_and_reverse(p, t):
    return p[t].log() / sum(p[k].log() for k in range(len(p))) + sum(p[k] * REVERSE for k in others(p, t))


@per_sample
def sparse_smoothing(p, t):
    """Label smoothing of a distribution whose other classes are equal."""
    flat = torch.stack([p[t] if k == t else (1 - p[t]) / (len(p) - 1) for k in range(len(p))])
    smooth = [0.9 * (k == t) + 0.1 / len(p) for k in range(len(p))]
    return -sum(share * flat[k].log() for k, share in enumerate(smooth))


@per_sample
def ngl(p, t):
    terms = [torch.exp(2.4092 - p[k] * (1 + (k == t))) - torch.cos(torch.cos(torch.sin(p[k]))) for k in range(len(p))]
    return sum(terms) / len(p)


@per_sample
def ngl_of_sigmoids(p, t):
    q = p.sigmoid()
    terms = [torch.exp(2.4092 - q[k] - q[k] * (k == t)) - torch.cos(torch.cos(torch.sin(q[k]))) for k in range(len(p))]
    return sum(terms) / len(p)


@per_sample
def baikal(p, t):
    return -sum(p[k].log() - (k == t) / p[k] for k in range(len(p))) / len(p)


@per_sample
def baikal_cma(p, t):
    ratios = [-1.1135 * 1.3716 * (k == t) / (-0.8411 * p[k]) for k in range(len(p))]
    terms = [0.9863 * torch.log(1.5352 * p[k]) - ratios[k] for k in range(len(p))]
    return -2.7279 * sum(terms) / len(p)


def poly1(logits, target):
    return F.cross_entropy(logits, target) + (1 - logits.softmax(1).gather(1, target[:, None])).mean()


def mean_absolute(logits, target):
    return F.l1_loss(logits.softmax(1), onehot(logits, target), reduction="sum") / 2 / len(logits)


def brier(logits, target):
    return F.mse_loss(logits.softmax(1), onehot(logits, target), reduction="sum") / len(logits)


def confidence_penalty(logits, target):
    entropy = torch.distributions.Categorical(logits=logits, validate_args=False).entropy()
    return F.cross_entropy(logits, target) - 0.1 * entropy.mean()


def logit_adjustment(logits, target):
    return F.cross_entropy(logits + prior_of(logits.shape[1]).to(logits).log(), target)


def balanced_softmax(logits, target):
    """Ren et al. (2020), as released: class counts, not shares, are added in the logarithm."""
    counts = torch.arange(1.0, logits.shape[1] + 1).double() * 10
    return F.cross_entropy(logits + counts.to(logits).log(), target)


def balanced(logits, target):
    weight = 1 / (logits.shape[1] * prior_of(logits.shape[1]).to(logits))
    return F.cross_entropy(logits, target, weight=weight, reduction="sum") / len(logits)


def margins(logits, target, largest=0.5, scale=30.0):
    """LDAM as released: from class counts, the margin subtracted from the true class's logit alone."""
    counts = torch.arange(1.0, logits.shape[1] + 1).double() * 10
    each = 1 / counts.sqrt().sqrt()
    each = (each * (largest / each.max())).to(logits)
    shifted = logits - each[target][:, None] * onehot(logits, target)
    return F.cross_entropy(scale * shifted, target)


def label_smoothing(logits, target):
    return F.cross_entropy(logits, target, label_smoothing=0.1)


def ganetic(logits, target):
    s = logits.sigmoid()
    inner = 3.985 * target / (s + 1e-6).sum() + 1e-6
    return (s**3 + inner.sqrt()).mean()


def counts(logits, target):
    """Yield true positives, false positives and false negatives of each class, counted one class at a time."""
    p, y = logits.softmax(1), onehot(logits, target)
    for k in range(logits.shape[1]):
        yield (p[:, k] * y[:, k]).sum(), (p[:, k] * (1 - y[:, k])).sum(), ((1 - p[:, k]) * y[:, k]).sum()


def generalised_dice(logits, target):
    found = [((tp + fn + 1) ** -2, tp, fp, fn) for tp, fp, fn in counts(logits, target)]
    above = 2 * sum(weight * tp for weight, tp, _, _ in found)
    return 1 - above / sum(weight * (2 * tp + fp + fn) for weight, tp, fp, fn in found)


def focal_tversky(logits, target):
    found = [1 - (tp + 1) / (tp + 0.3 * fp + 0.7 * fn + 1) for tp, fp, fn in counts(logits, target)]
    return sum(one**0.75 for one in found) / len(found)


def pixelwise(logits, target, power):
    """Focal cross-entropy of each pixel, averaged over them."""
    log_pt = logits.log_softmax(1).gather(1, target.unsqueeze(1))
    return (-((1 - log_pt.exp()) ** power) * log_pt).mean()


def unified_focal(logits, target):
    found = [1 - (tp + 1) / (tp + 0.4 * fp + 0.6 * fn + 1) for tp, fp, fn in counts(logits, target)]
    overlap = sum(one**0.5 for one in found) / len(found)
    return 0.5 * 0.6 * pixelwise(logits, target, 0.5) + 0.5 * overlap


def dice(logits, target):
    return smp.DiceLoss("multiclass", smooth=0.5)(logits, target)  # smp's ratio is of halves, so its smooth is too


REFERENCES = {
    "ce": F.cross_entropy,
    "label-smoothing": label_smoothing,
    "focal": focal,
    "poly1": poly1,
    "taylor-ce": taylor,
    "sce": symmetric,
    "gce": generalised,
    "mae": mean_absolute,
    "nce+rce": normalised_and_reverse,
    "brier": brier,
    "confidence-penalty": confidence_penalty,
    "asl": AsymmetricLossSingleLabel(gamma_pos=1, gamma_neg=4, eps=0.1),
    "logit-adjustment": logit_adjustment,
    "balanced-ce": balanced,
    "ldam": margins,
    "sparse-lsr": sparse_smoothing,
    "ngl": ngl,
    "ngl-tf": ngl_of_sigmoids,
    "baikal": baikal,
    "baikal-cma": baikal_cma,
    "bce": F.binary_cross_entropy_with_logits,
    "ganetic": ganetic,
    "dice": dice,
    "generalised-dice": generalised_dice,
    "jaccard": smp.JaccardLoss("multiclass", smooth=1.0),
    "tversky": smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, smooth=1.0),
    "focal-tversky": focal_tversky,
    "log-cosh-dice": lambda logits, target: dice(logits, target).cosh().log(),
    "dice+ce": lambda logits, target: dice(logits, target) + F.cross_entropy(logits, target),
    "dice+focal": lambda logits, target: dice(logits, target) + pixelwise(logits, target, 2.0),
    "unified-focal": unified_focal,
}


def batch(kind, classes, seed=0):
    """Logits and targets for a kind of task; in segmentation every class is there, as smp leaves absent ones out."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, classes, 12, 10) if kind == "segmentation" else (8, classes)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "multi-label":
        return logits, torch.randint(0, 2, shape, generator=generator).double()
    samples = logits[:, 0].numel()
    target = torch.randperm(samples, generator=generator) % classes
    return logits, target.view(logits[:, 0].shape)


def reads_prior(call):
    return "pi" in operations(zoo.program_of(call))


def value_and_gradient(loss, logits, target, dtype):
    leaf = logits.to(dtype).requires_grad_()
    value = loss(leaf, target.to(dtype) if target.is_floating_point() else target)
    return value.detach().double(), torch.autograd.grad(value, leaf)[0].double()


def assert_equal(ours, reference, logits, target, dtype):
    found = value_and_gradient(ours, logits, target, dtype)
    exact = value_and_gradient(reference, logits, target, torch.float64)
    for mine, theirs in zip(found, exact, strict=True):
        size = max(1.0, float(theirs.abs().max()))
        torch.testing.assert_close(mine, theirs, rtol=0.0, atol=TOLERANCE[dtype] * size)


def test_every_loss_has_a_reference():
    """A loss cannot be added without something independent to compare it with."""
    assert set(REFERENCES) == set(zoo.names())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("name", REFERENCES)
def test_a_loss_equals_its_reference(name, classes, dtype):
    """Value and logit gradient agree to 1e-5 in float32 and 1e-10 in float64, at 2, 10 and 100 classes."""
    logits, target = batch(zoo.entry(name).kind, classes)
    prior = prior_of(classes) if reads_prior(name) else None
    assert_equal(ProgramLoss(zoo.program_of(name), prior=prior), REFERENCES[name], logits, target, dtype)


def torchvision_focal(logits, target):
    return sigmoid_focal_loss(logits[:, 1] - logits[:, 0], target.double(), alpha=-1, gamma=1.5, reduction="mean")


def monai_overlap(make, **options):
    return make(to_onehot_y=True, softmax=True, batch=True, **options)


@pytest.mark.parametrize(
    ("call", "classes", "kind", "reference"),
    [
        ("focal(gamma=1.5)", 2, "classification", torchvision_focal),
        ("focal(gamma=0)", 10, "classification", F.cross_entropy),
        ("label-smoothing(epsilon=0)", 10, "classification", F.cross_entropy),
        ("taylor-ce(order=1)", 10, "classification", mean_absolute),
        ("gce(q=1)", 10, "classification", mean_absolute),
        ("sce(alpha=1,beta=0)", 10, "classification", F.cross_entropy),
        ("poly1(epsilon=0)", 10, "classification", F.cross_entropy),
        ("asl(gamma_pos=0,gamma_neg=0,epsilon=0.1)", 10, "classification", label_smoothing),
        ("logit-adjustment(tau=0)", 10, "classification", F.cross_entropy),
        ("logit-adjustment", 10, "classification", balanced_softmax),
        ("ldam(margin=0,scale=1)", 10, "classification", F.cross_entropy),
        ("ldam(margin=0.8,scale=2)", 10, "classification", partial(margins, largest=0.8, scale=2.0)),
        ("dice", 10, "segmentation", monai_overlap(monai.DiceLoss, smooth_nr=1.0, smooth_dr=1.0)),
        ("jaccard", 10, "segmentation", monai_overlap(monai.DiceLoss, jaccard=True, smooth_nr=2.0, smooth_dr=2.0)),
        ("tversky(alpha=0.5,beta=0.5,smooth=0.5)", 10, "segmentation", dice),
        (
            "tversky(alpha=0.2,beta=0.9)",
            10,
            "segmentation",
            monai_overlap(monai.TverskyLoss, alpha=0.2, beta=0.9, smooth_nr=1.0, smooth_dr=1.0),
        ),
        ("dice+ce(weight=0)", 10, "segmentation", F.cross_entropy),
    ],
)
def test_parameters_mean_what_their_authors_say(call, classes, kind, reference):
    """With other parameters the losses meet other references, and each other where one contains the other."""
    logits, target = batch(kind, classes, seed=1)
    channel = isinstance(reference, nn.Module)  # MONAI wants a class axis of length one
    prior = prior_of(classes) if reads_prior(call) else None

    def theirs(leaf, labels):
        return reference(leaf, labels.unsqueeze(1) if channel else labels)

    assert_equal(ProgramLoss(zoo.program_of(call), prior=prior), theirs, logits, target, torch.float64)
