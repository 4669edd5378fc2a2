"""Losses for one class per sample, and for several (multi-label)."""

import math
from collections.abc import Mapping

from lossml.zoo.entry import Entry, Parameter

REVERSE_CLIP = repr(-math.log(1e-4))  # log 0 is taken as log 1e-4 in reverse cross-entropy
_EPSILON = Parameter(0.1, 0.0, 1.0)


# LDAM's margins: largest for the rarest class, as the fourth root of its share; max_C(logp) only keeps exp in range.
_MARGIN = "{margin}*pi^(-0.25)/max_C(pi^(-0.25))"
_LDAM = (
    f"log(sum_C(exp({{scale}}*(logp - max_C(logp) - y*({_MARGIN})))))"
    f" - {{scale}}*sum_C(y*(logp - max_C(logp) - {_MARGIN}))"
)


def _taylor(numbers: Mapping[str, float]) -> str:
    terms = [f"(1 - p)^{j}/{j}" for j in range(2, int(numbers["order"]) + 1)]
    return f"sum_C(y*({' + '.join(['1 - p', *terms])}))"


CLASSIFICATION = (
    Entry(
        "ce",
        "Cross-entropy",
        "classification",
        "Good (1952), Rational decisions, J. R. Stat. Soc. B",
        "negative log-likelihood of the target",
        "-sum_C(y*logp)",
    ),
    Entry(
        "label-smoothing",
        "Cross-entropy with label smoothing",
        "classification",
        "Szegedy et al. (2016), arXiv:1512.00567",
        "cross-entropy with a share epsilon of the target spread over all classes",
        "-sum_C((y*(1 - {epsilon}) + {epsilon}/C)*logp)",
        {"epsilon": _EPSILON},
    ),
    Entry(
        "focal",
        "Focal loss",
        "classification",
        "Lin et al. (2017), arXiv:1708.02002",
        "cross-entropy that looks away from samples already right",
        "-sum_C(y*(1 - p)^{gamma}*logp)",
        {"gamma": Parameter(2.0, 0.0, 20.0)},
    ),
    Entry(
        "poly1",
        "Poly-1",
        "classification",
        "Leng et al. (2022), arXiv:2204.12511",
        "cross-entropy with another weight on its first polynomial term",
        "sum_C(y*({epsilon}*(1 - p) - logp))",
        {"epsilon": Parameter(1.0, -1.0, 100.0)},
    ),
    Entry(
        "taylor-ce",
        "Taylor cross-entropy",
        "classification",
        "Feng et al. (2020), IJCAI, Can cross entropy loss be robust to label noise?",
        "the first terms of cross-entropy's Taylor series: between MAE and cross-entropy",
        _taylor,
        {"order": Parameter(2.0, 1.0, 12.0, whole=True)},
    ),
    Entry(
        "sce",
        "Symmetric cross-entropy",
        "classification",
        "Wang et al. (2019), arXiv:1908.06112",
        "cross-entropy plus reverse cross-entropy, for noisy labels",
        f"sum_C(y*({REVERSE_CLIP}*{{beta}}*(1 - p) - {{alpha}}*logp))",
        {"alpha": Parameter(0.1), "beta": Parameter(1.0)},
    ),
    Entry(
        "gce",
        "Generalised cross-entropy",
        "classification",
        "Zhang, Sabuncu (2018), arXiv:1805.07836",
        "between cross-entropy (q to 0) and MAE (q = 1), for noisy labels",
        "sum_C(y*(1 - p^{q})/{q})",
        {"q": Parameter(0.7, 1e-3, 1.0)},
    ),
    Entry(
        "mae",
        "Mean absolute error",
        "classification",
        "Ghosh et al. (2017), arXiv:1712.09482",
        "1 - p of the target: symmetric, so tolerant of label noise, and slow",
        "sum_C(y*(1 - p))",
    ),
    Entry(
        "nce+rce",
        "Normalised cross-entropy with reverse cross-entropy",
        "classification",
        "Ma et al. (2020), arXiv:2006.13554",
        "active passive loss: both parts are symmetric, for noisy labels",
        f"{{alpha}}*sum_C(y*logp)/sum_C(logp) + {{beta}}*{REVERSE_CLIP}*(1 - sum_C(y*p))",
        {"alpha": Parameter(1.0), "beta": Parameter(1.0)},
    ),
    Entry(
        "brier",
        "Brier score",
        "classification",
        "Brier (1950), Monthly Weather Review",
        "squared error of the probabilities: proper and bounded",
        "sum_C((p - y)^2)",
    ),
    Entry(
        "confidence-penalty",
        "Cross-entropy with confidence penalty",
        "classification",
        "Pereyra et al. (2017), arXiv:1701.06548",
        "cross-entropy minus beta times the entropy of the answer",
        "sum_C({beta}*p*logp - y*logp)",
        {"beta": Parameter(0.1)},
    ),
    Entry(
        "asl",
        "Asymmetric loss, single label",
        "classification",
        "Ridnik et al. (2021), arXiv:2009.14119",
        "focal weights that differ for the true class and the others, with label smoothing",
        "-sum_C((y*(1 - {epsilon}) + {epsilon}/C)*(y*(1 - p)^{gamma_pos} + (1 - y)*p^{gamma_neg})*logp)",
        {
            "gamma_pos": Parameter(1.0, 0.0, 20.0),
            "gamma_neg": Parameter(4.0, 0.0, 20.0),
            "epsilon": _EPSILON,
        },
    ),
    Entry(
        "logit-adjustment",
        "Logit-adjusted cross-entropy",
        "classification",
        "Menon et al. (2021), arXiv:2007.07314",
        "cross-entropy on logits shifted by the log prior, for long tails; needs prior=",
        "log(sum_C(p*pi^{tau})) - sum_C(y*(logp + {tau}*log(pi)))",
        {"tau": Parameter(1.0)},
    ),
    Entry(
        "balanced-ce",
        "Class-balanced cross-entropy",
        "classification",
        "King, Zeng (2001), Logistic regression in rare events data, Political Analysis",
        "cross-entropy with every class weighted by one over its share, for long tails; needs prior=",
        "-sum_C(y*logp/pi)/C",
    ),
    Entry(
        "ldam",
        "Label-distribution-aware margin loss",
        "classification",
        "Cao et al. (2019), arXiv:1906.07413",
        "cross-entropy that asks a larger margin of rarer classes, for long tails; needs prior=",
        _LDAM,
        {"margin": Parameter(0.5), "scale": Parameter(30.0, 1e-3, 1e3)},
    ),
    Entry(
        "sparse-lsr",
        "Sparse label smoothing regularisation",
        "classification",
        "Raymond et al. (2023), arXiv:2209.08907",
        "label smoothing as if the other classes shared equally what the true one leaves",
        # By this meaning the second term is subtracted; the authors' released code adds it, which rewards p = 1 without
        # bound and smooths nothing.
        "-sum_C(y*((1 - {epsilon} + {epsilon}/C)*logp + {epsilon}*(C - 1)/C*(log1mp - log(C - 1))))",
        {"epsilon": _EPSILON},
    ),
    Entry(
        "ngl",
        "Next generation loss",
        "classification",
        "Akhmedova, Körber (2024), arXiv:2404.12948",
        "found by genetic programming; averaged over the classes",
        "mean_C(exp({alpha} - p*(1 + y)) - cos(cos(sin(p))))",
        {"alpha": Parameter(2.4092, -20.0, 20.0)},
    ),
    Entry(
        "ngl-tf",
        "Next generation loss, TensorFlow convention",
        "classification",
        "Akhmedova, Körber (2024), official code",
        "the same formula on the sigmoid of the softmax: another loss than ngl",
        "mean_C(exp({alpha} - (1 + y)/(1 + exp(-p))) - cos(cos(sin(1/(1 + exp(-p))))))",
        {"alpha": Parameter(2.4092, -20.0, 20.0)},
    ),
    Entry(
        "baikal",
        "Baikal",
        "classification",
        "Gonzalez, Miikkulainen (2020), arXiv:1905.11528",
        "found by genetic programming on MNIST",
        "-mean_C(logp - y/p)",
    ),
    Entry(
        "baikal-cma",
        "BaikalCMA",
        "classification",
        "Gonzalez, Miikkulainen (2020), arXiv:1905.11528",
        "Baikal with its constants tuned by CMA-ES",
        # One constant a node of Baikal's tree; the published c3 and c5 are both negative, and only their ratio counts.
        "mean_C({c0}*({c3}*{c4}/{c5}*y/p - {c1}*(log({c2}) + logp)))",
        {
            "c0": Parameter(2.7279, 1e-6),
            "c1": Parameter(0.9863, 1e-6),
            "c2": Parameter(1.5352, 1e-6),
            "c3": Parameter(1.1135, 1e-6),
            "c4": Parameter(1.3716, 1e-6),
            "c5": Parameter(0.8411, 1e-6),
        },
    ),
    Entry(
        "bce",
        "Binary cross-entropy",
        "multi-label",
        "Good (1952), Rational decisions, J. R. Stat. Soc. B",
        "cross-entropy of each class by itself, averaged over the classes",
        "-mean_C(y*logs + (1 - y)*log1ms)",
    ),
    Entry(
        "ganetic",
        "GANetic loss",
        "multi-label",
        "Akhmedova, Körber (2024), arXiv:2406.05023",
        "found by genetic programming for adversarial networks; reads sigmoids",
        "mean_C(s^3 + sqrt(3.985*y/sum_B(sum_C(s + {epsilon})) + {epsilon}))",
        {"epsilon": Parameter(1e-6, 1e-12, 1.0)},
    ),
)
