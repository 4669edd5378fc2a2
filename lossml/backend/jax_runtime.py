"""What every loss does around its formula, in JAX; see `runtime`, whose functions these are by name and meaning.

Code generation copies their source into the exported file. Nothing in LossML runs them.
"""

import jax
import jax.numpy as jnp
from jax import Array

BATCH, CLASS, PIXEL = -3, -2, -1


def full_precision(logits: Array) -> Array:
    """Compute in float32 at least, also where the network runs in half precision."""
    return logits.astype(jnp.float32) if logits.dtype in {jnp.dtype("float16"), jnp.dtype("bfloat16")} else logits


def log_one_minus_softmax(logits: Array) -> Array:
    """Return log(1 - softmax) without cancellation.

    For the largest class 1 - p is the sum of the others; all other classes have p <= 1/2.
    """
    top = jax.lax.stop_gradient(logits).argmax(CLASS, keepdims=True)
    is_top = jnp.arange(logits.shape[CLASS]).reshape(-1, 1) == top
    others = jax.nn.logsumexp(jnp.where(is_top, -jnp.inf, logits), axis=CLASS, keepdims=True)
    whole = jax.nn.logsumexp(logits, axis=CLASS, keepdims=True)
    below = jnp.where(is_top, -1.0, jax.nn.log_softmax(logits, axis=CLASS))
    return jnp.where(is_top, others - whole, jnp.log1p(-jnp.exp(below)))


def nonzero(value: Array | float) -> Array | float:
    """Replace exact zeros by the smallest normal number.

    Where a base or radicand must be positive, zero is an underflow; its infinite slope times the
    softmax's zero would be NaN, where the true gradient is zero. A plain number stays as it is.
    """
    return jnp.where(value == 0, jnp.finfo(value.dtype).tiny, value) if isinstance(value, Array) else value


def weighted_sum(value: Array, weight: Array | None, axis: int | tuple[int, ...]) -> Array:
    """Sum over an axis, keeping it with length 1; weight None counts everything once."""
    return (value if weight is None else value * weight).sum(axis, keepdims=True)


def weighted_mean(value: Array, weight: Array | None, axis: int | tuple[int, ...]) -> Array:
    """Average over an axis, keeping it with length 1; 0 where nothing counts."""
    if weight is None:
        return value.mean(axis, keepdims=True)
    weight = jnp.broadcast_to(weight, jnp.broadcast_shapes(weight.shape, value.shape))
    total = weight.sum(axis, keepdims=True)
    return (value * weight).sum(axis, keepdims=True) / jnp.where(total > 0, total, 1.0)


def sample_weight(y: Array, mask: Array | None, weight: Array | None) -> Array | None:
    """Weigh each sample (B, 1, N) by its target's class weight; None where all count alike."""
    if weight is None:
        return mask
    by_class = weighted_sum(y * weight.reshape(-1, 1), None, CLASS)
    return by_class if mask is None else by_class * mask


def read_target(target: Array, scores: Array, ignore_index: int | None) -> tuple[Array, Array | None]:
    """Read probabilities, or class numbers, to y (B, C, N) and a mask (B, 1, N) of what counts.

    The mask is None without an ignore_index. What is ignored gets class 0, so that its value is
    finite; the mask removes it.
    """
    if jnp.issubdtype(target.dtype, jnp.floating):
        return target.reshape(scores.shape).astype(scores.dtype), None
    label, mask = target.astype(jnp.int32).reshape(scores.shape[0], 1, scores.shape[PIXEL]), None
    if ignore_index is not None:
        mask = (label != ignore_index).astype(scores.dtype)
        label = jnp.where(label == ignore_index, 0, label)
    return (jnp.arange(scores.shape[CLASS]).reshape(-1, 1) == label).astype(scores.dtype), mask


def image_mask(mask: Array | None) -> Array | None:
    """Say which images have anything that counts, (B, 1, 1)."""
    return None if mask is None else mask.max(PIXEL, keepdims=True)


def pixel_mask(mask: Array | None) -> Array | None:
    """Say which pixels count in any image, (1, 1, N)."""
    return None if mask is None else mask.max(BATCH, keepdims=True)


def finish(value: Array, weight: Array | None, reduction: str) -> Array:
    """Reduce values that no longer vary over the classes, (B, 1, N) or shorter, to the loss.

    "none" gives (B, N) of weighted values, "mean" divides their sum by the total weight.
    """
    if value.ndim == 0:
        return value
    if reduction == "none":
        return (value if weight is None else value * weight).squeeze(CLASS)
    combine = weighted_mean if reduction == "mean" else weighted_sum
    return combine(value, weight, (BATCH, PIXEL)).reshape(())
