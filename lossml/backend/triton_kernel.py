"""The machine that runs instructions on a GPU: value and logit gradient of K programs in one launch.

One group of threads runs one program on its whole batch, so no program's result depends on another's. A register
is a tile of BP samples and CP classes, both padded to powers of two, that holds its value at every place, also
along axes it does not vary over: broadcasting is a copy, and its reverse a sum that every place gets. What the
padding holds means nothing, and may be no number; sums leave it out by choosing, never by multiplying with zero.
Registers lie in global memory, where a barrier stands between a store and the loads of other threads.

The meaning of each step is that of `kernel`; only what Triton says without a library of its own is used.
"""

import triton
import triton.language as tl

from lossml.backend import bytecode
from lossml.backend.bytecode import CODES, STEPS
from lossml.backend.triton_runtime import (
    EPSILON,
    SMALLEST,
    complement,
    complement_at_top,
    complement_below,
    is_top,
    larger,
    largest,
    log,
    over_classes,
    power,
    share,
    sign,
    smaller,
    tanh,
)

# A compiled function reads no globals but these. The operations are named in the order of `CODES`.
_NUMBERS = tuple(tl.constexpr(code) for code in CODES.values())
CONST, CLASSES, PROGRESS, PRIOR, TINY, EXPAND, PICK, SUM_C, MEAN_C, MAX_C, *_ = _NUMBERS
SUM_B, MEAN_B, *_ = _NUMBERS[CODES["sum_B"] :]  # those over X and I are for masks
ADD, SUB, MUL, DIV, NEG, SQUARE, EXP, MAX, MIN, NONZERO, LOG, SQRT, POW, ABS, *_ = _NUMBERS[CODES["add"] :]
TANH, SIN, COS, RSQRT1P, LOGABS = _NUMBERS[CODES["tanh"] : len(STEPS)]
Y, P, LOGP, LOG1MP, Z = (tl.constexpr(place) for place in range(len(bytecode.LEAVES)))
LEAVES = tl.constexpr(len(bytecode.LEAVES))
SAMPLE, CLASS = tl.constexpr(bytecode.SAMPLE), tl.constexpr(bytecode.CLASS)
FIELDS = tl.constexpr(8)  # of an instruction; see `kernel.run`


# ------------------------------------------------------------------------- what acts on each number


@triton.jit
def _value(op, x, y):
    """Apply an operation as `ops.ELEMENTWISE` does; what is no number wins in max and min."""
    v = x
    if op == MUL:
        v = x * y
    elif op == ADD:
        v = x + y
    elif op == SUB:
        v = x - y
    elif op == DIV:
        v = x / y
    elif op == NEG:
        v = -x
    elif op == SQUARE:
        v = x * x
    elif op == EXP:
        v = tl.exp(x)
    elif op == MAX:
        v = larger(x, y)
    elif op == MIN:
        v = smaller(x, y)
    elif op == NONZERO:
        v = tl.where(x != 0, x, y)
    elif op == LOG:
        v = log(x)
    elif op == SQRT:
        v = tl.sqrt_rn(x)
    elif op == POW:
        v = power(x, y)
    elif op == ABS:
        v = tl.abs(x)
    elif op == TANH:
        v = tanh(x)
    elif op == SIN:
        v = tl.sin(x)
    elif op == COS:
        v = tl.cos(x)
    elif op == RSQRT1P:
        v = 1.0 / tl.sqrt_rn(1.0 + x * x)
    else:
        v = tl.log(tl.abs(x) + EPSILON)
    return v


@triton.jit
def _of_larger(g, x, y):
    """Give g to x where it is larger than y; a tie shares it, and what is smaller gets zero, whatever g is."""
    return tl.where(x == y, 0.5 * g, tl.where(x < y, 0.0, g))


@triton.jit
def _first_slope(op, g, x, y, v):
    """Take the gradient g of v = op(x, y) to x, as torch does: ties share it, a kink has none."""
    d = g
    if op == MUL:
        d = g * y
    elif op == DIV:
        d = g / y
    elif op == NEG:
        d = -g
    elif op == SQUARE:
        d = g * (x + x)
    elif op == EXP:
        d = g * v
    elif op == MAX:
        d = _of_larger(g, x, y)
    elif op == MIN:
        d = _of_larger(g, y, x)
    elif op == NONZERO:
        d = tl.where(x != 0, g, 0.0)
    elif op == LOG:
        d = g / x
    elif op == SQRT:
        d = g * (0.5 / v)
    elif op == POW:
        d = tl.where(y == 0, 0.0, g * (y * power(x, y - 1.0)))
    elif op == ABS:
        d = g * sign(x)
    elif op == TANH:
        d = g * (1.0 - v * v)
    elif op == SIN:
        d = g * tl.cos(x)
    elif op == COS:
        d = -g * tl.sin(x)
    elif op == RSQRT1P:
        d = -g * (x * v * v * v)
    elif op == LOGABS:
        d = g * (sign(x) / (tl.abs(x) + EPSILON))
    return d  # of a sum or difference: g itself


@triton.jit
def _second_slope(op, g, x, y, v):
    """Take the gradient g of v = op(x, y) to y."""
    d = g
    if op == MUL:
        d = g * x
    elif op == SUB:
        d = -g
    elif op == DIV:
        d = -g * (v / y)
    elif op == MAX:
        d = _of_larger(g, y, x)
    elif op == MIN:
        d = _of_larger(g, x, y)
    elif op == POW:
        d = g * (v * log(x))
    return d


# ------------------------------------------------------------------------- what changes the shape


@triton.jit
def _over_classes(x, known):
    """Sum over the classes, at every place."""
    return tl.broadcast_to(over_classes(x, known), x.shape)


@triton.jit
def _over_samples(x, counted):
    """Sum over the samples that count, at every place."""
    return tl.broadcast_to(tl.sum(tl.where(counted, x, 0.0), 0)[None, :], x.shape)


@triton.jit
def _pick(x, y, known):
    """Read x where y marks the true class, at every place; of what is no class it is no number."""
    return _over_classes(tl.where(y == y, tl.where(y == 1.0, x, 0.0), y), known)


@triton.jit
def _aggregate(op, x, known, counted, classes, number):
    v = x
    if op == MAX_C:
        v = tl.broadcast_to(largest(x, known), x.shape)
    elif op == SUM_C:
        v = _over_classes(x, known)
    elif op == MEAN_C:
        v = _over_classes(x, known) / classes
    elif op == SUM_B:
        v = _over_samples(x, counted)
    elif op == MEAN_B:
        v = _over_samples(x, counted) / number
    return v  # of a broadcast: x itself


@triton.jit
def _aggregate_slope(op, g, x, v, added, known, counted, classes, number):
    """Take the gradient of an aggregate, or of a broadcast over the axes `added`, to its argument.

    A sample that does not count has no gradient, and so takes part in no sum: its numbers could be infinite.
    """
    d = g
    if op == EXPAND:
        if (added & CLASS) != 0:
            d = _over_classes(d, known)
        if (added & SAMPLE) != 0:
            d = _over_samples(d, counted)
    elif op == MAX_C:
        d = share(g, x, v, known)
    elif op == MEAN_C:
        d = g / classes
    elif op == SUM_B:
        d = tl.where(counted, g, 0.0)
    elif op == MEAN_B:
        d = tl.where(counted, g / number, 0.0)
    return d


# ------------------------------------------------------------------------- the first registers


@triton.jit
def _fill_leaves(values, x, label, column, known, classes, wants_complement, SIZE: tl.constexpr):
    """Fill the first registers with what programs read of logits x; y of a label that is no class is no number."""
    first = tl.max(tl.where(known, x, float("-inf")), 1)[:, None]
    grown = tl.where(known, tl.exp(x - first), 0.0)
    total = tl.sum(grown, 1)[:, None]
    p = grown / total
    logp = x - first - tl.log(total)
    is_class = (label >= 0) & (label < classes)
    tl.store(values + Y * SIZE, tl.where(is_class, tl.where(column == label, 1.0, 0.0), float("nan")))
    tl.store(values + P * SIZE, p)
    tl.store(values + LOGP * SIZE, logp)
    tl.store(values + Z * SIZE, x - _over_classes(x, known) / classes)
    if wants_complement != 0:
        tl.store(values + LOG1MP * SIZE, complement(x, p, logp, is_top(x, column, known), known))


@triton.jit
def _complement_slopes(values, slopes, x, column, known, SIZE: tl.constexpr):
    """Give the gradient of log(1 - p): of the top class to the logits, of the others to log p."""
    p, logp = tl.load(values + P * SIZE), tl.load(values + LOGP * SIZE)
    slope, value = tl.load(slopes + LOG1MP * SIZE), tl.load(values + LOG1MP * SIZE)
    top = is_top(x, column, known)
    return complement_at_top(slope, value, p, logp, top, known), complement_below(slope, p, top)


@triton.jit
def _logit_slopes(values, slopes, leaves, x, column, known, classes, SIZE: tl.constexpr):
    """Turn the gradients of the first registers into the gradient of the logits x."""
    p, outer = tl.load(values + P * SIZE), tl.load(slopes + LOGP * SIZE)
    found = tl.zeros(x.shape, tl.float32)
    if tl.load(leaves + LOG1MP) != 0:
        found, more = _complement_slopes(values, slopes, x, column, known, SIZE)
        outer += more
    if (tl.load(leaves + LOGP) | tl.load(leaves + LOG1MP)) != 0:
        found += outer - p * _over_classes(outer, known)
    if tl.load(leaves + P) != 0:
        inner = tl.load(slopes + P * SIZE)
        found += p * inner - p * _over_classes(p * inner, known)
    if tl.load(leaves + Z) != 0:
        direct = tl.load(slopes + Z * SIZE)
        found += direct - _over_classes(direct, known) / classes
    return found


# ------------------------------------------------------------------------- programs


@triton.jit
def _read(op, constant, prior, column, known, classes, progress, SHAPE: tl.constexpr):
    """Fill the register of what needs no argument."""
    v = tl.zeros(SHAPE, tl.float32)
    if op == PRIOR:
        v += tl.load(prior + column, mask=known, other=0.0)
    elif op == CLASSES:
        v += classes
    elif op == PROGRESS:
        v += progress
    elif op == TINY:
        v += SMALLEST
    else:
        v += tl.load(constant)
    return v


@triton.jit
def _forward(
    code,
    constants,
    values,
    prior,
    count,
    column,
    known,
    counted,
    classes,
    number,
    progress,
    SIZE: tl.constexpr,
    SHAPE: tl.constexpr,
):
    for i in range(count):
        op, a, b = tl.load(code + i * FIELDS), tl.load(code + i * FIELDS + 1), tl.load(code + i * FIELDS + 2)
        v = tl.zeros(SHAPE, tl.float32)
        if a < 0:
            v = _read(op, constants + i, prior, column, known, classes, progress, SHAPE)
        else:
            x = tl.load(values + a * SIZE)
            if op == PICK:
                v = _pick(x, tl.load(values + b * SIZE), known)
            elif op <= MEAN_B:
                v = _aggregate(op, x, known, counted, classes, number)
            else:
                v = _value(op, x, tl.load(values + b * SIZE))
        tl.store(values + (i + LEAVES) * SIZE, v)
        tl.debug_barrier()


@triton.jit
def _step_back(code, values, slopes, place, known, counted, classes, number, SIZE: tl.constexpr):
    """Add the gradient of one register to those of what it was computed from."""
    op, a, b = tl.load(code), tl.load(code + 1), tl.load(code + 2)
    g, v, x = tl.load(slopes + place * SIZE), tl.load(values + place * SIZE), tl.load(values + a * SIZE)
    y = tl.load(values + b * SIZE)
    if tl.load(code + 6) != 0:
        d = g
        if op == PICK:
            d = tl.where(y == 1.0, g, 0.0)
        elif op <= MEAN_B:
            added = tl.load(code + 3) & ~tl.load(code + 5)
            d = _aggregate_slope(op, g, x, v, added, known, counted, classes, number)
        else:
            d = _first_slope(op, g, x, y, v)
        tl.store(slopes + a * SIZE, tl.load(slopes + a * SIZE) + d)
    tl.debug_barrier()  # both arguments may be one
    if tl.load(code + 7) != 0:
        d = _second_slope(op, g, x, y, v)
        tl.store(slopes + b * SIZE, tl.load(slopes + b * SIZE) + d)
    tl.debug_barrier()


@triton.jit
def _backward(code, values, slopes, count, known, counted, classes, number, SIZE: tl.constexpr, SHAPE: tl.constexpr):
    """Go back from the last instruction, whose own gradient is one."""
    for place in range(count + LEAVES - 1):
        tl.store(slopes + place * SIZE, tl.zeros(SHAPE, tl.float32))
    tl.store(slopes + (count + LEAVES - 1) * SIZE, tl.full(SHAPE, 1.0, tl.float32))
    tl.debug_barrier()
    for done in range(count):
        i = count - 1 - done
        if tl.load(code + i * FIELDS + 4) != 0:
            _step_back(code + i * FIELDS, values, slopes, i + LEAVES, known, counted, classes, number, SIZE)


@triton.jit(
    do_not_specialize=["samples", "classes", "ignored", "progress"],
    do_not_specialize_on_alignment=["logits", "target", "prior", "losses", "gradients"],
)
def run(
    code,
    constants,
    bounds,
    leaves,
    logits,
    target,
    prior,
    progress,
    samples,
    classes,
    ignored,
    values,
    slopes,
    losses,
    gradients,
    BP: tl.constexpr,
    CP: tl.constexpr,
):
    """Run K programs, each on its own logits (K, B, C).

    Args:
        code: instructions, and with them constants, bounds, leaves, target, prior and progress: see `kernel.run`.
        constants: float32, as are all but whole numbers.
        bounds: where each program's instructions begin.
        leaves: which leaves each program reads.
        logits: contiguous.
        target: int64.
        prior: anything where no program reads it.
        progress: of the training.
        samples: B.
        classes: C.
        ignored: the target of samples that do not count.
        values: room for the registers of all programs, five leaves and the instructions of each, a tile a register.
        slopes: the same for their gradients.
        losses: filled with the mean losses (K,).
        gradients: filled with their gradients (K, B, C).
        BP: samples of a tile.
        CP: classes of a tile.
    """
    SIZE: tl.constexpr = BP * CP
    SHAPE: tl.constexpr = (BP, CP)
    k = tl.program_id(0).to(tl.int64)
    start = tl.load(bounds + k)
    count = (tl.load(bounds + k + 1) - start).to(tl.int32)
    row, column = tl.arange(0, BP)[:, None], tl.arange(0, CP)[None, :]
    known, there = column < classes, row < samples
    label = tl.load(target + k * samples + row, mask=there, other=0)
    counted = there & (label != ignored)
    number = tl.maximum(tl.sum(tl.where(counted, 1.0, 0.0)), 1.0)
    at = k * samples * classes + row * classes + column
    x = tl.load(logits + at, mask=there & known, other=0.0)

    place = (start + k * LEAVES) * SIZE + row * CP + column
    values, slopes, code, leaves = values + place, slopes + place, code + start * FIELDS, leaves + k * LEAVES
    _fill_leaves(values, x, label, column, known, classes, tl.load(leaves + LOG1MP), SIZE)
    tl.debug_barrier()
    _forward(
        code, constants + start, values, prior, count, column, known, counted, classes, number, progress, SIZE, SHAPE
    )
    loss = tl.load(values + (count + LEAVES - 1) * SIZE)
    tl.store(losses + k + 0 * (row + column), loss, mask=(row == 0) & (column == 0))
    _backward(code, values, slopes, count, known, counted, classes, number, SIZE, SHAPE)
    found = _logit_slopes(values, slopes, leaves, x, column, known, classes, SIZE)
    tl.store(gradients + at, tl.where(counted, found, 0.0), mask=there & known)
