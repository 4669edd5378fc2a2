"""Losses for segmentation: overlaps of each class over the images of a batch, averaged over the classes.

All sums run over batch and pixels. `smooth` is the s that is added above and below a ratio.
"""

from lossml.zoo.entry import Entry, Parameter

_S = Parameter(1.0, 1e-12)
_DICE = "(1 - mean_C((2*sum_B(sum_X(y*p)) + {smooth})/(sum_B(sum_X(p + y)) + {smooth})))"
_MISSED = "({alpha}*sum_B(sum_X(p*(1 - y))) + {beta}*sum_B(sum_X(y*(1 - p))))"
_TVERSKY = f"{_MISSED}/(sum_B(sum_X(y*p)) + {_MISSED} + {{smooth}})"
_HALVES = {"alpha": Parameter(0.3), "beta": Parameter(0.7), "smooth": _S}

SEGMENTATION = (
    Entry(
        "dice",
        "Dice loss",
        "segmentation",
        "Milletari et al. (2016), arXiv:1606.04797",
        "one minus the overlap 2|A∩B| / (|A| + |B|)",
        _DICE,
        {"smooth": _S},
    ),
    Entry(
        "generalised-dice",
        "Generalised Dice loss",
        "segmentation",
        "Sudre et al. (2017), arXiv:1707.03237",
        "Dice with classes weighted by 1/(size + smooth)², so that small ones count",
        "1 - 2*sum_C(sum_B(sum_X(y*p))/(sum_B(sum_X(y)) + {smooth})^2)"
        "/sum_C(sum_B(sum_X(p + y))/(sum_B(sum_X(y)) + {smooth})^2)",
        {"smooth": _S},
    ),
    Entry(
        "jaccard",
        "Jaccard loss",
        "segmentation",
        "Rahman, Wang (2016), Optimizing intersection-over-union in deep neural networks",
        "one minus the intersection over the union",
        "1 - mean_C((sum_B(sum_X(y*p)) + {smooth})/(sum_B(sum_X(p*(1 - y) + y)) + {smooth}))",
        {"smooth": _S},
    ),
    Entry(
        "tversky",
        "Tversky loss",
        "segmentation",
        "Salehi et al. (2017), arXiv:1706.05721",
        "Dice with weights alpha on false positives and beta on false negatives",
        f"mean_C({_TVERSKY})",
        _HALVES,
    ),
    Entry(
        "focal-tversky",
        "Focal Tversky loss",
        "segmentation",
        "Abraham, Khan (2019), arXiv:1810.07842",
        "Tversky to the power 1/gamma for each class",
        f"mean_C(({_TVERSKY})^(1/{{gamma}}))",
        {**_HALVES, "gamma": Parameter(4 / 3, 0.1, 10.0)},
    ),
    Entry(
        "log-cosh-dice",
        "Log-cosh Dice loss",
        "segmentation",
        "Jadon (2020), arXiv:2006.14822",
        "log cosh of the Dice loss: smoother near zero",
        f"log((exp({_DICE}) + exp(-{_DICE}))/2)",
        {"smooth": _S},
    ),
    Entry(
        "dice+ce",
        "Dice plus cross-entropy",
        "segmentation",
        "Isensee et al. (2021), nnU-Net, Nature Methods",
        "overlap and likelihood together",
        f"{{weight}}*{_DICE} - sum_C(y*logp)",
        {"weight": Parameter(1.0), "smooth": _S},
    ),
    Entry(
        "dice+focal",
        "Dice plus focal",
        "segmentation",
        "Zhu et al. (2019), AnatomyNet, arXiv:1808.05238",
        "overlap and hard pixels together",
        f"{{weight}}*{_DICE} - sum_C(y*(1 - p)^{{gamma}}*logp)",
        {"weight": Parameter(1.0), "gamma": Parameter(2.0, 0.0, 20.0), "smooth": _S},
    ),
    Entry(
        "unified-focal",
        "Unified focal loss, symmetric",
        "segmentation",
        "Yeung et al. (2022), arXiv:2102.04525",
        "a focal and a focal Tversky part that share their parameters",
        "-{weight}*{delta}*sum_C(y*(1 - p)^(1 - {gamma})*logp)"
        " + (1 - {weight})*mean_C((({delta}*sum_B(sum_X(y*(1 - p))) + (1 - {delta})*sum_B(sum_X(p*(1 - y))))"
        "/(sum_B(sum_X(y*p)) + {delta}*sum_B(sum_X(y*(1 - p))) + (1 - {delta})*sum_B(sum_X(p*(1 - y)))"
        " + {smooth}))^{gamma})",
        {
            "weight": Parameter(0.5, 0.0, 1.0),
            "delta": Parameter(0.6, 0.0, 1.0),
            "gamma": Parameter(0.5, 1e-3, 0.999),
            "smooth": _S,
        },
    ),
)
