"""The fixed part of an exported loss with Triton kernels: what reads a tile, what writes it, and who calls it."""

KERNELS = '''
EPSILON = tl.constexpr({epsilon!r})
SMALLEST = tl.constexpr({smallest!r})  # the smallest normal float32
RAISED, LOG_RAISED = tl.constexpr({raised!r}), tl.constexpr({log_raised!r})
LARGEST = {largest}  # classes of one sample, padded to a power of two
TILE = 2048  # numbers of a tile of several samples
WARPS = ((2048, 4), (4096, 8), (LARGEST, 16))  # groups of 32 threads, up to so many numbers of a tile
NEVER = -(1 << 31)  # stands for no ignore_index


{library}


@triton.jit
def read_rows(target, weight, rows, classes, ignored, WEIGHTED: tl.constexpr, ROWS: tl.constexpr):
    """Read of a tile's rows, samples or pixels: label, weight, place, what counts and what is there."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    there = row < rows
    place = tl.program_id(1).to(tl.int64) * rows + row
    label = tl.load(target + place, mask=there, other=0).to(tl.int32)
    counts = there & (label != ignored)
    label = tl.where(counts, label, 0)
    own = tl.where(counts, 1.0, 0.0)
    if WEIGHTED:
        is_class = (label >= 0) & (label < classes)
        own = own * tl.load(weight + label, mask=is_class, other=0.0).to(tl.float32)
    return label, own, place, counts, there


@triton.jit
def tile_places(rows, classes, image_stride, row_stride, class_stride, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Give the places of a tile's numbers in memory, and which columns are classes."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDTH)[None, :]
    image = tl.program_id(1).to(tl.int64)
    return image * image_stride + row * row_stride + column * class_stride, column, column < classes


@triton.jit
def forward_kernel(
    logits, target, weight, prior, progress, values, parts, rows, classes, C, ignored,
    image_stride, row_stride, class_stride,
    WEIGHTED: tl.constexpr, REDUCED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):
    """Write the weighted value of every row, or of all rows of a tile their sum and the sum of their weights."""
    label, own, place, counts, there = read_rows(target, weight, rows, classes, ignored, WEIGHTED, ROWS)
    places, column, known = tile_places(rows, classes, image_stride, row_stride, class_stride, ROWS, WIDTH)
    label = label[:, None]
    x = tl.load(logits + places, mask=counts[:, None] & known, other=0.0).to(tl.float32)
    x = tl.where(known, x, float("-inf"))
    {value}
    value = tl.where(counts, value * own * {scale}, 0.0)
    if REDUCED:
        part = parts + 2 * (tl.program_id(1) * tl.num_programs(0) + tl.program_id(0))
        tl.store(part, tl.sum(value, 0))
        tl.store(part + 1, tl.sum(own, 0))
    else:
        tl.store(values + place, value, mask=there)


@triton.jit
def backward_kernel(
    logits, target, weight, prior, progress, slopes, whole, gradient, rows, classes, C, ignored,
    image_stride, row_stride, class_stride, to_image, to_row, to_class,
    WEIGHTED: tl.constexpr, REDUCED: tl.constexpr, MEAN: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):
    """Write the gradient of a tile's logits, from that of the loss or of each row's value."""
    label, own, place, counts, there = read_rows(target, weight, rows, classes, ignored, WEIGHTED, ROWS)
    places, column, known = tile_places(rows, classes, image_stride, row_stride, class_stride, ROWS, WIDTH)
    label = label[:, None]
    x = tl.load(logits + places, mask=counts[:, None] & known, other=0.0).to(tl.float32)
    x = tl.where(known, x, float("-inf"))
    {slope}
    if REDUCED:
        outer = own * tl.load(slopes).to(tl.float32)
    else:
        outer = own * tl.load(slopes + place, mask=there, other=0.0).to(tl.float32)
    if MEAN:
        outer = outer / tl.load(whole)
    slope = tl.where(counts[:, None] & known, slope * (outer * {scale})[:, None], 0.0)
    towards, _, _ = tile_places(rows, classes, to_image, to_row, to_class, ROWS, WIDTH)
    tl.store(gradient + towards, slope.to(gradient.dtype.element_ty), mask=there[:, None] & known)


def fits(logits: Tensor, target: Tensor) -> bool:
    """Say whether the kernels take these: class numbers on a GPU, and no more classes than a tile holds."""
    return (
        logits.is_cuda
        and logits.dtype in {{torch.float32, torch.float16, torch.bfloat16}}
        and not target.is_floating_point()
        and target.shape == logits.shape[:1] + logits.shape[2:]
        and 0 < logits.numel() < 2**31
        and logits.shape[1] <= LARGEST
        and (logits.shape[2:].numel() == 1 or len(logits) < 1 << 16)  # images are rows of the grid
        and not torch.compiler.is_compiling()
    )


def strides(scores: Tensor) -> tuple[int, int, int]:
    """Return the steps in memory from image to image, row to row and class to class; samples are rows of one image."""
    batch, classes, pixels = scores.stride()
    return (0, batch, classes) if scores.shape[2] == 1 else (batch, pixels, classes)


def tiles(scores: Tensor) -> tuple[int, tuple[int, int], dict[str, int]]:
    """Return the rows of an image, the grid of tiles, and what the kernels are compiled for."""
    batch, classes, pixels = scores.shape
    rows, images = (batch, 1) if pixels == 1 else (pixels, batch)
    width = triton.next_power_of_2(classes)
    height = max(1, min(TILE // width, triton.next_power_of_2(rows)))
    warps = next(warps for most, warps in WARPS if height * width <= most)
    options = {{"ROWS": height, "WIDTH": width, "num_warps": warps, "enable_fp_fusion": True}}
    return rows, (triton.cdiv(rows, height), images), options


class Fused(torch.autograd.Function):
    """A loss of logits (B, C, N) and class numbers (B, N): one kernel forward, one backward, nothing kept between."""

    @staticmethod
    def forward(ctx, scores, target, loss):
        rows, grid, options = tiles(scores)
        reduced = loss.reduction != "none"
        parts = scores.new_empty((grid[0] * grid[1], 2) if reduced else (), dtype=torch.float32)
        values = parts if reduced else scores.new_empty(target.shape, dtype=torch.float32)
        ctx.loss, ctx.given = loss, given(loss, scores, target)
        with torch.cuda.device_of(scores):
            forward_kernel[grid](
                *ctx.given[:5], values, parts, rows, *ctx.given[5:], *strides(scores),
                WEIGHTED=loss.weight is not None, REDUCED=reduced, **options,
            )
        if not reduced:
            ctx.save_for_backward(scores, target)
            return values
        sums = parts.sum(0)
        total = sums[1].clamp_min(torch.finfo(torch.float32).tiny)  # 0 where nothing counts
        ctx.save_for_backward(scores, target, total)
        return sums[0] / total if loss.reduction == "mean" else sums[0]

    @staticmethod
    def backward(ctx, slope):
        scores, target, *total = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to have a gradient: the torch form has all of them
            value = ctx.loss.unfused(scores, target)
            (gradient,) = torch.autograd.grad(value, scores, slope.to(value.dtype), create_graph=True)
            return gradient, None, None
        gradient, (rows, grid, options) = torch.empty_like(scores), tiles(scores)
        with torch.cuda.device_of(scores):
            backward_kernel[grid](
                *ctx.given[:5], slope.contiguous(), *(total or [slope]), gradient, rows, *ctx.given[5:],
                *strides(scores), *strides(gradient),
                WEIGHTED=ctx.loss.weight is not None, REDUCED=bool(total), MEAN=ctx.loss.reduction == "mean", **options,
            )
        return gradient, None, None


def given(loss: nn.Module, scores: Tensor, target: Tensor) -> tuple:
    """Return what both kernels read; a pointer that is not needed points anywhere."""
    ignored, classes = loss.ignore_index, scores.shape[1]
    pointers = [scores if one is None else one.contiguous() for one in (loss.weight, {prior}, {progress})]
    return scores, target, *pointers, classes, float(classes), NEVER if ignored is None else ignored

'''
ENTRY = """
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if not fits(logits, target):
            return self.unfused(logits, target)
        scores = logits.reshape(*logits.shape[:2], -1)
        loss = Fused.apply(scores, target.reshape(len(target), -1).contiguous(), self)
        return loss if self.reduction != "none" else loss.reshape(target.shape)
"""
