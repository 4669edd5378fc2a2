"""The fixed part of an exported loss with Triton kernels: what reads a tile, what writes it, and who calls it."""

KERNELS = '''
EPSILON = tl.constexpr({epsilon!r})
SMALLEST = tl.constexpr({smallest!r})  # the smallest normal float32
RAISED, LOG_RAISED = tl.constexpr({raised!r}), tl.constexpr({log_raised!r})
LARGEST = {largest}  # classes of one sample, padded to a power of two
TILE = 2048  # numbers of a tile of several samples
WARPS = ((2048, 4), (4096, 8), (LARGEST, 16))  # groups of 32 threads, up to so many numbers of a tile
NEVER = -(1 << 31)  # stands for no ignore_index
FLOOR = tl.constexpr(2.0**-100)  # what a mean is divided by where nothing counts; any real total swallows it
FLOATS = frozenset({{torch.float32, torch.float16, torch.bfloat16}})
HERE = nullcontext()


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
def loss_kernel(
    logits, target, weight, prior, progress, found, gradient, rows, classes, ignored,
    image_stride, row_stride, class_stride, to_image, to_row, to_class,
    WEIGHTED: tl.constexpr, REDUCED: tl.constexpr, GRADIENT: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):
    """Write the weighted value of every row, or of all rows of a tile their sum and the sum of their weights.

    Where it is asked for, write the gradient of the tile's logits as well, that of the rows' sum.
    """
    label, own, place, counts, there = read_rows(target, weight, rows, classes, ignored, WEIGHTED, ROWS)
    places, column, known = tile_places(rows, classes, image_stride, row_stride, class_stride, ROWS, WIDTH)
    label = label[:, None]
    x = tl.load(logits + places, mask=counts[:, None] & known, other=0.0).to(tl.float32)
    x = tl.where(known, x, float("-inf"))
    {value}
    value = tl.where(counts, value * own * {scale}, 0.0)
    if REDUCED:
        tile, tiles = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0), tl.num_programs(0) * tl.num_programs(1)
        tl.store(found + tile, tl.sum(value, 0))
        tl.store(found + tiles + tile, tl.sum(own, 0) + tl.where(tile == 0, FLOOR, 0.0))
    else:
        tl.store(found + place, value, mask=there)
    if GRADIENT:
        {slope}
        slope = tl.where(counts[:, None] & known, slope * (own * {scale})[:, None], 0.0)
        towards, _, _ = tile_places(rows, classes, to_image, to_row, to_class, ROWS, WIDTH)
        tl.store(gradient + towards, slope.to(gradient.dtype.element_ty), mask=there[:, None] & known)


def fits(logits: Tensor, target: Tensor) -> bool:
    """Say whether the kernel takes these: class numbers on a GPU, and no more classes than a tile holds."""
    return (
        logits.is_cuda
        and not torch.compiler.is_compiling()
        and logits.dtype in FLOATS
        and not target.is_floating_point()
        and shapes_fit(logits.shape, target.shape)
    )


@lru_cache(1024)
def shapes_fit(shape: torch.Size, target: torch.Size) -> bool:
    """Say whether the target is a class number for each sample or pixel, and the kernel can count all of them."""
    images = shape[2:].numel() > 1  # they are rows of the grid
    return (
        target == shape[:1] + shape[2:]
        and 0 < shape.numel() < 2**31
        and shape[1] <= LARGEST
        and not (images and shape[0] >= 1 << 16)
    )


@lru_cache(1024)
def tiles(shape: torch.Size) -> tuple[int, tuple[int, int], dict[str, int]]:
    """Return the rows of an image, the grid of tiles, and what the kernel is compiled for."""
    batch, classes, pixels = shape[0], shape[1], shape[2:].numel()
    rows, images = (batch, 1) if pixels == 1 else (pixels, batch)
    width = triton.next_power_of_2(classes)
    height = max(1, min(TILE // width, triton.next_power_of_2(rows)))
    warps = next(warps for most, warps in WARPS if height * width <= most)
    options = {{"ROWS": height, "WIDTH": width, "num_warps": warps, "enable_fp_fusion": True}}
    return rows, (triton.cdiv(rows, height), images), options


def strides(scores: Tensor) -> tuple[int, int, int]:
    """Return the steps in memory from image to image, row to row and class to class; samples are rows of one image."""
    steps, samples = scores.stride(), scores.dim() == 2 or scores.shape[2] == 1
    return (0, steps[0], steps[1]) if samples else (steps[0], steps[2], steps[1])


def on(device: int):
    """Return the context in which a kernel goes to a device: none where it goes there anyway."""
    return HERE if device < 0 or device == torch.cuda.current_device() else torch.cuda.device(device)


def given(loss: nn.Module, scores: Tensor, target: Tensor) -> tuple:
    """Return the tensors that the kernel reads, None for what it does not."""
    tables = [one if one is None else one.contiguous() for one in (loss.weight, {prior}, {progress})]
    return scores, target.contiguous(), *tables


def computed(loss: nn.Module, logits: Tensor, target: Tensor, wanted: bool) -> tuple:
    """Return the loss, the logits' gradient before it is divided by a mean's total, if wanted, and that total."""
    (rows, grid, options), reduced = tiles(logits.shape), loss.reduction != "none"
    scores = logits if logits.dim() < 4 else logits.reshape(*logits.shape[:2], -1)
    gradient = torch.empty_like(scores, dtype=torch.float32) if wanted else scores
    found = scores.new_empty((2, grid[0] * grid[1]) if reduced else target.shape, dtype=torch.float32)
    with on(scores.get_device()):
        loss_kernel[grid](
            *given(loss, scores, target), found, gradient, rows, scores.shape[1],
            NEVER if loss.ignore_index is None else loss.ignore_index, *strides(scores), *strides(gradient),
            WEIGHTED=loss.weight is not None, REDUCED=reduced, GRADIENT=wanted, **options,
        )
    gradient = gradient.view(logits.shape) if wanted else None
    if loss.reduction == "mean":
        value, total = found.sum(1).unbind()
        return value / total, gradient, total
    return found[0].sum() if reduced else found, gradient, None


def of_counted(slope: Tensor, target: Tensor, ignored: int | None) -> Tensor:
    """Let what is ignored have no slope, not even an infinite one, which times a gradient of zero is no number."""
    return slope if ignored is None else slope.masked_fill(target == ignored, 0.0)


def scaled(gradient: Tensor, factor: Tensor, kind: torch.dtype) -> Tensor:
    """Multiply a gradient, round it to the logits' precision only then, and leave the one that is kept as it is."""
    if gradient.dtype == kind:
        return gradient * factor
    return torch.mul(gradient, factor, out=torch.empty_like(gradient, dtype=kind))


class Fused(torch.autograd.Function):
    """A loss of logits and class numbers: one kernel computes it and the gradient, which backward scales."""

    @staticmethod
    def forward(ctx, logits, target, loss, recorded):
        value, gradient, total = computed(loss, logits, target, recorded and ctx.needs_input_grad[0])
        ctx.loss = loss
        ctx.save_for_backward(logits, target, gradient, total)
        return value

    @staticmethod
    def backward(ctx, slope):
        logits, target, gradient, total = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to have a gradient: the torch form has all of them
            value = ctx.loss.unfused(logits, target)
            (gradient,) = torch.autograd.grad(value, logits, slope.to(value.dtype), create_graph=True)
            return gradient, None, None, None
        if slope.dim():  # one a row
            slope = of_counted(slope, target, ctx.loss.ignore_index).unsqueeze(1)
        return scaled(gradient, slope if total is None else slope / total, logits.dtype), None, None, None

'''
ENTRY = """
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if not fits(logits, target):
            return self.unfused(logits, target)
        return Fused.apply(logits, target, self, torch.is_grad_enabled())
"""
