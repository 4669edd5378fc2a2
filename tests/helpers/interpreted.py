"""What tests of the Triton kernel run in a process of their own: there Triton interprets on the CPU, or compiles."""

import pickle
from collections.abc import Sequence

import torch
from torch import Tensor

from lossml.backend.gpu import make_gpu_machine
from lossml.backend.machine import make_machine
from lossml.program import Node

POINTERS = {
    **dict.fromkeys(("code", "leaves"), "*i32"),
    **dict.fromkeys(("bounds", "target"), "*i64"),
    **dict.fromkeys(("constants", "logits", "prior", "values", "slopes", "losses", "gradients"), "*fp32"),
}
NUMBERS = {"progress": "fp32", "samples": "i32", "classes": "i32", "ignored": "i32"}
TILE = {"BP": "constexpr", "CP": "constexpr"}


def run(
    programs: Sequence[Node], logits: Tensor, target: Tensor, prior: Tensor, ignore_index: int | None
) -> tuple[Tensor, Tensor]:
    machine = make_gpu_machine(make_machine(programs, ignore_index=ignore_index), logits.device)
    return machine.run(logits, target, prior, 0.3)


def run_pickled(arguments: bytes) -> bytes:
    """Pickled by hand, as torch would hand tensors over in shared memory."""
    torch.set_num_threads(1)
    return pickle.dumps(run(*pickle.loads(arguments)))


def compile_for_hopper(samples: int, classes: int) -> int:
    """Compile the kernel for an H100 without one; return the size of its code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lossml.backend import triton_kernel

    known = POINTERS | NUMBERS | TILE
    signature = {name: known[name] for name in triton_kernel.run.arg_names}
    source = ASTSource(triton_kernel.run, signature, {"BP": samples, "CP": classes})
    options = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": False}
    return len(triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"])
