"""The attention engine that LED and LongT5 share: blocks of queries against a window of keys and a few extra keys.

Longformer (Beltagy et al. 2020, section 3.1) and LongT5 (Guo et al. 2022, section 3.1) are one operation: query i sees
the keys i - w ... i + w and a few extra keys that all queries may see (global tokens; block summaries), with an
additive bias. Memory and time grow with L * (w + G), never with L * L.

Shape letters: B batch, H heads, L length, N blocks, C block length, S keys of one block, G extra keys, D head size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from tfmodels.layers.blocks import merge_blocks, padding_to_multiple, split_into_blocks, with_neighbours
from tfmodels.layers.softmax import masked_scores, shared_softmax

Tensor = Any


@dataclass(frozen=True)
class ExtraKeys:
    """Keys that every query sees besides its window.

    key, value: (B, H, G, D). mask: bool (B, G), which of them exist. bias: float32 (B, H, M, G) or None; each of its M
    rows serves `queries_per_bias` consecutive queries, so M = ceil(L / queries_per_bias).
    """

    key: Tensor
    value: Tensor
    mask: Tensor
    bias: Tensor | None = None
    queries_per_bias: int = 1


@dataclass(frozen=True)
class WindowGeometry:
    """How a one-sided window of `window` keys is covered by whole blocks.

    >>> WindowGeometry.covering(window=4)
    WindowGeometry(window=4, block_length=2, reach=2)
    >>> WindowGeometry.covering(window=7, multiple_of=4).relative_positions().shape
    (8, 24)
    """

    window: int
    block_length: int
    reach: int

    @classmethod
    def covering(cls, window: int, multiple_of: int = 1) -> "WindowGeometry":
        """Blocks for a window: half of it when that divides it evenly (fewest wasted keys), else one block per side."""
        if window % (2 * multiple_of) == 0:
            return cls(window, window // 2, 2)
        block_length = window + 1 + int(padding_to_multiple(window + 1, multiple_of))
        return cls(window, block_length, 1)

    def relative_positions(self) -> np.ndarray:
        """Key position minus query position inside one block's slice: int32 (C, S), the same for every block."""
        queries: np.ndarray = np.arange(self.block_length, dtype="int32")
        keys: np.ndarray = np.arange(
            -self.reach * self.block_length, (self.reach + 1) * self.block_length, dtype="int32"
        )
        return keys[None, :] - queries[:, None]


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_mask: Tensor,
    geometry: WindowGeometry,
    *,
    window_bias: Tensor | None = None,
    extra: ExtraKeys | None = None,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Attend each query to its window and to the extra keys, under one softmax.

    Args:
        query, key, value: (B, H, L, D), the query already scaled.
        key_mask: bool (B, L), False for keys that no query may see through the window.
        geometry: window and block length.
        window_bias: float32 (H, C, S), added to the scores of every block; see `WindowGeometry.relative_positions`.
        extra: keys outside the window.
        dropout: applied to the attention probabilities, or None.

    Returns:
        (B, H, L, D) in the dtype of `value`. A query without any visible key yields zeros.

    >>> x = ops.ones((1, 2, 5, 4))
    >>> block_attention(x, x, x, ops.ones((1, 5), "bool"), WindowGeometry.covering(2)).shape[2]
    5
    """
    probabilities = attention_probabilities(query, key, key_mask, geometry, window_bias=window_bias, extra=extra)
    if dropout is not None:
        probabilities = [dropout(part) for part in probabilities]
    probabilities = [ops.cast(part, value.dtype) for part in probabilities]
    output = ops.matmul(probabilities[0], _windows(value, geometry))  # (B, H, N, C, D)
    if extra is not None:
        output = output + ops.matmul(probabilities[1], extra.value[:, :, None])
    return merge_blocks(output, ops.shape(query)[2], axis=2)


def attention_probabilities(
    query: Tensor,
    key: Tensor,
    key_mask: Tensor,
    geometry: WindowGeometry,
    *,
    window_bias: Tensor | None = None,
    extra: ExtraKeys | None = None,
) -> list[Tensor]:
    """How much each query attends to each key of its block's slice, and to each extra key.

    Args:
        query, key, key_mask, geometry, window_bias, extra: as in `block_attention`.

    Returns:
        Float32 (B, H, N, C, S), and with extra keys (B, H, N, C, G); the two sum to 1 for each query, or to 0 where it
        sees no key.

    >>> x = ops.ones((1, 2, 4, 8))
    >>> (window,) = attention_probabilities(x, x, ops.ones((1, 4), "bool"), WindowGeometry.covering(2))
    >>> [round(float(p), 3) for p in window[0, 0, 0, 0]]
    [0.0, 0.0, 0.333, 0.333, 0.333]
    """
    query_blocks = split_into_blocks(query, geometry.block_length, axis=2)  # (B, H, N, C, D)
    scores = ops.matmul(query_blocks, ops.swapaxes(_windows(key, geometry), 3, 4))
    scores = ops.cast(scores, "float32")  # (B, H, N, C, S)
    if window_bias is not None:
        scores = scores + window_bias[None, :, None]
    visible = _windows(key_mask[:, None, :, None], geometry)[..., 0][:, :, :, None, :]  # (B, 1, N, 1, S)
    inside = np.abs(geometry.relative_positions()) <= geometry.window  # (C, S)
    parts = [masked_scores(scores, ops.logical_and(visible, ops.convert_to_tensor(inside)))]
    if extra is not None:
        parts.append(_extra_scores(query_blocks, extra, geometry.block_length))
    return shared_softmax(parts)


def window_columns(probabilities: Tensor, geometry: WindowGeometry) -> Tensor:
    """The window's part of the slices alone, one column per offset: (B, H, N, C, S) -> (B, H, N, C, 2 * window + 1).

    >>> x = ops.ones((1, 1, 4, 8))
    >>> geometry = WindowGeometry.covering(2)
    >>> (slices,) = attention_probabilities(x, x, ops.ones((1, 4), "bool"), geometry)
    >>> window_columns(slices, geometry).shape[-1]
    5
    """
    # Row c of a slice starts C * reach keys before query 0 of the block, so its window starts c columns further right.
    first: np.ndarray = (
        np.arange(geometry.block_length)[:, None] + geometry.reach * geometry.block_length - geometry.window
    )
    columns = (first + np.arange(2 * geometry.window + 1)[None, :]).astype("int32")
    shape = (*ops.shape(probabilities)[:3], *columns.shape)
    return ops.take_along_axis(probabilities, ops.broadcast_to(ops.convert_to_tensor(columns), shape), axis=-1)


def _windows(x: Tensor, geometry: WindowGeometry) -> Tensor:
    """(B, H, L, D) -> (B, H, N, S, D)."""
    return with_neighbours(split_into_blocks(x, geometry.block_length, axis=2), geometry.reach, axis=2)


def _extra_scores(query_blocks: Tensor, extra: ExtraKeys, block_length: int) -> Tensor:
    """Masked float32 scores of the query blocks (B, H, N, C, D) against the extra keys: (B, H, N, C, G)."""
    scores = ops.matmul(query_blocks, ops.swapaxes(extra.key, 2, 3)[:, :, None])
    scores = ops.cast(scores, "float32")
    if extra.bias is not None:
        scores = scores + _bias_per_query_block(extra, block_length)
    return masked_scores(scores, extra.mask[:, None, None, None, :])


def _bias_per_query_block(extra: ExtraKeys, block_length: int) -> Tensor:
    """(B, H, M, G) -> (B, H, N, C, G): each row of the bias repeated for the queries that it serves."""
    rows_per_block = block_length // extra.queries_per_bias
    bias = split_into_blocks(extra.bias, rows_per_block, axis=2)  # (B, H, N, C / q, G)
    batch, heads, blocks, rows, keys = ops.shape(bias)
    bias = ops.broadcast_to(bias[:, :, :, :, None], (batch, heads, blocks, rows, extra.queries_per_bias, keys))
    return ops.reshape(bias, (batch, heads, blocks, block_length, keys))
