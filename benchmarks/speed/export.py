"""How fast exported losses are beside torch's cross-entropy: forward and backward, one thread, float32.

    python benchmarks/speed/export.py [--compiled] [--device cuda]

Takes turns between all losses at each shape, so that other work on the machine meets all alike, and
reports medians, their ratios to F.cross_entropy within the run, and the most memory that a step
allocates. On a machine that is busy otherwise, as the load beside the figures says, a ratio is
rough. On a CPU a time is the processor's own, which stands still while something else has the core.
With --compiled the modules go through torch.compile, which needs a C++ compiler and minutes. On a GPU a
time is of ten steps that follow each other, the device waited for at their end, and the files of
`--format triton` take part.

A GPU's own time for a step is given beside it, from steps captured as a CUDA graph, in which the host
has no part; it is null for a loss that cannot be captured. In a training loop the host runs ahead of the
device while that is at work on the network, so that the device's time is what training pays for a loss;
for a loss alone, or a small network, the host's time to launch its kernels is what counts.
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
CAPTURED = 20  # steps of one graph
Loss = Callable[[Tensor, Tensor], Tensor]
Rows = Mapping[str, Mapping[str, float | None]]


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


def points(shape: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).to(device).requires_grad_()
    return logits, torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator).to(device)


def measured(losses: Mapping[str, Loss], shape: tuple[int, ...], rounds: int, device: str) -> Rows:
    logits, target = points(shape, device)
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


def captured(loss: Loss, logits: Tensor, target: Tensor) -> torch.cuda.CUDAGraph:
    """Return steps as one graph, so that the host's time to start it does not count."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(loss, logits, target)
    torch.cuda.current_stream().wait_stream(side)
    logits.grad = None
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CAPTURED):
            step(loss, logits, target)
    return graph


def replayed(graph: torch.cuda.CUDAGraph) -> float:
    """Return the milliseconds of a step; the replay before hides that the host is slow to start the timed one."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    began.record()
    graph.replay()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / CAPTURED


def device_milliseconds(loss: Loss, logits: Tensor, target: Tensor, rounds: int) -> float | None:
    """Return a GPU's own time for a step, None for a loss that cannot be captured, as it waits for the device."""
    with torch.cuda.stream(torch.cuda.current_stream()):  # a capture that fails leaves its own stream current
        try:
            graph = captured(loss, logits, target)
            return statistics.median([replayed(graph) for _ in range(rounds + 1)][1:])
        except RuntimeError:
            return None


def on_device(losses: Mapping[str, Loss], shape: tuple[int, ...], rounds: int) -> Rows:
    logits, target = points(shape, "cuda")
    found = {}
    for name, loss in losses.items():
        found[name] = device_milliseconds(loss, logits, target, rounds)
        logits.grad = None
    base = found["cross_entropy"]
    return {
        name: {
            "device_milliseconds": took and round(took, 4),
            "device_times_cross_entropy": took and base and round(took / base, 2),
        }
        for name, took in found.items()
    }


def shown(shape: tuple[int, ...], rows: Rows) -> Rows:
    for name, row in rows.items():
        print(shape, name, row, flush=True)
    return rows


def joined(rows: Rows, more: Rows) -> Rows:
    return {name: {**row, **more[name]} for name, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    names = ("ngl", "focal") if chosen.compiled else NAMES
    gpu, flags = chosen.device != "cpu", " ".join(sys.argv[1:])
    losses: dict[str, Loss] = {"cross_entropy": F.cross_entropy}
    if gpu:
        losses |= {f"{name}, triton": exported(name, triton_source) for name in names}
    losses |= {name: exported(name) for name in names}
    if chosen.compiled:
        losses |= {f"{name}, compiled": torch.compile(losses[name], fullgraph=True) for name in names}
    load = os.getloadavg()[0]
    rows = {shape: shown(shape, measured(losses, shape, chosen.rounds, chosen.device)) for shape in SHAPES}
    if gpu:  # last, as a capture that fails may upset what comes after it
        rows = {shape: joined(rows[shape], shown(shape, on_device(losses, shape, chosen.rounds))) for shape in SHAPES}
    result = {"threads": 1, "rounds": chosen.rounds, "load": load}
    result |= {"x".join(map(str, shape)): found for shape, found in rows.items()}
    name = f"speed_export{'_compiled' if chosen.compiled else ''}{'_gpu' if gpu else ''}"
    common.write(name, f"python benchmarks/speed/export.py {flags}".strip(), result, gpu=gpu)


if __name__ == "__main__":
    main()
