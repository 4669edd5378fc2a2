"""A program as the source of a JAX function that needs jax and nothing else."""

import builtins
from keyword import iskeyword
from pathlib import Path
from textwrap import indent
from types import MappingProxyType

from lossml.backend.codegen import TORCH
from lossml.backend.source import FORMULA, SCALE, Dialect, docstring, functions, reduced, used, weighing
from lossml.errors import UsageError
from lossml.program import OPERATIONS, Axes, Node, operations, show
from lossml.program.hard import exponentials
from lossml.program.primitives import EPSILON

JAX = Dialect(
    operations=MappingProxyType(
        {name: TORCH.operations[name] for name, operation in OPERATIONS.items() if operation.sign}
        | {name: f"jnp.{name}({{0}})" for name in ("square", "exp", "log", "abs", "sin", "cos", "tanh")}
        | {
            "sqrt": "jnp.sqrt(nonzero({0}))",
            "rsqrt1p": "jax.lax.rsqrt(1.0 + jnp.square({0}))",
            "logabs": f"jnp.log(jnp.abs({{0}}) + {EPSILON!r})",
            "max": "jnp.maximum({0}, {1})",
            "min": "jnp.minimum({0}, {1})",
        }
    ),
    aggregates=MappingProxyType({**TORCH.aggregates, "max_C": "jnp.max({0}, axis=CLASS, keepdims=True)"}),
    terminals=MappingProxyType(
        {
            "p": "jax.nn.softmax({0}, axis=CLASS)",
            "logp": "jax.nn.log_softmax({0}, axis=CLASS)",
            "log1mp": "log_one_minus_softmax({0})",
            "z": "{0} - {0}.mean(CLASS, keepdims=True)",
            "s": "jax.nn.sigmoid({0})",
            "logs": "jax.nn.log_sigmoid({0})",
            "log1ms": "jax.nn.log_sigmoid(-{0})",
            "C": "jnp.asarray(float(scores.shape[CLASS]), scores.dtype)",
            "pi": "prior.astype(scores.dtype).reshape(-1, 1)",
            "t": "jnp.asarray(progress, scores.dtype)",
        }
    ),
    number="jnp.asarray({0}, scores.dtype)",
)
_RUNTIME = MappingProxyType(functions(Path(__file__).with_name("jax_runtime.py")))
_TAKEN = frozenset({"jax", "jnp", "Array", "BATCH", "CLASS", "PIXEL", *_RUNTIME, *dir(builtins)})

_MODULE = '''{header}

import jax
import jax.numpy as jnp
from jax import Array

BATCH, CLASS, PIXEL = -3, -2, -1


{runtime}


def {name}(
    logits: Array,
    target: Array,
    *,{prior_parameter}
    weight: Array | None = None,
    ignore_index: int | None = -100,
    reduction: str = "mean",{progress_parameter}
) -> Array:
    """{formula}

    Args:
        logits: (B, C) or (B, C, *pixels).
        target: class numbers (B,) or (B, *pixels), or probabilities of the logits' shape.{prior_doc}
        weight: class weights (C,).
        ignore_index: class number of samples and pixels that do not count; None for none.
        reduction: "mean", "sum" or "none".{progress_doc}
    """
    if reduction not in {reductions!r}:
        raise ValueError(f"reduction is {{reduction!r}}; it must be one of {reductions!r}")
    scores = full_precision(logits)
    scores = scores.reshape(*scores.shape[:2], -1)
{body}
    return loss{shape}
'''


def _body(program: Node, scale: float) -> str:
    lines = reduced(exponentials(program), JAX, "reduction", scale)
    weights = weighing(
        lines, "None if weight is None else weight.astype(scores.dtype)", "sample_weight(y, mask, weight)"
    )
    return "\n".join(["y, mask = read_target(target, scores, ignore_index)", *weights, *lines])


def jax_source(program: Node, *, header: str, name: str = "loss", scale: float = 1.0) -> str:
    """Write a JAX function of its own for a program; see `torch_source`.

    Its target is turned into y, which XLA fuses with what reads it.
    `reduction` and `ignore_index` are static under jit.

    Returns:
        The text of a file that imports jax alone; equal to ProgramLoss in value and gradient.
    """
    if not name.isidentifier() or iskeyword(name) or name in _TAKEN:
        raise UsageError(f"the function name {name!r} is no Python identifier, or means something else in the file")
    terminals, axes = operations(program), program.type.axes
    body = _body(program, scale)
    pixels = "logits.shape[2:]" if Axes.PIXEL in axes else "()"
    per_sample = Axes.BATCH in axes
    return _MODULE.format(
        header=docstring(f"{header}\n\n{FORMULA}{show(program)}\n{SCALE}{scale!r}"),
        runtime=used(_RUNTIME, body + " full_precision"),
        name=name,
        formula=show(program),
        reductions=("mean", "sum", "none") if per_sample else ("mean", "sum"),
        prior_doc="\n        prior: class shares (C,)." if "pi" in terminals else "",
        prior_parameter="\n    prior: Array," if "pi" in terminals else "",
        progress_doc="\n        progress: how far training is, from 0 to 1, the end." if "t" in terminals else "",
        progress_parameter="\n    progress: float | Array = 1.0," if "t" in terminals else "",
        body=indent(body, "    "),
        shape=f' if reduction != "none" else loss.reshape(*logits.shape[:1], *{pixels})' if per_sample else "",
    )
