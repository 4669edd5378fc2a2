"""The machine that runs instructions on one processor core: value and logit gradient of K programs in one call.

Compiled by numba once for a machine and kept in its cache. A program costs what it costs alone: there is no
batching over programs, and so nothing that makes one program's result depend on another's.

Samples are taken a tile at a time, so that registers stay in fast memory. A register of numbers that vary over the
classes holds one class after another, so that the processor takes neighbouring samples at once.
"""

import numba
import numpy as np

from lossml.backend import elementary
from lossml.backend.bytecode import CLASS, CODES, IMAGE, LEAVES, NONE, SAMPLE, STEPS
from lossml.backend.elementary import HALF, INNER, ONE, OPTIONS, ZERO, compiled

Y, P, LOGP, LOG1MP, Z = range(len(LEAVES))
CONST, CLASSES, PROGRESS, PRIOR, TINY, EXPAND, PICK, SUM_C, MEAN_C, MAX_C, *_ = CODES.values()
ANY, SUM_X, MEAN_X, SUM_I, MEAN_I, SUM_B, MEAN_B, *_ = range(CODES["any"], len(STEPS))
ADD, SUB, MUL, DIV, NEG, SQUARE, EXP, MAX, MIN, NONZERO, LOG, SQRT, POW, ABS, *_ = range(CODES["add"], len(STEPS))
TANH, SIN, COS, RSQRT1P, LOGABS = range(CODES["tanh"], len(STEPS))

TOP, TOTAL, SECOND, REST, PLACE, COUNTED = range(6)  # rows of numbers a sample, beside the registers
reordered = numba.njit(error_model="numpy", fastmath={"contract", "reassoc"}, **INNER)  # several sums at once
outer = numba.njit(**OPTIONS)  # what `run` calls


# --------------------------------------------------------------------------- what acts on each number


@compiled
def _near(x, y):
    """Say whether `elementary.sin` and `cos` reduce x exactly enough."""
    return abs(x) < 1048576


@compiled
def _plain(x, y):
    """Say whether `elementary.power` can take x to y."""
    return (x > 0) & (x < np.inf) & (y == y)


def _each(function):
    """Apply a function of two numbers, of which one may be unused, to registers."""
    apply = compiled(function)

    @compiled
    def loop(x, y, v):
        for i in range(len(v)):
            v[i] = apply(x[i], y[i])

    return loop


def _mended(function, exact, where):
    """Apply a function where it serves, and an exact one elsewhere."""
    first, mend = _each(function), compiled(exact)

    @compiled
    def loop(x, y, v):
        first(x, y, v)
        for i in range(len(v)):
            if not where(x[i], y[i]):
                v[i] = mend(x[i], y[i])

    return loop


def _each_slope(function):
    """Add what a function makes of the gradient g of v = op(x, y) to the gradient of an argument."""
    apply = compiled(function)

    @compiled
    def loop(g, x, y, v, found):
        for i in range(len(v)):
            found[i] += apply(g[i], x[i], y[i], v[i])

    return loop


def _mended_slope(function, exact, where):
    """Add it where it serves, and what an exact function makes of it elsewhere."""
    apply, mend = compiled(function), compiled(exact)

    @compiled
    def loop(g, x, y, v, found):
        for i in range(len(v)):
            more = apply(g[i], x[i], y[i], v[i])
            found[i] += more if where(x[i], y[i]) else ZERO
        for i in range(len(v)):
            if not where(x[i], y[i]):
                found[i] += mend(g[i], x[i], y[i], v[i])

    return loop


@compiled
def _sign(x):
    return ONE if x > 0 else (-ONE if x < 0 else ZERO)


_add, _sub = _each(lambda x, y: x + y), _each(lambda x, y: x - y)
_mul, _div = _each(lambda x, y: x * y), _each(lambda x, y: x / y)
_neg, _square = _each(lambda x, y: -x), _each(lambda x, y: x * x)
_exp, _log = _each(lambda x, y: elementary.exp(x)), _each(lambda x, y: elementary.log(x))
_max = _each(lambda x, y: x if (x > y) | (x != x) else y)
_min = _each(lambda x, y: x if (x < y) | (x != x) else y)
_nonzero = _each(lambda x, y: x if x != 0 else y)
_sqrt, _abs = _each(lambda x, y: np.sqrt(x)), _each(lambda x, y: abs(x))
_pow = _mended(lambda x, y: elementary.power(x, y), lambda x, y: x**y, _plain)
_tanh = _each(lambda x, y: elementary.tanh(x))
_sin = _mended(lambda x, y: elementary.sin(x), lambda x, y: np.sin(x), _near)
_cos = _mended(lambda x, y: elementary.cos(x), lambda x, y: np.cos(x), _near)
_rsqrt1p = _each(lambda x, y: ONE / np.sqrt(ONE + x * x))
_logabs = _each(lambda x, y: elementary.log(elementary.raised(x)))

# Ties share the gradient and a kink has none, as on tensors. What is not chosen has the gradient zero, whatever comes
# from above.
_plus, _minus = _each_slope(lambda g, x, y, v: g), _each_slope(lambda g, x, y, v: -g)
_mul_slope, _mul_other = _each_slope(lambda g, x, y, v: g * y), _each_slope(lambda g, x, y, v: g * x)
_div_slope, _div_other = _each_slope(lambda g, x, y, v: g / y), _each_slope(lambda g, x, y, v: -g * (v / y))
_square_slope, _exp_slope = _each_slope(lambda g, x, y, v: g * (x + x)), _each_slope(lambda g, x, y, v: g * v)
_log_slope, _sqrt_slope = _each_slope(lambda g, x, y, v: g / x), _each_slope(lambda g, x, y, v: g * (HALF / v))
_max_slope = _each_slope(lambda g, x, y, v: HALF * g if x == y else (ZERO if x < y else g))
_max_other = _each_slope(lambda g, x, y, v: HALF * g if x == y else (ZERO if y < x else g))
_min_slope = _each_slope(lambda g, x, y, v: HALF * g if x == y else (ZERO if x > y else g))
_min_other = _each_slope(lambda g, x, y, v: HALF * g if x == y else (ZERO if y > x else g))
_nonzero_slope = _each_slope(lambda g, x, y, v: g if x != 0 else ZERO)
_pow_slope = _mended_slope(
    lambda g, x, y, v: g * (y * elementary.power(x, y - ONE)) if y != 0 else ZERO,
    lambda g, x, y, v: g * (y * x ** (y - ONE)) if y != 0 else ZERO,
    _plain,
)
_pow_other = _each_slope(lambda g, x, y, v: g * (v * elementary.log(x)))
_abs_slope = _each_slope(lambda g, x, y, v: g * _sign(x))
_tanh_slope = _each_slope(lambda g, x, y, v: g * (ONE - v * v))
_sin_slope = _mended_slope(lambda g, x, y, v: g * elementary.cos(x), lambda g, x, y, v: g * np.cos(x), _near)
_cos_slope = _mended_slope(lambda g, x, y, v: -g * elementary.sin(x), lambda g, x, y, v: -g * np.sin(x), _near)
_rsqrt1p_slope = _each_slope(lambda g, x, y, v: -g * (x * v * v * v))
_logabs_slope = _each_slope(lambda g, x, y, v: g * (_sign(x) / elementary.raised(x)))


@compiled
def _values(op, x, y, v):
    if op == MUL:
        _mul(x, y, v)
    elif op == ADD:
        _add(x, y, v)
    elif op == SUB:
        _sub(x, y, v)
    elif op == DIV:
        _div(x, y, v)
    elif op == NEG:
        _neg(x, y, v)
    elif op == SQUARE:
        _square(x, y, v)
    elif op == EXP:
        _exp(x, y, v)
    elif op == MAX:
        _max(x, y, v)
    elif op == MIN:
        _min(x, y, v)
    elif op == NONZERO:
        _nonzero(x, y, v)
    elif op == LOG:
        _log(x, y, v)
    elif op == SQRT:
        _sqrt(x, y, v)
    elif op == POW:
        _pow(x, y, v)
    elif op == ABS:
        _abs(x, y, v)
    elif op == TANH:
        _tanh(x, y, v)
    elif op == SIN:
        _sin(x, y, v)
    elif op == COS:
        _cos(x, y, v)
    elif op == RSQRT1P:
        _rsqrt1p(x, y, v)
    else:
        _logabs(x, y, v)


@compiled
def _add_slopes(op, g, x, y, v, found):
    if op == MUL:
        _mul_slope(g, x, y, v, found)
    elif op in (ADD, SUB):
        _plus(g, x, y, v, found)
    elif op == DIV:
        _div_slope(g, x, y, v, found)
    elif op == NEG:
        _minus(g, x, y, v, found)
    elif op == SQUARE:
        _square_slope(g, x, y, v, found)
    elif op == EXP:
        _exp_slope(g, x, y, v, found)
    elif op == MAX:
        _max_slope(g, x, y, v, found)
    elif op == MIN:
        _min_slope(g, x, y, v, found)
    elif op == NONZERO:
        _nonzero_slope(g, x, y, v, found)
    elif op == LOG:
        _log_slope(g, x, y, v, found)
    elif op == SQRT:
        _sqrt_slope(g, x, y, v, found)
    elif op == POW:
        _pow_slope(g, x, y, v, found)
    elif op == ABS:
        _abs_slope(g, x, y, v, found)
    elif op == TANH:
        _tanh_slope(g, x, y, v, found)
    elif op == SIN:
        _sin_slope(g, x, y, v, found)
    elif op == COS:
        _cos_slope(g, x, y, v, found)
    elif op == RSQRT1P:
        _rsqrt1p_slope(g, x, y, v, found)
    else:
        _logabs_slope(g, x, y, v, found)


@compiled
def _add_other_slopes(op, g, x, y, v, found):
    if op == MUL:
        _mul_other(g, x, y, v, found)
    elif op == ADD:
        _plus(g, x, y, v, found)
    elif op == SUB:
        _minus(g, x, y, v, found)
    elif op == DIV:
        _div_other(g, x, y, v, found)
    elif op == MAX:
        _max_other(g, x, y, v, found)
    elif op == MIN:
        _min_other(g, x, y, v, found)
    else:
        _pow_other(g, x, y, v, found)


# --------------------------------------------------------------------------- what changes the shape


@compiled
def _columns(shape, width, images):
    """Length of a register along the samples or images."""
    return width if shape & SAMPLE else images if shape & IMAGE else 1


@compiled
def _length(shape, tile):
    classes, width, _, images = tile
    return (classes if shape & CLASS else 1) * _columns(shape, width, images)


@compiled
def _place(shape, j, other, tile):
    """Where the row of class j begins in a register that meets one of another shape."""
    _, width, image, images = tile
    start = j * _columns(shape, width, images) if shape & CLASS else 0
    return start + (image if shape & IMAGE and other & SAMPLE else 0)


@compiled
def _same_columns(shape, other):
    return (shape | CLASS) == (other | CLASS)


@reordered
def _total(row):
    found = row.dtype.type(0)
    for i in range(len(row)):
        found += row[i]
    return found


@reordered
def _weighed(row, weights):
    found = row.dtype.type(0)
    for i in range(len(row)):
        found += row[i] * weights[i]
    return found


@compiled
def _expand(x, shape, v, wide, tile):
    """Broadcast x of one shape to v of another that holds it."""
    classes, width, _, images = tile
    columns = _columns(wide, width, images)
    for j in range(classes if wide & CLASS else 1):
        at = _place(shape, j, wide, tile)
        row = v[j * columns : (j + 1) * columns]
        if _same_columns(shape, wide):
            row[:] = x[at : at + columns]
        else:
            row[:] = x[at]


@compiled
def _gather(g, wide, found, shape, tile, factor):
    """Add up what was broadcast: the reverse of `_expand`, and with it the sums over the classes."""
    classes, width, _, images = tile
    columns = _columns(wide, width, images)
    for j in range(classes if wide & CLASS else 1):
        at = _place(shape, j, wide, tile)
        row = g[j * columns : (j + 1) * columns]
        if _same_columns(shape, wide):
            to = found[at : at + columns]
            for i in range(columns):
                to[i] += factor * row[i]
        else:
            found[at] += factor * _total(row)


@compiled
def _spread(g, found, wide, tile, factor):
    """Give each part of a sum over the classes the sum's gradient: the reverse of `_gather`."""
    classes, width, _, images = tile
    columns = _columns(wide, width, images)
    for j in range(classes):
        to = found[j * columns : (j + 1) * columns]
        for i in range(columns):
            to[i] += factor * g[i]


@compiled
def _sum(x, wide, found, shape, weights, tile, factor):
    """Add up the samples or images that count."""
    classes, width, _, images = tile
    columns = _columns(wide, width, images)
    for j in range(classes if wide & CLASS else 1):
        at = _place(shape, j, wide, tile)
        found[at] += factor * _weighed(x[j * columns : (j + 1) * columns], weights)


@compiled
def _sum_slopes(g, shape, found, wide, weights, tile, factor):
    """Give each part of a sum that counts the sum's gradient."""
    classes, width, _, images = tile
    columns = _columns(wide, width, images)
    for j in range(classes if wide & CLASS else 1):
        slope = factor * g[_place(shape, j, wide, tile)]
        to = found[j * columns : (j + 1) * columns]
        for i in range(columns):
            to[i] += slope * weights[i]


@compiled
def _pick(x, shape, v, labels):
    """Read x at each sample's true class."""
    for i in range(len(v)):
        v[i] = x[labels[i] * len(v) + i] if shape & SAMPLE else x[labels[i]]


@compiled
def _pick_slopes(g, found, labels):
    for i in range(len(g)):
        found[labels[i] * len(g) + i] += g[i]


@compiled
def _largest(x, v, classes):
    v[:] = x[: len(v)]
    for j in range(1, classes):
        row = x[j * len(v) : (j + 1) * len(v)]
        for i in range(len(v)):
            v[i] = row[i] if (row[i] > v[i]) | (row[i] != row[i]) else v[i]


@compiled
def _largest_slopes(x, v, g, found, classes):
    """Share the gradient among all that are largest, as torch's amax does."""
    count = len(v)
    for i in range(count):
        ties = 0
        for j in range(classes):
            ties += x[j * count + i] == v[i]
        for j in range(classes):
            if x[j * count + i] == v[i]:
                found[j * count + i] += g[i] / ties


# --------------------------------------------------------------------------- the first registers


@compiled
def _read_logits(logits, z, width):
    """Read the logits (T, C) of a tile, one class after another."""
    classes = logits.shape[1]
    for i in range(width):
        for j in range(classes):
            z[j * width + i] = logits[i, j]


@compiled
def _read_target(target, labels, counted, ignored):
    """Read the true classes; what is ignored has the first class, and counts for nothing."""
    for i in range(len(target)):
        counts = target[i] != ignored
        counted[i] = ONE if counts else ZERO
        labels[i] = target[i] if counts else 0


@compiled
def _mark(labels, y, width):
    y[:] = 0
    for i in range(width):
        y[labels[i] * width + i] = 1


@compiled
def _read_softmax(z, p, top, total, rest, width, classes):
    top[:] = z[:width]
    for j in range(1, classes):
        row = z[j * width : (j + 1) * width]
        for i in range(width):
            top[i] = row[i] if row[i] > top[i] else top[i]
    total[:] = 0
    for j in range(classes):
        row, grown = z[j * width : (j + 1) * width], p[j * width : (j + 1) * width]
        for i in range(width):
            grown[i] = elementary.exp(row[i] - top[i])
            total[i] += grown[i]
    for i in range(width):
        rest[i] = ONE / total[i]
    for j in range(classes):
        grown = p[j * width : (j + 1) * width]
        for i in range(width):
            grown[i] *= rest[i]


@compiled
def _read_log_softmax(z, logp, top, total, rest, width, classes):
    for i in range(width):
        rest[i] = elementary.log(total[i])
    for j in range(classes):
        row, to = z[j * width : (j + 1) * width], logp[j * width : (j + 1) * width]
        for i in range(width):
            to[i] = (row[i] - top[i]) - rest[i]


@compiled
def _read_complement(z, p, logp, found, rows, width, classes):
    """Compute log(1 - p); see `runtime.log_one_minus_softmax`."""
    top, second, rest, place = rows[TOP, :width], rows[SECOND, :width], rows[REST, :width], rows[PLACE, :width]
    _two_largest(z, second, place, width, classes)
    rest[:] = 0
    for j in range(classes):
        row = z[j * width : (j + 1) * width]
        for i in range(width):
            more = elementary.exp(row[i] - second[i])
            rest[i] += ZERO if place[i] == j else more
    for i in range(width):
        rest[i] = elementary.log(rest[i]) + (second[i] - top[i])
    for j in range(classes):
        at = slice(j * width, (j + 1) * width)
        own, log_own, to = p[at], logp[at], found[at]
        for i in range(width):
            below = elementary.log_complement(own[i])
            to[i] = log_own[i] + rest[i] if place[i] == j else below


@compiled
def _two_largest(z, second, place, width, classes):
    """Find the class of the first of the largest logits, and the largest of the others."""
    largest = second.copy()
    largest[:] = -np.inf
    second[:] = -np.inf
    place[:] = 0
    for j in range(classes):
        row = z[j * width : (j + 1) * width]
        for i in range(width):
            x, top, other = row[i], largest[i], second[i]
            second[i] = top if x > top else (x if x > other else other)
            place[i] = j if x > top else place[i]
            largest[i] = x if x > top else top


@compiled
def _centre(z, mean, width, classes):
    """Take off the mean over the classes."""
    mean[:] = 0
    for j in range(classes):
        row = z[j * width : (j + 1) * width]
        for i in range(width):
            mean[i] += row[i]
    for i in range(width):
        mean[i] /= classes
    for j in range(classes):
        row = z[j * width : (j + 1) * width]
        for i in range(width):
            row[i] -= mean[i]


@outer
def _fill_leaves(values, rows, labels, logits, target, ignored, leaves):
    """Fill the first registers with what programs read of logits (T, C) and classes (T,)."""
    width, classes = logits.shape
    size = width * classes
    z, p, logp, top, total = (
        values[Z, :size],
        values[P, :size],
        values[LOGP, :size],
        rows[TOP, :width],
        rows[TOTAL, :width],
    )
    _read_logits(logits, z, width)
    _read_target(target, labels, rows[COUNTED, :width], ignored)
    if leaves[Y]:
        _mark(labels, values[Y, :size], width)
    _read_softmax(z, p, top, total, rows[REST, :width], width, classes)
    if leaves[LOGP] or leaves[LOG1MP]:
        _read_log_softmax(z, logp, top, total, rows[REST, :width], width, classes)
    if leaves[LOG1MP]:
        _read_complement(z, p, logp, values[LOG1MP, :size], rows, width, classes)
    if leaves[Z]:
        _centre(z, rows[REST, :width], width, classes)


@compiled
def _complement_slopes(values, slopes, rows, width, classes):
    """Hand the gradient of log(1 - p) on: the top class's to the logits, the others' to that of log p."""
    at_top, own, place = rows[TOP, :width], rows[SECOND, :width], rows[PLACE, :width]
    for i in range(width):
        k = int(place[i]) * width + i
        own[i], at_top[i] = slopes[LOG1MP, k], values[LOG1MP, k]
    for j in range(classes):
        at = slice(j * width, (j + 1) * width)
        p, logp, slope = values[P, at], values[LOGP, at], slopes[LOG1MP, at]
        to_logits, to_logp = slopes[Z, at], slopes[LOGP, at]
        for i in range(width):
            others = elementary.exp(logp[i] - at_top[i]) - p[i]
            below = slope[i] * (p[i] / (ONE - p[i]))
            to_logits[i] += own[i] * (-p[i] if place[i] == j else others)
            to_logp[i] -= ZERO if place[i] == j else below


@compiled
def _log_slopes(p, slope, total, found, width, classes):
    """Take the gradient of log p to the logits."""
    total[:] = 0
    for j in range(classes):
        row = slope[j * width : (j + 1) * width]
        for i in range(width):
            total[i] += row[i]
    for j in range(classes):
        at = slice(j * width, (j + 1) * width)
        own, row, to = p[at], slope[at], found[at]
        for i in range(width):
            to[i] += row[i] - own[i] * total[i]


@compiled
def _softmax_slopes(p, slope, total, found, width, classes):
    """Take the gradient of p to the logits."""
    total[:] = 0
    for j in range(classes):
        own, row = p[j * width : (j + 1) * width], slope[j * width : (j + 1) * width]
        for i in range(width):
            total[i] += own[i] * row[i]
    for j in range(classes):
        at = slice(j * width, (j + 1) * width)
        own, row, to = p[at], slope[at], found[at]
        for i in range(width):
            to[i] += own[i] * row[i] - own[i] * total[i]


@outer
def _logit_slopes(values, slopes, rows, leaves, gradient):
    """Turn the gradients of the first registers into the gradient (T, C) of the logits."""
    width, classes = gradient.shape
    size = width * classes
    found, p, total = slopes[Z, :size], values[P, :size], rows[TOTAL, :width]
    if leaves[Z]:
        _centre(found, total, width, classes)
    if leaves[LOG1MP]:
        _complement_slopes(values, slopes, rows, width, classes)
    if leaves[LOGP] or leaves[LOG1MP]:
        _log_slopes(p, slopes[LOGP, :size], total, found, width, classes)
    if leaves[P]:
        _softmax_slopes(p, slopes[P, :size], total, found, width, classes)
    for i in range(width):
        for j in range(classes):
            gradient[i, j] = found[j * width + i]


# --------------------------------------------------------------------------- programs


@compiled
def _factor(op, shares, image):
    """Give what a sum is multiplied with to be a mean; see `_count`."""
    if op == MEAN_C:
        return shares[1]
    if op == MEAN_B:
        return shares[2]
    if op == MEAN_I:
        return shares[3]
    return shares[5 + image] if op == MEAN_X else shares[4]


@outer
def _count(target, ignored, classes, shares, seen):
    """Fill whether anything counts, the shares of a class, a sample, an image and an image's samples among it, and one.

    And say which images have anything that counts.
    """
    total = images = 0
    for i in range(len(target)):
        count = 0
        for j in range(target.shape[1]):
            count += target[i, j] != ignored
        shares[5 + i] = 1.0 / max(count, 1)
        seen[i] = count > 0
        total += count
        images += count > 0
    shares[0], shares[1], shares[2] = total > 0, 1.0 / classes, 1.0 / max(total, 1)
    shares[3], shares[4] = 1.0 / max(images, 1), 1


@compiled
def _read(op, value, v, classes, prior, progress, tiny):
    """Fill the register of what needs no argument."""
    if op == PRIOR:
        v[:] = prior
    else:
        v[0] = classes if op == CLASSES else progress if op == PROGRESS else tiny if op == TINY else value


@outer
def _forward(code, constants, order, values, rows, labels, shares, seen, prior, progress, tiny, tile):
    classes, width, image, _ = tile
    for k in order:
        op, a, b, shape = code[k, 0], code[k, 1], code[k, 2], code[k, 3]
        v = values[len(LEAVES) + k, : _length(shape, tile)]
        if a == NONE:
            _read(op, constants[k], v, classes, prior, progress, tiny)
        elif op == EXPAND:
            _expand(values[a], code[k, 5], v, shape, tile)
        elif op == PICK:
            _pick(values[a], code[k, 5], v, labels)
        elif op == MAX_C:
            _largest(values[a], v, classes)
        elif op <= MEAN_C:
            v[:] = 0
            _gather(values[a], code[k, 5], v, shape, tile, _factor(op, shares, image))
        elif op == ANY:
            v[0] = values[a, 0] * shares[0]
        elif op <= MEAN_I and op >= SUM_I:
            v[:] = 0
            _sum(values[a], code[k, 5], v, shape, seen, tile, _factor(op, shares, image))
        elif op <= MEAN_B:
            _sum(values[a], code[k, 5], v, shape, rows[COUNTED, :width], tile, _factor(op, shares, image))
        else:
            _values(op, values[a, : len(v)], values[b, : len(v)], v)


@outer
def _backward(code, order, values, slopes, rows, labels, shares, seen, tile):
    """Go back through instructions, adding to the gradients of what each one read."""
    classes, width, image, _ = tile
    for k in order:
        op, a, b, shape = code[k, 0], code[k, 1], code[k, 2], code[k, 3]
        length = _length(shape, tile)
        v, g = values[len(LEAVES) + k, :length], slopes[len(LEAVES) + k, :length]
        if op == EXPAND:
            _gather(g, shape, slopes[a], code[k, 5], tile, shares[4])
        elif op == PICK:
            _pick_slopes(g, slopes[a], labels)
        elif op == MAX_C:
            _largest_slopes(values[a], v, g, slopes[a], classes)
        elif op <= MEAN_C:
            _spread(g, slopes[a], code[k, 5], tile, _factor(op, shares, image))
        elif op == ANY:
            slopes[a, 0] += shares[0] * g[0]
        elif op <= MEAN_I and op >= SUM_I:
            _sum_slopes(g, shape, slopes[a], code[k, 5], seen, tile, _factor(op, shares, image))
        elif op <= MEAN_B:
            _sum_slopes(g, shape, slopes[a], code[k, 5], rows[COUNTED, :width], tile, _factor(op, shares, image))
        else:
            x, y = values[a, :length], values[b, :length]
            if code[k, 6]:
                _add_slopes(op, g, x, y, v, slopes[a, :length])
            if code[k, 7]:
                _add_other_slopes(op, g, x, y, v, slopes[b, :length])


@outer
def _clear(code, order, slopes, leaves, size, tile):
    """Forget the gradients of what varies over the samples."""
    for leaf in range(1, len(LEAVES)):
        if leaves[leaf] or leaf in (LOGP, Z):  # through which the others go
            slopes[leaf, :size] = 0
    for k in order:
        if code[k, 4] and code[k, 3] & SAMPLE:
            slopes[len(LEAVES) + k, : _length(code[k, 3], tile)] = 0


@outer
def _begin(code, values, slopes, scale, tile):
    """Forget what is the same for all tiles, and begin the way back at the loss."""
    for k in range(len(code)):
        if not code[k, 3] & SAMPLE:
            place, length = len(LEAVES) + k, _length(code[k, 3], tile)
            values[place, :length] = 0
            slopes[place, :length] = 0
    slopes[len(LEAVES) + len(code) - 1, 0] = scale


@numba.njit(error_model="numpy", cache=True, nogil=True)
def run(
    code,
    constants,
    bounds,
    leaves,
    passes,
    pass_bounds,
    orders,
    width,
    logits,
    target,
    ignored,
    prior,
    progress,
    tiny,
    scales,
    losses,
    gradients,
):
    """Run K programs, each on its own logits.

    Args:
        code: instructions (I, 8) of all programs one after another: operation, first and second argument, shape,
            whether it has a slope, the first argument's shape, whether either argument has a slope.
        constants: the number of each instruction that is a constant, (I,).
        bounds: where each program's instructions begin, (K + 1,).
        leaves: which leaves each program reads, (K, 5).
        passes: rows (tiled, forward begin, end, backward begin, end, ends) of all programs; see `stages.Pass`. The
            first of a program runs it in one go, the others where there are several tiles.
        pass_bounds: where each program's passes begin, (K + 1,).
        orders: numbers of instructions, to which passes point.
        width: samples of a tile at most.
        logits: (K, images, samples, C).
        target: class numbers (K, images, samples).
        ignored: the target of what does not count.
        prior: class shares (C,).
        progress: of the training.
        tiny: smallest normal number of the logits' type.
        scales: factor on each loss, (K,).
        losses: filled with the mean losses (K,).
        gradients: filled with their gradients, of the shape of the logits.
    """
    count, images, samples, classes = logits.shape
    registers = len(LEAVES) + (bounds[1:] - bounds[:-1]).max()
    size = classes * max(min(width, samples), images)
    values, slopes = np.zeros((registers, size), logits.dtype), np.zeros((registers, size), logits.dtype)
    rows, shares = np.zeros((6, min(width, samples)), logits.dtype), np.zeros(5 + images, logits.dtype)
    seen, labels = np.zeros(images, logits.dtype), np.zeros(min(width, samples), np.int64)
    for k in range(count):
        part, numbers = code[bounds[k] : bounds[k + 1]], constants[bounds[k] : bounds[k + 1]]
        _count(target[k], ignored, classes, shares, seen)
        _begin(part, values, slopes, scales[k], (classes, 0, 0, images))
        first, last = pass_bounds[k], pass_bounds[k + 1]
        tiles = -(-samples // width)
        in_one_go = last == first + 1 or (images == 1 and tiles == 1)
        for n in range(first, first + 1) if in_one_go else range(first + 1, last):
            tiled, ends = passes[n, 0], passes[n, 5]
            forward, backward = orders[passes[n, 1] : passes[n, 2]], orders[passes[n, 3] : passes[n, 4]]
            for at in range(images * tiles if tiled else 1):
                image, start = at // tiles, at % tiles * width
                stop = min(start + width, samples)
                tile = (classes, stop - start, image, images)
                if tiled:
                    here = target[k, image, start:stop]
                    _fill_leaves(values, rows, labels, logits[k, image, start:stop], here, ignored, leaves[k])
                    if len(backward) or ends:
                        _clear(part, forward, slopes, leaves[k], classes * (stop - start), tile)
                _forward(part, numbers, forward, values, rows, labels, shares, seen, prior, progress, tiny, tile)
                _backward(part, backward, values, slopes, rows, labels, shares, seen, tile)
                if ends:
                    _logit_slopes(values, slopes, rows, leaves[k], gradients[k, image, start:stop])
        losses[k] = scales[k] * values[len(LEAVES) + len(part) - 1, 0]
