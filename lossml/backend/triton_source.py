"""Code generation: a loss as a torch module with a fused Triton kernel, in a file that needs torch and Triton alone.

What fuses is a loss with a value of its own for each sample or pixel: any program whose aggregates go over the
classes. A tile holds some samples and all their classes, so the logits are read once. Forward writes the weighted
sum of a tile and, where it will be needed, the gradient, of which backward is a multiple: a second kernel would cost
the host more than the memory is worth. The gradient is derived here, by reverse accumulation over the tree, as Triton
has no autograd.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from lossml.backend.codegen import Fused, torch_source
from lossml.backend.source import functions, used
from lossml.backend.triton_template import ENTRY, KERNELS
from lossml.errors import UsageError
from lossml.program import Axes, Node, fold_constants, nodes, operations
from lossml.program.primitives import EPSILON, OPERATIONS
from lossml.program.tree import CONST

_LIBRARY = MappingProxyType(
    {name: f"@triton.jit\n{text}" for name, text in functions(Path(__file__).with_name("triton_runtime.py")).items()}
)
READS = frozenset({"p", "logp", "log1mp", "z", "s", "logs", "log1ms"})  # terminals that are functions of the logits
CONSTANTS = MappingProxyType(
    {"epsilon": EPSILON, "smallest": 2.0**-126, "raised": 2.0**24, "log_raised": 24 * math.log(2)}
)  # of `triton_runtime`
LARGEST = 1 << 14  # classes of one sample, padded: what one group of threads holds


@dataclass(frozen=True, slots=True)
class _Op:
    """An operation's value by its arguments x and y, and the gradient g of the value v to each of them."""

    value: str
    slopes: tuple[str, ...]
    takes_numbers: bool = False


OPS: Mapping[str, _Op] = MappingProxyType(
    {
        "add": _Op("{x} + {y}", ("{g}", "{g}"), takes_numbers=True),
        "sub": _Op("{x} - {y}", ("{g}", "-{g}"), takes_numbers=True),
        "mul": _Op("{x} * {y}", ("{g} * {y}", "{g} * {x}"), takes_numbers=True),
        "div": _Op("{x} / {y}", ("{g} / {y}", "-{g} * ({v} / {y})"), takes_numbers=True),
        "neg": _Op("-{x}", ("-{g}",)),
        "square": _Op("{x} * {x}", ("{g} * ({x} + {x})",)),
        "exp": _Op("tl.exp({x})", ("{g} * {v}",)),
        "log": _Op("log({x})", ("{g} / {x}",)),
        "sqrt": _Op("tl.sqrt_rn(nonzero({x}))", ("root_slope({g}, {x}, {v})",)),
        "pow": _Op("power(nonzero({x}), {y})", ("power_slope({g}, {x}, {y})", "{g} * ({v} * log(nonzero({x})))")),
        "abs": _Op("tl.abs({x})", ("{g} * sign({x})",)),
        "sin": _Op("tl.sin({x})", ("{g} * tl.cos({x})",)),
        "cos": _Op("tl.cos({x})", ("-{g} * tl.sin({x})",)),
        "tanh": _Op("tanh({x})", ("{g} * (1.0 - {v} * {v})",)),
        "rsqrt1p": _Op("1.0 / tl.sqrt_rn(1.0 + {x} * {x})", ("-{g} * ({x} * {v} * {v} * {v})",)),
        "logabs": _Op("tl.log(tl.abs({x}) + EPSILON)", ("{g} * (sign({x}) / (tl.abs({x}) + EPSILON))",)),
        "max": _Op("larger({x}, {y})", ("larger_slope({g}, {x}, {y})", "larger_slope({g}, {y}, {x})")),
        "min": _Op("smaller({x}, {y})", ("larger_slope({g}, {y}, {x})", "larger_slope({g}, {x}, {y})")),
        "sum_C": _Op("over_classes({x}, known)", ("{g}",)),
        "mean_C": _Op("over_classes({x}, known) / classes", ("{g} / classes",)),
        "max_C": _Op("largest({x}, known)", ("share({g}, {x}, {v}, known)",)),
    }
)
_SOFTMAX = (
    "first = tl.max(x, 1)[:, None]",
    "grown = tl.exp(x - first)",
    "total = tl.sum(grown, 1)[:, None]",
    "p = grown / total",
    "logp = x - first - tl.log(total)",
)
_LEAVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "p": _SOFTMAX,
        "logp": _SOFTMAX,
        "log1mp": (*_SOFTMAX, "top = is_top(x, column, known)", "log1mp = complement(x, p, logp, top, known)"),
        "z": ("z = x - over_classes(x, known) / classes",),
        "s": ("s = logistic(x)",),
        "logs": ("logs = log_logistic(x)",),
        "log1ms": ("log1ms = log_logistic(-x)",),
        "y": ("y = tl.where((label >= 0) & (label < classes), tl.where(column == label, 1.0, 0.0), float('nan'))",),
        "pi": ("pi = tl.load(prior + column, mask=known, other=1.0)",),
        "t": ("t = tl.load(progress).to(tl.float32) + tl.zeros((1, 1), tl.float32)",),
        "C": ("number = classes + tl.zeros((1, 1), tl.float32)",),
    }
)
# From the gradient g of a terminal to that of the logits; log(1 - p) goes by log p as well.
_TO_LOGITS: Mapping[str, str] = MappingProxyType(
    {
        "p": "p * ({g} - over_classes(p * {g}, known))",
        "logp": "{g} - p * over_classes({g}, known)",
        "log1mp": "complement_at_top({g}, log1mp, p, logp, top, known)",
        "z": "{g} - over_classes({g}, known) / classes",
        "s": "{g} * s * (1.0 - s)",
        "logs": "{g} * logistic(-x)",
        "log1ms": "-{g} * logistic(x)",
    }
)


def obstacle(program: Node) -> str | None:
    """Say what keeps a program from being fused, None where nothing does."""
    if not operations(program) & READS:
        return "it does not read the logits"
    if program.type.axes & Axes.SAMPLE != Axes.SAMPLE:
        return "it has no value for each sample and pixel"
    for _, node in nodes(program):
        removes = OPERATIONS[node.op].removes if node.args else Axes.SCALAR
        if removes & Axes.SAMPLE:
            return f"{node.op} goes over the batch or the pixels, and a tile holds only some of them"
        if removes and Axes.BATCH not in node.args[0].type.axes:
            return f"{node.op} aggregates what is no sample's"
    return None


@dataclass(slots=True)
class _Tile:
    """Straight-line code over a tile in the making, a variable for every distinct node."""

    lines: list[str] = field(default_factory=list)
    names: dict[Node, str] = field(default_factory=dict)

    def name(self, text: str, letter: str = "v") -> str:
        """Write a statement; return what it defines."""
        self.lines.append(f"{letter}{len(self.lines)} = {text}")
        return f"{letter}{len(self.lines) - 1}"

    def forward(self, order: list[Node]) -> None:
        """Write the values of nodes, arguments before what they are arguments of."""
        for node in order:
            if node.op == CONST:
                self.names[node] = f"({node.value!r})" if abs(node.value) < float("inf") else f"float('{node.value}')"
            elif not node.args:
                self.lines += [line for line in _LEAVES.get(node.op, ()) if line not in self.lines]
                self.names[node] = "number" if node.op == "C" else node.op
            else:
                self.names[node] = self.name(OPS[node.op].value.format(**self.arguments(node)))

    def arguments(self, node: Node) -> dict[str, str]:
        """Return the names of a node's arguments, as x and y; a number as a tile where a function takes it."""
        whole = OPS[node.op].takes_numbers
        return {
            letter: self.names[arg] if whole or arg.op != CONST else f"tl.full((1, 1), {self.names[arg]}, tl.float32)"
            for letter, arg in zip("xy", node.args, strict=False)
        }

    def backward(self, order: list[Node], root: str) -> dict[str, str]:
        """Write the gradients of nodes, the last of which has the gradient `root`; return those of the terminals."""
        found: dict[Node, str] = {order[-1]: root}
        for node in reversed(order):
            if node.args and node in found:
                self._step_back(node, found)
        return {node.op: slope for node, slope in found.items() if not node.args}

    def _step_back(self, node: Node, found: dict[Node, str]) -> None:
        for arg, source in zip(node.args, OPS[node.op].slopes, strict=True):
            if operations(arg) & READS:
                slope = source.format(g=found[node], v=self.names[node], **self.arguments(node))
                if Axes.CLASS in node.type.axes and Axes.CLASS not in arg.type.axes:  # it was the same for all classes
                    slope = f"over_classes({slope}, known)"
                found[arg] = self.name(f"{found[arg]} + {slope}" if arg in found else slope, "g")

    def to_logits(self, slopes: dict[str, str]) -> str:
        """Write the gradient of the logits from those of the terminals; return its name."""
        if "log1mp" in slopes:
            below = f"complement_below({slopes['log1mp']}, p, top)"
            slopes = slopes | {"logp": self.name(f"{slopes['logp']} + {below}" if "logp" in slopes else below, "g")}
        ways = [text.format(g=slopes[name]) for name, text in _TO_LOGITS.items() if name in slopes]
        return self.name(" + ".join(ways), "g")


def _order(program: Node) -> list[Node]:
    """Return the distinct nodes of a program, arguments first."""
    found: dict[Node, None] = {}

    def visit(node: Node) -> None:
        for arg in node.args:
            if arg not in found:
                visit(arg)
        found[node] = None

    visit(program)
    return list(found)


def tile_lines(program: Node) -> tuple[list[str], list[str]]:
    """Write a program that fuses as statements over a tile.

    Returns:
        The statements that end in `value` (ROWS,), of x, label, column, known, classes, prior and progress, and those
        that go on from them and end in `slope` (ROWS, WIDTH), the value's gradient by the logits.
    """
    order = _order(fold_constants(program))
    tile = _Tile()
    tile.forward(order)
    last, whole = tile.names[order[-1]], Axes.CLASS in order[-1].type.axes
    forward = len(tile.lines)
    value = [*tile.lines, f"value = tl.sum({f'tl.where(known, {last}, 0.0)' if whole else last}, 1)"]
    root = tile.name("tl.full((ROWS, 1), 1.0, tl.float32)", "g")
    gradient = tile.to_logits(tile.backward(order, root))
    return value, [*tile.lines[forward:], f"slope = {gradient}"]


def triton_source(program: Node, *, header: str, name: str = "Loss", scale: float = 1.0) -> str:
    """Write a torch module with a fused Triton kernel for a program; see `torch_source` for the arguments.

    On a GPU, class numbers and up to 16,384 classes take the kernel; anything else, such as shares as targets,
    float64, a CPU or torch.compile, takes the torch form, which the file holds as well.

    Returns:
        The text of a file that imports torch and Triton alone; equal to ProgramLoss in value and gradient.

    Raises:
        UsageError: for a program that aggregates over the batch or the pixels.
    """
    why = obstacle(program)
    if why is not None:
        raise UsageError(f"this loss cannot be one kernel: {why}; use --format torch and torch.compile")
    value, slope = tile_lines(program)
    return torch_source(program, header=header, name=name, scale=scale, fused=_fused(program, value, slope, scale))


def _fused(program: Node, value: list[str], slope: list[str], scale: float) -> Fused:
    read = operations(program)
    kernels = KERNELS.format(
        **CONSTANTS,
        largest=LARGEST,
        library=used(_LIBRARY, "\n".join(value + slope)),
        value="\n    ".join(value),
        slope="\n        ".join(slope),
        scale=repr(scale),
        prior="loss.prior" if "pi" in read else "None",
        progress="loss.progress" if "t" in read else "None",
    )
    imports = "import triton\nimport triton.language as tl\n"
    standard = ("from contextlib import nullcontext", "from functools import lru_cache")
    return Fused(imports, kernels, ENTRY, standard)
