"""The attention engine of all families: blocks of queries against a window of keys and a few side keys.

Longformer (Beltagy et al. 2020, section 3.1) and LongT5 (Guo et al. 2022, section 3.1) are one operation: query i sees
the keys i - w ... i + w and a few side keys that all queries see (global tokens; block summaries; the side inputs of
ETC, Ainslie et al. 2020), with an additive bias. Time grows with L * (w + G), never with L * L. A loop runs over the
blocks, so that only one step's scores exist at a time; the gradient computes them again from each query's log-sum-exp
(Dao et al. 2022, section 3.1).

Further shape letters: Y keys of one block's slice, Q queries of one step (a few blocks), P queries of all steps (L,
padded), A rows of the side keys' bias, X any width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from tfmodels.backend import devices
from tfmodels.backend.gradients import Gradient, custom_gradient
from tfmodels.backend.scan import can_reuse, scan
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention import block_attention_gpu as kernels
from tfmodels.layers.attention.block_attention_step import BlockAttentionStep, StepTensors, additive_mask
from tfmodels.layers.attention.block_attention_tpu import attend_in_long_blocks
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import pad_axis, padding_to_multiple
from tfmodels.layers.dropout import HashDropout


@dataclass(frozen=True)
class SideKeys:
    """Keys that every query sees besides its window.

    Args:
        key, value: (B, H, G, D).
        mask: bool (B, G), False for empty slots.
        bias: float32 (B, H, A, G) or None; each of its A rows serves `queries_per_bias` consecutive queries, so
            A = ceil(L / queries_per_bias).
        queries_per_bias: consecutive queries that share a row of the bias.
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
    side: SideKeys | None = None,
    dropout: HashDropout | None = None,
    blocks_per_step: int | None = None,
    shard: Tensor | None = None,
) -> Tensor:
    """Attend each query to its window and to the side keys, under one softmax.

    Gradients reach query, key, value, window bias and the side keys' tensors. Second derivatives are undefined.

    Args:
        query, key, value: (B, H, L, D), the query already scaled.
        key_mask: bool (B, L), False for keys that no query may see through the window.
        geometry: window and block length.
        window_bias: float32 (H, C, Y), added to the scores of every block; see `WindowGeometry.relative_positions`.
        side: keys outside the window.
        dropout: of the attention probabilities, or None.
        blocks_per_step: blocks in one step of the loop: more keep a large device busy, fewer need less memory. None:
            the device's default. On a TPU it is of the forward pass without dropout alone: other steps are one block.
        shard: None, or the place of these L queries among the equal shards of a longer document, int32 scalar. `key`,
            `value` and `key_mask` then have L + 2 * margin entries: from `margin` before the first query to `margin`
            after the last. With shards of whole steps dropout is that of the whole document.

    Returns:
        (B, H, L, D) in the dtype of `value`. A query without any visible key yields zeros.

    Raises:
        ValueError: another number of keys.

    >>> x = ops.ones((1, 2, 5, 4))
    >>> block_attention(x, x, x, ops.ones((1, 5), "bool"), WindowGeometry.covering(2)).shape[2]
    5
    """
    blocks_per_step = blocks_per_step or devices.blocks_per_step(geometry.block_length)
    step = _with_kernels(_step(query, geometry, side, dropout, blocks_per_step), query, key, value, side)
    tensors = _padded_tensors(query, key, value, key_mask, step, window_bias, side, shard is not None)
    if dropout and shard is not None:
        dropout = dropout.from_stream(shard * (tensors.query.shape[2] // step.queries))
    present, seeds = _present(tensors), [dropout.seed] if dropout else []

    def attend(*values: Tensor) -> tuple[Tensor, Gradient]:
        inputs = _filled(tensors, values[: len(present)])
        seeded = replace(step, dropout=replace(dropout, seed=values[-1])) if dropout else step
        output, lse = _forward(seeded, inputs)

        def gradient(d_output: Tensor) -> list[Tensor]:
            gradients = _present(_backward(seeded, inputs, output, lse, d_output))
            return [ops.cast(dx, x.dtype) for dx, x in zip(gradients, _present(inputs), strict=True)]

        return output, gradient

    return custom_gradient(attend, present, seeds)[:, :, : ops.shape(query)[2]]


def attention_probabilities(
    query: Tensor,
    key: Tensor,
    key_mask: Tensor,
    geometry: WindowGeometry,
    *,
    window_bias: Tensor | None = None,
    side: SideKeys | None = None,
) -> list[Tensor]:
    """The attention probabilities of each query, over the keys of its block's slice and over the side keys.

    Args:
        query, key, key_mask, geometry, window_bias, side: as in `block_attention`.

    Returns:
        Float32 (B, H, N, C, Y), and with side keys (B, H, N, C, G); the two sum to 1 for each query, or to 0 for a
        query without any visible key.

    >>> x = ops.ones((1, 2, 4, 8))
    >>> (window,) = attention_probabilities(x, x, ops.ones((1, 4), "bool"), WindowGeometry.covering(2))
    >>> [round(float(p), 3) for p in window[0, 0, 0, 0]]
    [0.0, 0.0, 0.333, 0.333, 0.333, 0.0]
    """
    step = _step(query, geometry, side, None, 1)
    tensors = _padded_tensors(query, key, key, key_mask, step, window_bias, side)
    batch, heads = query.shape[:2]
    widths = [geometry.slice_length] if side is None else [geometry.slice_length, side.key.shape[2]]
    outputs = [((batch, heads, 1, geometry.block_length, width), "float32") for width in widths]
    parts = _each_step(step.probabilities, step, tensors, outputs, reuse={})
    return [ops.transpose(part[:, :, :, 0], (1, 2, 0, 3, 4)) for part in parts]  # (N, B, H, C, X) -> (B, H, N, C, X)


def window_columns(probabilities: Tensor, geometry: WindowGeometry) -> Tensor:
    """The window's part of the slices, one column per offset: (B, H, N, C, Y) -> (B, H, N, C, 2 * W + 1).

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


def _step(
    query: Tensor, geometry: WindowGeometry, side: SideKeys | None, dropout: HashDropout | None, blocks_per_step: int
) -> BlockAttentionStep:
    length = query.shape[2]
    if length is not None:
        blocks_per_step = min(blocks_per_step, -(-length // geometry.block_length))
    queries_per_bias = 1 if side is None else side.queries_per_bias
    step = BlockAttentionStep(geometry, max(1, blocks_per_step), queries_per_bias, dropout, devices.device_kind())
    # Dropout counts the steps that the loop makes: those of a shard begin where its neighbour's end.
    return step if step.is_joined else step.one_by_one()


def _with_kernels(
    step: BlockAttentionStep, query: Tensor, key: Tensor, value: Tensor, side: SideKeys | None
) -> BlockAttentionStep:
    """The same work, in kernels where a GPU has them."""
    if not kernels.suits_kernels(step, [query, key, value, *([] if side is None else [side.key, side.value])]):
        return step
    # In kernels, dropout's masks are those of one block in a step.
    return replace(step, in_kernels=True, blocks=step.blocks if step.dropout is None else 1)


def _without_kernels(step: BlockAttentionStep, tensors: StepTensors) -> BlockAttentionStep:
    """The same work by the loop, in the largest steps that divide the blocks."""
    blocks = tensors.query.shape[2] // step.geometry.block_length
    return replace(step, in_kernels=False, blocks=next(n for n in range(step.blocks, 0, -1) if blocks % n == 0))


def _padded_tensors(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_mask: Tensor,
    step: BlockAttentionStep,
    window_bias: Tensor | None,
    side: SideKeys | None,
    has_margins: bool = False,
) -> StepTensors:
    """The tensors of all steps, padded to whole steps, for kernels to whole blocks; the keys with margins, unless they
    have theirs."""
    # Kernels work on blocks, however many a step has.
    after = padding_to_multiple(ops.shape(query)[2], step.geometry.block_length if step.in_kernels else step.queries)
    margin = 0 if has_margins else step.geometry.margin
    if has_margins and key.shape[2] != query.shape[2] + 2 * step.geometry.margin:
        raise ValueError(
            f"key must have the {query.shape[2]} keys of a shard between {step.geometry.margin} on either side. "
            f"Received: {key.shape[2]} keys"
        )
    tensors = StepTensors(
        query=pad_axis(query, 2, after=after),
        key=pad_axis(key, 2, before=margin, after=after + margin),
        value=pad_axis(value, 2, before=margin, after=after + margin),
        key_mask=additive_mask(pad_axis(key_mask, 1, before=margin, after=after + margin)),
        window_bias=window_bias,
    )
    if side is None:
        return tensors
    tensors = tensors._replace(side_key=side.key, side_value=side.value, side_mask=additive_mask(side.mask))
    if side.bias is None:
        return tensors
    rows = ops.shape(tensors.query)[2] // side.queries_per_bias
    return tensors._replace(side_bias=pad_axis(side.bias, 2, after=rows - ops.shape(side.bias)[2]))


def _present(tensors: StepTensors) -> list[Tensor]:
    """The tensors that are not None, in the order of the fields."""
    return [x for x in tensors if x is not None]


def _filled(template: StepTensors, values: Sequence[Tensor]) -> StepTensors:
    """Inverse of `_present`: `values` in the fields that are not None in `template`."""
    remaining = iter(values)
    return StepTensors(*(None if x is None else next(remaining) for x in template))


def _forward(step: BlockAttentionStep, tensors: StepTensors) -> tuple[Tensor, Tensor]:
    """Output (B, H, P, D), and float32 log-sum-exp (B, H, P, 1)."""
    if step.in_kernels:
        return kernels.on_cuda(
            partial(kernels.attend, step), partial(_forward, _without_kernels(step, tensors)), tensors
        )
    if step.is_joined:
        return attend_in_long_blocks(step, tensors)
    batch, heads, _, size = tensors.value.shape
    outputs = [((batch, heads, step.queries, size), tensors.value.dtype), ((batch, heads, step.queries, 1), "float32")]
    # A step's output is written over its queries, which no later step reads.
    output, lse = _each_step(step.attend, step, tensors, outputs, reuse={0: 0})
    return _in_order(output), _in_order(lse)


def _each_step(
    function: Callable[[Tensor, StepTensors], list[Tensor]],
    step: BlockAttentionStep,
    tensors: StepTensors,
    outputs: list[Any],
    reuse: dict[int, int],
) -> list[Tensor]:
    """The results of `function(index, tensors)` for each step, stacked."""
    cut = _cut(tensors, step)
    inputs = _present(cut)

    def body(index: Tensor, _: list[Tensor], *parts: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [], function(index, _with_parts(tensors, _filled(cut, parts)))

    return scan(body, [], outputs, ops.shape(cut.query)[0], inputs, _possible(reuse, outputs, inputs))[1]


def _cut(tensors: StepTensors, step: BlockAttentionStep) -> StepTensors:
    """Split the per-query tensors into steps: (steps, B, H, rows of a step, X). The shared fields are None."""
    bias = tensors.side_bias
    side_bias = None if bias is None else _by_step(bias, step.queries // step.queries_per_bias)
    return StepTensors(_by_step(tensors.query, step.queries), None, None, None, side_bias=side_bias)


def _with_parts(tensors: StepTensors, parts: StepTensors) -> StepTensors:
    """The tensors with one step's parts of the per-query fields."""
    return tensors._replace(query=parts.query, side_bias=parts.side_bias)


def _possible(reuse: dict[int, int], outputs: Sequence[Any], inputs: Sequence[Tensor]) -> dict[int, int]:
    """The pairs of equal shape and dtype. Under a map of policies the dtypes of query, key and value may differ."""
    return {result: source for result, source in reuse.items() if can_reuse(outputs[result], inputs[source])}


# Tensors that every step reads whole, so that their gradients are sums over the steps.
_SHARED = ("window_bias", "side_key", "side_value")


def _backward(
    step: BlockAttentionStep, tensors: StepTensors, output: Tensor, lse: Tensor, d_output: Tensor
) -> StepTensors:
    """The gradient of each tensor, by a second loop over the steps; zeros for the masks.

    The slices of neighbouring steps overlap. Of a slice's dk and dv, the first Q keys are in no later slice: their
    gradients are complete, and a result of the step. The gradients of the last 2 * margin keys are pending: the carry
    takes them to the next step. The carry also sums the gradients of the tensors that all steps share.
    """
    if step.in_kernels:
        otherwise = partial(_backward, _without_kernels(step, tensors))
        return kernels.on_cuda(partial(kernels.gradient, step), otherwise, tensors, output, lse, d_output)
    step = step.one_by_one()
    cut = _cut(tensors, step)
    pending = ops.zeros_like(tensors.key[:, :, : 2 * step.geometry.margin], dtype="float32")
    shared = StepTensors(None, pending, pending, None, tensors.window_bias, tensors.side_key, tensors.side_value)
    start = [ops.zeros_like(x, dtype="float32") for x in _present(shared)]
    count = len(_present(cut))

    def body(index: Tensor, carry: list[Tensor], *inputs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        parts = _with_parts(tensors, _filled(cut, inputs[:count]))
        gradient, before = step.gradient(index, parts, *inputs[count:]), _filled(shared, carry)
        dk = gradient.key + pad_axis(before.key, 2, after=step.queries)
        dv = gradient.value + pad_axis(before.value, 2, after=step.queries)
        sums = [_plus(getattr(before, name), getattr(gradient, name)) for name in _SHARED]
        pending = dk[:, :, step.queries :], dv[:, :, step.queries :]
        complete = dk[:, :, : step.queries], dv[:, :, : step.queries]
        results = _present(StepTensors(gradient.query, *complete, None, side_bias=gradient.side_bias))
        carry = _present(StepTensors(None, *pending, None, *sums))
        return carry, [ops.cast(x, dtype) for x, (_, dtype) in zip(results, outputs, strict=True)]

    inputs = [*_present(cut), *(_by_step(x, step.queries) for x in (output, lse, d_output))]
    template = StepTensors(tensors.query, tensors.key, tensors.value, None, side_bias=tensors.side_bias)
    outputs = [
        ((*x.shape[:2], rows, x.shape[3]), x.dtype)
        for x, rows in zip(_present(template), _rows(step, tensors), strict=True)
    ]
    # dq over the queries, dk over the output, dv over its gradient, and the side bias' gradient over the side bias.
    reuse = {0: 0, 1: count, 2: count + 2} | ({3: 1} if tensors.side_bias is not None else {})
    carry, results = scan(body, start, outputs, ops.shape(cut.query)[0], inputs, _possible(reuse, outputs, inputs))
    sums, whole = _filled(shared, carry), _filled(template, [_in_order(x) for x in results])
    return StepTensors(
        query=whole.query,
        key=ops.concatenate([whole.key, ops.cast(sums.key, whole.key.dtype)], axis=2),
        value=ops.concatenate([whole.value, ops.cast(sums.value, whole.value.dtype)], axis=2),
        key_mask=ops.zeros_like(tensors.key_mask),
        window_bias=sums.window_bias,
        side_key=sums.side_key,
        side_value=sums.side_value,
        side_mask=None if tensors.side_mask is None else ops.zeros_like(tensors.side_mask),
        side_bias=whole.side_bias,
    )


def _rows(step: BlockAttentionStep, tensors: StepTensors) -> list[int]:
    """The number of rows of each result of a step: dq, dk, dv and, with a side bias, its gradient."""
    side_rows = [] if tensors.side_bias is None else [step.queries // step.queries_per_bias]
    return [step.queries] * 3 + side_rows


def _plus(total: Tensor | None, share: Tensor | None) -> Tensor | None:
    return None if total is None else total + share


def _by_step(x: Tensor, rows: int) -> Tensor:
    """(B, H, steps * rows, X) -> (steps, B, H, rows, X)."""
    batch, heads, length, width = ops.shape(x)
    return ops.transpose(ops.reshape(x, (batch, heads, length // rows, rows, width)), (2, 0, 1, 3, 4))


def _in_order(parts: Tensor) -> Tensor:
    """Inverse of `_by_step`: (steps, B, H, rows, X) -> (B, H, steps * rows, X)."""
    steps, batch, heads, rows, width = ops.shape(parts)
    return ops.reshape(ops.transpose(parts, (1, 2, 0, 3, 4)), (batch, heads, steps * rows, width))
