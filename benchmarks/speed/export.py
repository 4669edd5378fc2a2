"""How fast exported losses are beside torch's cross-entropy: forward and backward, one thread, float32.

    python benchmarks/speed/export.py [--compiled] [--device cuda]

Takes turns between all losses at each shape, so that other work on the machine meets all alike, and
reports medians, their ratios to F.cross_entropy within the run, and the most memory that a step
allocates. On a machine that is busy otherwise, as the load beside the figures says, a ratio is
rough. On a CPU a time is the processor's own, which stands still while something else has the core.
With --compiled the modules go through torch.compile, which needs a C++ compiler and minutes. On a GPU a
time is of ten steps that follow each other, the device waited for at their end, and the files of
`--format triton` take part.
"""

import argparse
import importlib.util
import os
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter, process_time

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import common

from lossml import zoo
from lossml.backend import torch_source, triton_source

SHAPES = ((4096, 100), (1024, 1000), (8, 21, 128, 128))
NAMES = ("ngl", "focal", "label-smoothing", "gce", "brier")
Loss = Callable[[Tensor, Tensor], Tensor]


def exported(name: str, write: Callable[..., str] = torch_source) -> Loss:
    """Import an exported file as a user does; Triton reads its kernels' source from the file."""
    path = Path(mkdtemp()) / f"{name.replace('-', '_')}_loss.py"
    path.write_text(write(zoo.program_of(name), header="Measured."))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Loss()


def step(loss: Loss, logits: Tensor, target: Tensor) -> None:
    logits.grad = None
    loss(logits, target).backward()


def timed(loss: Loss, logits: Tensor, target: Tensor) -> float:
    steps, now = (10, perf_counter) if logits.is_cuda else (1, process_time)
    began = now()
    for _ in range(steps):
        step(loss, logits, target)
    if logits.is_cuda:
        torch.cuda.synchronize()
    return (now() - began) / steps


def seconds(losses: Mapping[str, Loss], logits: Tensor, target: Tensor, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in losses}
    for turn in range(rounds + 1):
        for name, loss in losses.items():
            took = timed(loss, logits, target)
            if turn:
                times[name].append(took)
    return {name: statistics.median(found) for name, found in times.items()}


def peak(loss: Loss, logits: Tensor, target: Tensor) -> float:
    """Return the most memory that a step holds at once, as a multiple of the logits' own size."""
    step(loss, logits, target)
    logits.grad = None
    if logits.is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        loss(logits, target).backward()
        return (torch.cuda.max_memory_allocated() - before) / (logits.numel() * logits.element_size())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        loss(logits, target).backward()
    held, most = 0, 0
    for event in found.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / (logits.numel() * logits.element_size())


def measured(losses: Mapping[str, Loss], shape: tuple[int, ...], rounds: int, device: str) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).to(device).requires_grad_()
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator).to(device)
    found = seconds(losses, logits, target, rounds)
    return {
        name: {
            "milliseconds": round(1000 * found[name], 3),
            "times_cross_entropy": round(found[name] / found["cross_entropy"], 2),
            "peak_times_logits": None
            if "compiled" in name and device == "cpu"
            else round(peak(loss, logits, target), 2),
        }
        for name, loss in losses.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = ("ngl", "focal") if chosen.compiled else NAMES
    losses: dict[str, Loss] = {"cross_entropy": F.cross_entropy, **{name: exported(name) for name in names}}
    if chosen.compiled:
        losses |= {f"{name}, compiled": torch.compile(losses[name], fullgraph=True) for name in names}
    if chosen.device != "cpu":
        losses |= {f"{name}, triton": exported(name, triton_source) for name in names}
    result: dict[str, object] = {"threads": 1, "rounds": chosen.rounds, "load": os.getloadavg()[0]}
    for shape in SHAPES:
        found = measured(losses, shape, chosen.rounds, chosen.device)
        result["x".join(map(str, shape))] = found
        for name, row in found.items():
            print(shape, name, row, flush=True)
    gpu, flags = chosen.device != "cpu", " ".join(sys.argv[1:])
    name = f"speed_export{'_compiled' if chosen.compiled else ''}{'_gpu' if gpu else ''}"
    common.write(name, f"python benchmarks/speed/export.py {flags}".strip(), result, gpu=gpu)


if __name__ == "__main__":
    main()
