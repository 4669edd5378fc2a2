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


POINTERS = {
    "target": "*i64",
    **dict.fromkeys(
        ("logits", "weight", "prior", "progress", "values", "parts", "slopes", "whole", "gradient"), "*fp32"
    ),
}
FLAGS = ("WEIGHTED", "REDUCED", "MEAN", "ROWS", "WIDTH")


def compile_for_hopper(source: str) -> list[int]:
    """Compile both kernels for an H100 without one, for samples and for pixels; return the sizes of their code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, sizes = load(source, anywhere=False), []
    for kernel in (module.forward_kernel, module.backward_kernel):
        for flags in ((True, True, True, 16, 128), (False, False, False, 64, 32)):
            constants = {name: value for name, value in zip(FLAGS, flags, strict=True) if name in kernel.arg_names}
            kinds = dict.fromkeys(constants, "constexpr") | {"C": "fp32"} | POINTERS
            signature = {name: kinds.get(name, "i32") for name in kernel.arg_names}
            made = triton.compile(
                ASTSource(kernel, signature, constants),
                target=GPUTarget("cuda", 90, 32),
                options={"num_warps": 4, "enable_fp_fusion": True},
            )
            sizes.append(len(made.asm["cubin"]))
    return sizes
