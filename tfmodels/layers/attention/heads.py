"""Masks and pruning of attention heads: for one call, or for good."""

from collections.abc import Iterable, Sequence
from numbers import Integral

import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor


def scale_heads(x: Tensor, head_mask: Tensor) -> Tensor:
    """Multiply each head of `x` (B, H, L, D) by its entry of `head_mask` (H,).

    As the sum over keys is linear, scaling a head's output is scaling its attention probabilities.

    >>> float(ops.sum(scale_heads(ops.ones((1, 2, 3, 4)), ops.array([0.0, 1.0]))))
    12.0
    """
    return x * ops.cast(head_mask, x.dtype)[None, :, None, None]


def check_heads(argument: str, heads: Iterable[int], num_heads: int) -> tuple[int, ...]:
    """The heads, sorted and each once.

    Raises:
        ValueError: an unknown head, or all heads.

    >>> check_heads("pruned_heads", [2, 0, 2], 4)
    (0, 2)
    """
    heads = list(heads)
    if any(isinstance(head, bool) or not isinstance(head, Integral) or not 0 <= head < num_heads for head in heads):
        raise ValueError(f"{argument} must be heads from 0 to {num_heads - 1}. Received: {argument}={heads!r:.80}")
    if len(set(heads)) == num_heads:
        raise ValueError(f"{argument} must leave at least one of {num_heads} heads. Received: {argument}={heads}")
    return tuple(sorted({int(head) for head in heads}))


def kept_heads(num_heads: int, pruned_heads: Sequence[int]) -> np.ndarray:
    """The heads that remain after pruning, int32.

    >>> kept_heads(4, (1,)).tolist()
    [0, 2, 3]
    """
    kept: np.ndarray = np.setdiff1d(np.arange(num_heads, dtype="int32"), pruned_heads).astype("int32")
    return kept


def units_of_heads(heads: np.ndarray, head_size: int) -> np.ndarray:
    """The indices of a projection's units that belong to the heads.

    >>> units_of_heads(np.array([0, 2]), 2).tolist()
    [0, 1, 4, 5]
    """
    return (heads[:, None] * head_size + np.arange(head_size)[None, :]).reshape(-1)


def take_heads(x: Tensor, heads: np.ndarray, num_heads: int, axis: int) -> Tensor:
    """The entries of `heads` along an axis of `num_heads`, in the order of `heads`; `x` itself if all are kept."""
    return x if x is None or len(heads) == num_heads else ops.take(x, heads, axis=axis)
