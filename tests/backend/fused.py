"""What tests of exported Triton kernels run in a process of their own, where Triton interprets on the CPU."""

import importlib.util
import pickle
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def load(source: str, *, anywhere: bool) -> ModuleType:
    """Import an exported file; `anywhere` says that its kernels take tensors of any device, not of a GPU alone."""
    path = Path(tempfile.mkdtemp()) / "fused_loss.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    if anywhere:
        module.fits = lambda logits, target: True
    return module


def run(source: str, options: dict[str, Any], logits: Tensor, target: Tensor, progress: float) -> list[Tensor]:
    """Value and gradient of a loss, weighed by numbers that differ from sample to sample where it is one a sample."""
    loss = load(source, anywhere=not logits.is_cuda).Loss(**options).to(logits.device)
    if hasattr(loss, "set_progress"):
        loss.set_progress(progress)
    leaf = logits.clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf, target)
    (value * weighing(value)).sum().backward()
    return [value.detach(), leaf.grad]


def weighing(value: Tensor) -> Tensor:
    return torch.linspace(0.5, 2.0, value.numel(), device=value.device).view(value.shape)


def run_pickled(arguments: bytes) -> bytes:
    """Run several, pickled by hand, as torch would hand tensors over in shared memory."""
    torch.set_num_threads(1)
    return pickle.dumps([run(*one) for one in pickle.loads(arguments)])


def second(source: str, logits: Tensor, target: Tensor) -> Tensor:
    """Gradient of the squared gradient of a loss."""
    loss = load(source, anywhere=not logits.is_cuda).Loss()
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, target), leaf, create_graph=True)
    return torch.autograd.grad(slope.square().sum(), leaf)[0]


def second_pickled(arguments: bytes) -> bytes:
    return pickle.dumps(second(*pickle.loads(arguments)))


def twice(source: str, logits: Tensor, target: Tensor) -> list[Tensor]:
    """Gradients of two backward passes through one loss, and what it kept for them before and after."""
    loss = load(source, anywhere=not logits.is_cuda).Loss()
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    kept = value.grad_fn.saved_tensors[2]
    before = kept.clone()
    first, again = (torch.autograd.grad(value, leaf, retain_graph=True)[0] for _ in range(2))
    return [first, again, before, kept]


def under(source: str, options: dict[str, Any], logits: Tensor, target: Tensor, slope: Tensor) -> Tensor:
    """Gradient of a loss that has a gradient of its own."""
    loss = load(source, anywhere=not logits.is_cuda).Loss(**options)
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, target), leaf, slope)[0]


class Watched:
    """A kernel that notes what it is asked for."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.seen = kernel, []

    def __getitem__(self, grid: tuple[int, int]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            self.seen.append(options["GRADIENT"])
            self.kernel[grid](*arguments, **options)

        return launch


def asked(source: str, logits: Tensor, target: Tensor) -> list[tuple[bool, bool]]:
    """Whether the kernel computes a gradient, and whether anything is kept, with autograd, without, and of numbers."""
    module = load(source, anywhere=not logits.is_cuda)
    module.loss_kernel = watched = Watched(module.loss_kernel)
    leaf = logits.clone().requires_grad_()
    with torch.no_grad():
        without = module.Loss()(leaf, target)
    values = [module.Loss()(leaf, target), without, module.Loss()(logits, target)]
    kept = [value.grad_fn is not None for value in values]
    return list(zip([watched.seen[1], watched.seen[0], watched.seen[2]], kept, strict=True))


def pickled(name: str, arguments: bytes) -> bytes:
    """Call a function of this module; what it takes and returns is pickled by hand."""
    return pickle.dumps(globals()[name](*pickle.loads(arguments)))


POINTERS = {
    "target": "*i64",
    **dict.fromkeys(("logits", "weight", "prior", "progress", "found", "gradient"), "*fp32"),
}
FLAGS = ("WEIGHTED", "REDUCED", "GRADIENT", "ROWS", "WIDTH")
WAYS = (  # of FLAGS
    (True, True, True, 16, 128),
    (True, True, False, 16, 128),
    (False, False, True, 64, 32),
    (False, False, False, 64, 32),
)


def compile_for_hopper(source: str) -> list[int]:
    """Compile the kernel for an H100 without one, for samples and for pixels; return the sizes of its code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel, sizes = load(source, anywhere=False).loss_kernel, []
    for flags in WAYS:
        constants = dict(zip(FLAGS, flags, strict=True))
        kinds = dict.fromkeys(constants, "constexpr") | POINTERS
        signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
        made = triton.compile(
            ASTSource(kernel, signature, constants),
            target=GPUTarget("cuda", 90, 32),
            options={"num_warps": 4, "enable_fp_fusion": True},
        )
        sizes.append(len(made.asm["cubin"]))
    return sizes
