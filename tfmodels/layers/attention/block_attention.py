"""The attention engine that LED and LongT5 share: blocks of queries against a window of keys and a few extra keys.

Longformer (Beltagy et al. 2020, section 3.1) and LongT5 (Guo et al. 2022, section 3.1) are one operation: query i sees
the keys i - w ... i + w and a few extra keys that all queries may see (global tokens; block summaries), with an
additive bias. Time grows with L * (w + G), never with L * L. A loop runs over the blocks, so that only one step's
scores exist at a time; the gradient computes them again from each query's log-sum-exp (Dao et al. 2022, section 3.1).

Shape letters: B batch, H heads, L length, N blocks, C block length, S keys of one block's slice, G extra keys, D head
size, R queries of one step (a few blocks), T queries of all steps (L, padded), M rows of the extra keys' bias.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from keras import ops

from tfmodels.backend import devices
from tfmodels.backend.gradients import Gradient, custom_gradient
from tfmodels.backend.scan import scan
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention_step import BlockAttentionSteps, Tensors, additive_mask
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import pad_axis, padding_to_multiple
from tfmodels.layers.dropout import HashDropout


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


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_mask: Tensor,
    geometry: WindowGeometry,
    *,
    window_bias: Tensor | None = None,
    extra: ExtraKeys | None = None,
    dropout: HashDropout | None = None,
    blocks_per_step: int | None = None,
) -> Tensor:
    """Attend each query to its window and to the extra keys, under one softmax.

    Gradients reach query, key, value, window bias and the extra keys' tensors. Second derivatives must not be relied
    on.

    Args:
        query, key, value: (B, H, L, D), the query already scaled.
        key_mask: bool (B, L), False for keys that no query may see through the window.
        geometry: window and block length.
        window_bias: float32 (H, C, S), added to the scores of every block; see `WindowGeometry.relative_positions`.
        extra: keys outside the window.
        dropout: of the attention probabilities, or None.
        blocks_per_step: blocks that are worked on together: more keep a large device busy, fewer need less memory.
            None: what suits the device.

    Returns:
        (B, H, L, D) in the dtype of `value`. A query without any visible key yields zeros.

    >>> x = ops.ones((1, 2, 5, 4))
    >>> block_attention(x, x, x, ops.ones((1, 5), "bool"), WindowGeometry.covering(2)).shape[2]
    5
    """
    blocks_per_step = blocks_per_step or devices.blocks_per_step(geometry.block_length)
    steps = _steps(query, geometry, extra, dropout, blocks_per_step)
    tensors = _padded_tensors(query, key, value, key_mask, steps, window_bias, extra)
    names = tuple(tensors)

    def attend(*values: Tensor) -> tuple[Tensor, Gradient]:
        given, seeds = dict(zip(names, values, strict=False)), values[len(names) :]
        seeded = replace(steps, dropout=replace(dropout, seed=seeds[0])) if dropout else steps
        output, log_sum_exp = _forward(seeded, given)

        def gradient(upstream: Tensor) -> list[Tensor]:
            found = _backward(seeded, given, output, log_sum_exp, upstream)
            return [ops.cast(found[name], given[name].dtype) for name in names]

        return output, gradient

    seeds = [dropout.seed] if dropout else []
    return custom_gradient(attend, list(tensors.values()), seeds)[:, :, : ops.shape(query)[2]]


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
    [0.0, 0.0, 0.333, 0.333, 0.333, 0.0]
    """
    steps = _steps(query, geometry, extra, None, 1)
    given = _padded_tensors(query, key, key, key_mask, steps, window_bias, extra)
    batch, heads = query.shape[:2]
    widths = [geometry.slice_length] if extra is None else [geometry.slice_length, extra.key.shape[2]]
    shapes = [((batch, heads, 1, geometry.block_length, width), "float32") for width in widths]
    found = _each_step(steps.probabilities, steps, given, shapes)
    return [ops.transpose(part[:, :, :, 0], (1, 2, 0, 3, 4)) for part in found]


def window_columns(probabilities: Tensor, geometry: WindowGeometry) -> Tensor:
    """The window's part of the slices alone, one column per offset: (B, H, N, C, S) -> (B, H, N, C, 2 * window + 1).

    >>> x = ops.ones((1, 1, 4, 8))
    >>> geometry = WindowGeometry.covering(2)
    >>> (slices,) = attention_probabilities(x, x, ops.ones((1, 4), "bool"), geometry)
    >>> window_columns(slices, geometry).shape[-1]
    5
    """
    # Row c of a slice starts `margin` keys before query 0 of the block, so its window starts c columns further right.
    first: np.ndarray = np.arange(geometry.block_length)[:, None] + geometry.margin - geometry.window
    columns = (first + np.arange(2 * geometry.window + 1)[None, :]).astype("int32")
    shape = (*ops.shape(probabilities)[:3], *columns.shape)
    return ops.take_along_axis(probabilities, ops.broadcast_to(ops.convert_to_tensor(columns), shape), axis=-1)


def _steps(
    query: Tensor, geometry: WindowGeometry, extra: ExtraKeys | None, dropout: Any, blocks_per_step: int
) -> BlockAttentionSteps:
    length = query.shape[2]
    if length is not None:
        blocks_per_step = min(blocks_per_step, -(-length // geometry.block_length))
    queries_per_bias = 1 if extra is None else extra.queries_per_bias
    return BlockAttentionSteps(geometry, max(1, blocks_per_step), queries_per_bias, dropout)


def _padded_tensors(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_mask: Tensor,
    steps: BlockAttentionSteps,
    window_bias: Tensor | None,
    extra: ExtraKeys | None,
) -> dict[str, Tensor]:
    """The tensors that `BlockAttentionSteps` names, padded to whole steps."""
    after = padding_to_multiple(ops.shape(query)[2], steps.queries)
    margin = steps.geometry.margin
    tensors = {
        "query": pad_axis(query, 2, after=after),
        "key": pad_axis(key, 2, before=margin, after=after + margin),
        "value": pad_axis(value, 2, before=margin, after=after + margin),
        "key_mask": additive_mask(pad_axis(key_mask, 1, before=margin, after=after + margin)),
    }
    if window_bias is not None:
        tensors["window_bias"] = window_bias
    if extra is not None:
        tensors |= {"extra_key": extra.key, "extra_value": extra.value, "extra_mask": additive_mask(extra.mask)}
        if extra.bias is not None:
            rows = ops.shape(tensors["query"])[2] // extra.queries_per_bias
            tensors["extra_bias"] = pad_axis(extra.bias, 2, after=rows - ops.shape(extra.bias)[2])
    return tensors


def _forward(steps: BlockAttentionSteps, given: Tensors) -> tuple[Tensor, Tensor]:
    """Output (B, H, T, D), and float32 log-sum-exp (B, H, T, 1)."""
    batch, heads, _, size = given["value"].shape
    rows = (batch, heads, steps.queries)
    shapes = [((*rows, size), given["value"].dtype), ((*rows, 1), "float32")]
    output, log_sum_exp = (_in_order(part) for part in _each_step(steps.attend, steps, given, shapes))
    return output, log_sum_exp


def _each_step(
    function: Callable[[Tensor, Tensors], list[Tensor]], steps: BlockAttentionSteps, given: Tensors, shapes: Any
) -> list[Tensor]:
    """What `function(index, tensors)` makes in each step, stacked."""
    parts = _parts(given, steps)

    def step(index: Tensor, _: list[Tensor], *own: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [], function(index, {**given, **dict(zip(parts, own, strict=True))})

    return scan(step, [], shapes, ops.shape(parts["query"])[0], list(parts.values()))[1]


def _parts(given: Tensors, steps: BlockAttentionSteps) -> dict[str, Tensor]:
    """The tensors of which each step has its own part, cut: (steps, B, H, rows of a step, X)."""
    rows = {"query": steps.queries, "extra_bias": steps.queries // steps.queries_per_bias}
    return {name: _by_step(given[name], count) for name, count in rows.items() if name in given}


# What sums over the steps; the others' gradients are the steps' own, side by side.
_SUMMED = ("window_bias", "extra_key", "extra_value")


def _backward(
    steps: BlockAttentionSteps, given: Tensors, output: Tensor, log_sum_exp: Tensor, upstream: Tensor
) -> dict[str, Tensor]:
    """The gradient of each tensor."""
    parts = _parts(given, steps)
    own = [*parts, "key", "value"]
    summed = [name for name in _SUMMED if name in given]

    def step(index: Tensor, carry: list[Tensor], *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        known = {**given, **dict(zip(parts, inputs, strict=False))}
        found = steps.gradient(index, known, *inputs[len(parts) :])
        waiting = dict(zip(("key", "value"), carry, strict=False))
        for name, before in waiting.items():
            # Slices overlap: the first keys of this one are in no later one, the others wait for the next steps.
            total = found[name] + pad_axis(before, 2, after=steps.queries)
            found[name], waiting[name] = total[:, :, : steps.queries], total[:, :, steps.queries :]
        sums = [before + found[name] for name, before in zip(summed, carry[2:], strict=True)]
        return [*waiting.values(), *sums], [ops.cast(found[name], given[name].dtype) for name in own]

    overlap = ops.zeros_like(given["key"][:, :, : 2 * steps.geometry.margin], dtype="float32")
    start = [overlap, overlap, *(ops.zeros_like(given[name], dtype="float32") for name in summed)]
    # Those of the key and the value then take the output's and the upstream's places, see `scan`.
    inputs = [*parts.values(), *(_by_step(x, steps.queries) for x in (output, log_sum_exp, upstream))]
    rows = {name: part.shape[3] for name, part in parts.items()}
    shapes = [
        ((*given[name].shape[:2], rows.get(name, steps.queries), given[name].shape[3]), given[name].dtype)
        for name in own
    ]
    last, made = scan(step, start, shapes, ops.shape(inputs[0])[0], inputs)
    found = dict(zip(own, [_in_order(part) for part in made], strict=True)) | dict(zip(summed, last[2:], strict=True))
    for name, rest in zip(("key", "value"), last, strict=False):
        found[name] = ops.concatenate([found[name], ops.cast(rest, found[name].dtype)], axis=2)
    constant = [name for name in given if name not in found]
    return found | {name: ops.zeros_like(given[name]) for name in constant}


def _by_step(x: Tensor, rows: int) -> Tensor:
    """(B, H, steps * rows, X) -> (steps, B, H, rows, X)."""
    batch, heads, length, width = ops.shape(x)
    return ops.transpose(ops.reshape(x, (batch, heads, length // rows, rows, width)), (2, 0, 1, 3, 4))


def _in_order(parts: Tensor) -> Tensor:
    """Inverse of `_by_step`: (steps, B, H, rows, X) -> (B, H, steps * rows, X)."""
    steps, batch, heads, rows, width = ops.shape(parts)
    return ops.reshape(ops.transpose(parts, (1, 2, 0, 3, 4)), (batch, heads, steps * rows, width))
