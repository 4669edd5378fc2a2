"""The machine that runs instructions on one processor core: value and logit gradient of K programs in one call.

Compiled by numba once for a machine and kept in its cache. A program costs what it costs alone: there is no
batching over programs, and so nothing that makes one program's result depend on another's.
"""

import numba
import numpy as np

from lossml.backend.bytecode import CLASS, CODES, LEAVES, NONE, SAMPLE, STEPS
from lossml.program.primitives import EPSILON

Y, P, LOGP, LOG1MP, Z = range(len(LEAVES))
CONST, CLASSES, PROGRESS, PRIOR, TINY, EXPAND, SUM_C, MEAN_C, MAX_C, SUM_B, MEAN_B, *_ = CODES.values()
ADD, SUB, MUL, DIV, NEG, SQUARE, EXP, MAX, MIN, NONZERO, LOG, SQRT, POW, ABS, *_ = range(CODES["add"], len(STEPS))
TANH, SIN, COS, RSQRT1P, LOGABS = range(CODES["tanh"], len(STEPS))
compiled = numba.njit(error_model="numpy")  # a division by zero is an infinity, as on tensors


@compiled
def _value(op, x, y):
    """Apply an operation to numbers, as `ops.ELEMENTWISE` does to tensors; what is no number wins in max and min."""
    if op == DIV:
        return x / y
    if op == NEG:
        return -x
    if op == SQUARE:
        return x * x
    if op == EXP:
        return np.exp(x)
    if op == MAX:
        return x if x > y or x != x else y
    if op == MIN:
        return x if x < y or x != x else y
    if op == NONZERO:
        return x if x != 0 else y
    if op == LOG:
        return np.log(x)
    if op == SQRT:
        return np.sqrt(x)
    if op == POW:
        return x**y
    if op == ABS:
        return abs(x)
    if op == TANH:
        return np.tanh(x)
    if op == SIN:
        return np.sin(x)
    if op == COS:
        return np.cos(x)
    if op == RSQRT1P:
        return 1 / np.sqrt(1 + x * x)
    return np.log(abs(x) + EPSILON)


@compiled
def _slope(op, x, y, v):
    """Give the slope of v = op(x, y) in x, as torch has it: ties share theirs, a kink has none."""
    if op == DIV:
        return 1 / y
    if op == NEG:
        return -1.0
    if op == SQUARE:
        return x + x
    if op == EXP:
        return v
    if op == MAX:
        return 0.5 if x == y else 1.0 - (x < y)
    if op == MIN:
        return 0.5 if x == y else 1.0 - (x > y)
    if op == NONZERO:
        return 1.0 * (x != 0)
    if op == LOG:
        return 1 / x
    if op == SQRT:
        return 0.5 / v
    if op == POW:
        return 0.0 if y == 0 else y * x ** (y - 1)
    if op == ABS:
        return 1.0 * (x > 0) - (x < 0)
    if op == TANH:
        return 1 - v * v
    if op == SIN:
        return np.cos(x)
    if op == COS:
        return -np.sin(x)
    if op == RSQRT1P:
        return -x * v * v * v
    return (1.0 * (x > 0) - (x < 0)) / (abs(x) + EPSILON)


@compiled
def _other_slope(op, x, y, v):
    """Give the slope of v = op(x, y) in y."""
    if op == ADD:
        return 1.0
    if op == SUB:
        return -1.0
    if op == DIV:
        return -v / y
    if op == MAX:
        return 0.5 if x == y else 1.0 - (y < x)
    if op == MIN:
        return 0.5 if x == y else 1.0 - (y > x)
    return v * np.log(x)


# The loops of the most frequent operations stand alone, as the processor then takes several numbers at once.


@compiled
def _values(op, x, y, v):
    if op == MUL:
        for i in range(len(v)):
            v[i] = x[i] * y[i]
    elif op == ADD:
        for i in range(len(v)):
            v[i] = x[i] + y[i]
    elif op == SUB:
        for i in range(len(v)):
            v[i] = x[i] - y[i]
    else:
        for i in range(len(v)):
            v[i] = _value(op, x[i], y[i])


@compiled
def _add_slopes(op, x, y, v, gradient, found):
    if op == MUL:
        for i in range(len(v)):
            found[i] += gradient[i] * y[i]
    elif op in (ADD, SUB):
        for i in range(len(v)):
            found[i] += gradient[i]
    elif op in (MAX, MIN, NONZERO):  # the gradient of what is not chosen is zero, whatever comes from above
        for i in range(len(v)):
            slope = _slope(op, x[i], y[i], v[i])
            found[i] += gradient[i] * slope if slope != 0 else 0.0
    else:
        for i in range(len(v)):
            found[i] += gradient[i] * _slope(op, x[i], y[i], v[i])


@compiled
def _add_other_slopes(op, x, y, v, gradient, found):
    if op == MUL:
        for i in range(len(v)):
            found[i] += gradient[i] * x[i]
    elif op in (MAX, MIN):
        for i in range(len(v)):
            slope = _other_slope(op, x[i], y[i], v[i])
            found[i] += gradient[i] * slope if slope != 0 else 0.0
    else:
        for i in range(len(v)):
            found[i] += gradient[i] * _other_slope(op, x[i], y[i], v[i])


@compiled
def _length(shape, samples, classes):
    return (samples if shape & SAMPLE else 1) * (classes if shape & CLASS else 1)


@compiled
def _strides(shape, classes):
    """How far apart neighbours along samples and classes lie in a register; 0 where all are one."""
    by_class = 1 if shape & CLASS else 0
    by_sample = 0 if not shape & SAMPLE else classes if shape & CLASS else 1
    return by_sample, by_class


@compiled
def _expand(x, shape, v, wide, samples, classes):
    """Broadcast x of one shape to v of another that holds it."""
    (s, c), (vs, vc) = _strides(shape, classes), _strides(wide, classes)
    for i in range(samples if wide & SAMPLE else 1):
        for j in range(classes if wide & CLASS else 1):
            v[i * vs + j * vc] = x[i * s + j * c]


@compiled
def _gather(gradient, wide, found, shape, samples, classes, factor):
    """Add up what was broadcast: the reverse of `_expand`, and with it the sums."""
    (s, c), (gs, gc) = _strides(shape, classes), _strides(wide, classes)
    for i in range(samples if wide & SAMPLE else 1):
        for j in range(classes if wide & CLASS else 1):
            found[i * s + j * c] += factor * gradient[i * gs + j * gc]


@compiled
def _spread(gradient, shape, found, wide, samples, classes, factor):
    """Give each part of a sum the sum's gradient: the reverse of `_gather`."""
    (s, c), (fs, fc) = _strides(shape, classes), _strides(wide, classes)
    for i in range(samples if wide & SAMPLE else 1):
        for j in range(classes if wide & CLASS else 1):
            found[i * fs + j * fc] += factor * gradient[i * s + j * c]


@compiled
def _largest(x, v, classes):
    for i in range(len(v)):
        v[i] = x[i * classes]
        for j in range(1, classes):
            at = x[i * classes + j]
            if at > v[i] or at != at:
                v[i] = at


@compiled
def _largest_slope(x, v, gradient, found, classes):
    """Share the gradient among all that are largest, as torch's amax does."""
    for i in range(len(v)):
        ties = 0
        for j in range(classes):
            ties += x[i * classes + j] == v[i]
        for j in range(classes):
            if x[i * classes + j] == v[i]:
                found[i * classes + j] += gradient[i] / ties


@compiled
def _factor(op, samples, classes):
    return 1.0 / classes if op == MEAN_C else 1.0 / samples if op == MEAN_B else 1.0


@compiled
def _read(op, value, v, classes, prior, progress, tiny):
    """Fill the register of what needs no argument."""
    if op == PRIOR:
        v[:] = prior
    else:
        v[0] = classes if op == CLASSES else progress if op == PROGRESS else tiny if op == TINY else value


@compiled
def _forward(code, constants, values, samples, classes, prior, progress, tiny):
    for k in range(len(code)):
        op, a, b, shape = code[k, 0], code[k, 1], code[k, 2], code[k, 3]
        v = values[len(LEAVES) + k, : _length(shape, samples, classes)]
        if a == NONE:
            _read(op, constants[k], v, classes, prior, progress, tiny)
        elif op == EXPAND:
            _expand(values[a], code[k, 5], v, shape, samples, classes)
        elif op == MAX_C:
            _largest(values[a], v, classes)
        elif op <= MEAN_B:
            v[:] = 0
            _gather(values[a], code[k, 5], v, shape, samples, classes, _factor(op, samples, classes))
        else:
            _values(op, values[a], values[b], v)


@compiled
def _backward(code, values, slopes, samples, classes):
    """Go back from the last instruction, adding to the gradients of what each one read."""
    for k in range(len(code) - 1, -1, -1):
        op, a, b, shape = code[k, 0], code[k, 1], code[k, 2], code[k, 3]
        if a == NONE or not code[k, 4]:
            continue
        length = _length(shape, samples, classes)
        v, g = values[len(LEAVES) + k, :length], slopes[len(LEAVES) + k, :length]
        if op == EXPAND:
            _gather(g, shape, slopes[a], code[k, 5], samples, classes, 1.0)
        elif op == MAX_C:
            _largest_slope(values[a], v, g, slopes[a], classes)
        elif op <= MEAN_B:
            _spread(g, shape, slopes[a], code[k, 5], samples, classes, _factor(op, samples, classes))
        else:
            if code[k, 6]:
                _add_slopes(op, values[a], values[b], v, g, slopes[a])
            if code[k, 7]:
                _add_other_slopes(op, values[a], values[b], v, g, slopes[b])


@compiled
def _fill_leaves(values, logits, target, leaves):
    """Fill the first registers with what programs read of logits (B, C) and classes (B,)."""
    samples, classes = logits.shape
    for i in range(samples):
        row, start = logits[i], i * classes
        top = _top(row)
        total, mean = 0 * row[0], 0 * row[0]
        for j in range(classes):
            values[Y, start + j] = 1.0 if target[i] == j else 0.0
            values[P, start + j] = np.exp(row[j] - row[top])
            total += values[P, start + j]
            mean += row[j] / classes
        for j in range(classes):
            values[P, start + j] /= total
            values[LOGP, start + j] = row[j] - row[top] - np.log(total)
            values[Z, start + j] = row[j] - mean
        if leaves[LOG1MP]:
            _fill_complement(values, start, row, top)


@compiled
def _top(row):
    top = 0
    for j in range(1, len(row)):
        if row[j] > row[top]:
            top = j
    return top


@compiled
def _fill_complement(values, start, row, top):
    """Fill log(1 - p) of one sample; see `runtime.log_one_minus_softmax`."""
    second = 1 if top == 0 else 0
    for j in range(len(row)):
        if j != top and row[j] > row[second]:
            second = j
    total = 0 * row[0]
    for j in range(len(row)):
        if j != top:
            total += np.exp(row[j] - row[second])
            values[LOG1MP, start + j] = np.log1p(-values[P, start + j])
    values[LOG1MP, start + top] = values[LOGP, start + top] + np.log(total) + (row[second] - row[top])


@compiled
def _logit_slopes(values, slopes, leaves, logits, gradient):
    """Turn the gradients of the first registers into the gradient (B, C) of the logits."""
    classes = logits.shape[1]
    for i in range(len(logits)):
        start = i * classes
        gradient[i] = 0
        if leaves[LOG1MP]:
            _complement_slope(values, slopes, start, _top(logits[i]), gradient[i])
        inner, outer, mean = 0 * logits[i, 0], 0 * logits[i, 0], 0 * logits[i, 0]
        for j in range(start, start + classes):
            inner += values[P, j] * slopes[P, j]
            outer += slopes[LOGP, j]
            mean += slopes[Z, j] / classes
        for j in range(classes):
            p = values[P, start + j]
            if leaves[P]:
                gradient[i, j] += p * slopes[P, start + j] - p * inner
            if leaves[LOGP] or leaves[LOG1MP]:
                gradient[i, j] += slopes[LOGP, start + j] - p * outer
            if leaves[Z]:
                gradient[i, j] += slopes[Z, start + j] - mean


@compiled
def _complement_slope(values, slopes, start, top, gradient):
    """Add the gradient of log(1 - p): the top class's to the logits, the others' to that of log p."""
    own, at_top = slopes[LOG1MP, start + top], values[LOG1MP, start + top]
    for j in range(len(gradient)):
        p = values[P, start + j]
        if j == top:
            gradient[j] -= own * p
        else:
            gradient[j] += own * (np.exp(values[LOGP, start + j] - at_top) - p)
            slopes[LOGP, start + j] -= slopes[LOG1MP, start + j] * (p / (1 - p))


@numba.njit(error_model="numpy", cache=True, nogil=True)
def run(code, constants, bounds, leaves, logits, target, prior, progress, tiny, losses, gradients):
    """Run K programs, each on its own logits.

    Args:
        code: instructions (I, 8) of all programs one after another: operation, first and second argument, shape,
            whether it has a slope, the first argument's shape, whether either argument has a slope.
        constants: the number of each instruction that is a constant, (I,).
        bounds: where each program's instructions begin, (K + 1,).
        leaves: which leaves each program reads, (K, 5).
        logits: (K, B, C).
        target: class numbers (K, B).
        prior: class shares (C,).
        progress: of the training.
        tiny: smallest normal number of the logits' type.
        losses: filled with the mean losses (K,).
        gradients: filled with their gradients (K, B, C).
    """
    count, samples, classes = logits.shape
    registers = len(LEAVES) + (bounds[1:] - bounds[:-1]).max()
    values = np.zeros((registers, samples * classes), logits.dtype)
    slopes = np.zeros((registers, samples * classes), logits.dtype)
    for k in range(count):
        part, last = code[bounds[k] : bounds[k + 1]], len(LEAVES) + bounds[k + 1] - bounds[k] - 1
        _fill_leaves(values, logits[k], target[k], leaves[k])
        _forward(part, constants[bounds[k] : bounds[k + 1]], values, samples, classes, prior, progress, tiny)
        losses[k] = values[last, 0]
        slopes[: last + 1] = 0
        slopes[last, 0] = 1
        _backward(part, values, slopes, samples, classes)
        _logit_slopes(values, slopes, leaves[k], logits[k], gradients[k])
