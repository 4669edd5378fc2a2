"""Proper or not, calibrated or not, over- or under-confident: verdicts on the best answers to uncertain labels.

Proper (Gneiting, Raftery 2007, JASA 102): the best answer is the shares of the labels themselves.
Classification-calibrated (Bartlett et al. 2006, JASA 101; Tewari, Bartlett 2007, JMLR 8): no answer that puts
another class first costs as little as the best one.
"""

from collections.abc import Sequence

from lossml.card.claim import Claim, Method, numbers
from lossml.card.simplex import Best, answers
from lossml.card.subject import Subject

STATIONARY = 10.0  # relative slope of the expected loss at the shares, in units of the rounding
APART = 1e-3  # answers that differ by less are one
CONFIDENT = 0.01  # of a probability: a lesser difference is none
EXAMPLE = (0.7, 0.2, 0.1)


def proper(subject: Subject, bests: Sequence[Best]) -> Claim:
    """Say whether the best answer is the shares of the labels, and whether it is the only one."""
    inside = [best for best in bests if min(best.shares) > 0]
    off = [best for best in inside if best.slope > STATIONARY * subject.noise or best.excess > subject.noise]
    method = _method(subject, inside)
    if off:
        worst = max(off, key=_deviation)
        return Claim("no", f"{_labels(worst)} the best answer is {_answer(worst)}", method, _deviation(worst))
    if max(map(_deviation, inside)) > APART:
        return Claim("yes", "no answer is better than the shares of the labels, but others are as good", method, 0.0)
    return Claim("yes", "strictly: the best answer is the shares of the labels", method, 0.0)


def calibrated(subject: Subject, bests: Sequence[Best]) -> Claim:
    """Say whether the best answer always puts the most frequent label first."""
    worst = min(bests, key=lambda best: best.gap)
    method = _method(subject, bests)
    if worst.gap > subject.noise:
        return Claim("yes", "the best answer puts the most frequent label first", method, worst.gap)
    wrong = numbers(worst.wrong)
    finding = f"{_labels(worst)} the answer {wrong}, which puts another class first or level, costs no more than any"
    return Claim("no", finding, method, worst.gap)


def confidence(subject: Subject, bests: Sequence[Best]) -> Claim:
    """Say whether the best answer is as certain as the labels are: "yes" where it is."""
    inside = [best for best in bests if min(best.shares) > 0]
    more = [max(best.answer) - max(best.shares) for best in inside]
    over, under = max(more) > CONFIDENT, min(more) < -CONFIDENT
    words = {(True, True): "over- or under-confident, depending on the labels", (True, False): "over-confident"}
    word = words.get((over, under), "under-confident" if under else "as certain as the labels are")
    example = min(inside, key=lambda best: sum(abs(a - b) for a, b in zip(best.shares, EXAMPLE, strict=True)))
    finding = f"{word}: {_labels(example)} the best answer is {_answer(example)}"
    return Claim("no" if over or under else "yes", finding, _method(subject, inside), max(more, key=abs))


def _labels(best: Best) -> str:
    return f"to labels in shares {numbers(best.shares)}"


def _answer(best: Best) -> str:
    return numbers(best.answer)


def _deviation(best: Best) -> float:
    return max(abs(a - b) for a, b in zip(best.answer, best.shares, strict=True))


def _method(subject: Subject, bests: Sequence[Best]) -> Method:
    where = "simplex" if subject.invariant else "cube"
    what = " of an image whose pixels get one answer" if subject.coupled else ""
    detail = f"of the {where} of 3 classes and a search from the best, {len(bests)} label shares{what}"
    return Method("sampled", detail, len(answers(subject)))
