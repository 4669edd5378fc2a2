"""A program as an ONNX graph of logits and targets, made from the module itself by torch's own exporter."""

import logging
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lossml.backend.interpret import Reduction
from lossml.backend.module import ProgramLoss
from lossml.backend.source import FORMULA, SCALE
from lossml.errors import UsageError
from lossml.program import Node, operations, show

NEEDED = ("onnx", "onnxscript")
OVER_PIXELS = frozenset({"sum_X", "mean_X"})


class _Graph(nn.Module):
    """A loss whose prior and progress, where it reads them, are inputs beside logits and target."""

    def __init__(self, loss: ProgramLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, logits: Tensor, target: Tensor, prior: Tensor | None = None, progress: Tensor | None = None
    ) -> Tensor:
        given = {"prior": prior, "progress": progress}
        buffers = {name: value for name, value in given.items() if value is not None}
        return functional_call(self.loss, buffers, (logits, target))


def onnx_model(
    program: Node, *, header: str, scale: float = 1.0, pixel_axes: int | None = None, reduction: Reduction = "mean"
) -> bytes:
    """Write a loss as an ONNX model.

    Args:
        program: the program.
        header: what the model's documentation says before formula and scale.
        scale: factor on the loss.
        pixel_axes: how many axes logits have behind batch and classes; where left out 2 for a
            program that aggregates over pixels, else 0.
        reduction: "mean", "sum" or "none".

    Returns:
        A serialized model. Inputs: "logits" (B, C, *pixels) in float32 and "target" (B, *pixels),
        class numbers in int64, -100 where nothing counts, all lengths free; "prior" (C,) and
        "progress" () in float32 where the program reads pi and t. Output: "loss".

    Raises:
        UsageError: where onnx or onnxscript is not installed.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"an ONNX export needs {' and '.join(missing)}; pip install 'lossml[onnx]'")
    others = tuple(name for name, word in (("prior", "pi"), ("progress", "t")) if word in operations(program))
    loss = ProgramLoss(program, scale=scale, prior=_PRIOR if "prior" in others else None, reduction=reduction)
    axes = pixel_axes if pixel_axes is not None else 2 * bool(operations(program) & OVER_PIXELS)
    model = _exported(_Graph(loss), axes, others)
    model.doc_string = f"{header}\n\n{FORMULA}{show(program)}\n{SCALE}{scale!r}"
    return model.SerializeToString()


_PRIOR = torch.tensor([0.2, 0.3, 0.5])


def _exported(graph: _Graph, axes: int, others: tuple[str, ...]):  # noqa: ANN202 - a type of onnx, which need not be there
    pixels = (4, 6, 7)[:axes]
    read = {"prior": _PRIOR.clone(), "progress": torch.tensor(1.0)}
    example = {"logits": torch.zeros(5, 3, *pixels), "target": torch.zeros(5, *pixels, dtype=torch.long)}
    example |= {name: read[name] for name in others}
    free = {name: dict.fromkeys(range(tensor.dim()), torch.export.Dim.DYNAMIC) for name, tensor in example.items()}
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # of the exporter about itself
        made = torch.onnx.export(
            graph,
            kwargs=example,
            dynamo=True,
            dynamic_shapes=free,
            input_names=list(example),
            output_names=["loss"],
            verbose=False,
        )
    if made is None:
        raise UsageError("this version of torch gave no ONNX model; a newer one does")
    return made.model_proto


class _quiet:  # noqa: N801 - used as a context, as torch.no_grad is
    """Keep the exporter's log off the terminal."""

    def __enter__(self) -> None:
        self.level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self.level)
