"""The engine's forward pass for TPUs: the numbers of `BlockAttentionStep.attend`, in fewer and larger operations.

A TPU's compiler makes one program of each operation that it cannot join to a matrix product, and each costs as much as
a small product. So here the sum of the exponentials is one more column of the product with the values, the blocks of a
step are one long block, masks and biases are added up before the loop, and each step's output is written over its
queries. Dropout needs the sum before it is applied: it has no such form.

A step works on all documents, so its scores grow with the batch. Where those of all heads would leave the chip's fast
memory, a step has a few heads. Heads, and not documents: a batch may be divided over devices where nothing here can
know of it, and a loop over its documents would bring each to every device.

Further shape letters: Q queries of a step, Y keys of its slice, P queries of all steps, q queries that share a row of
the side keys' bias.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from keras import ops

from tfmodels.backend import devices
from tfmodels.backend.batch_parts import batch_parts, divides_batches_alone
from tfmodels.backend.precision import float32_product
from tfmodels.backend.scan import computed_before, scan
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention_step import (
    LOWEST,
    TINY,
    BlockAttentionStep,
    StepTensors,
    additive_mask,
    over_parts,
    slice_rows,
)
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import pad_axis

_FLOAT32_BYTES = 4
# So far above the limit, all heads together are still rated better than a few at a time (docs/performance.md).
_TOLERANCE = 1.25


class _LoopTensors(NamedTuple):
    """What every step reads.

    key: (B, H, P + 2 * margin, D), zeros where the mask hides them. value: (B, H, P + 2 * margin, D + 1), a column of
    ones behind the values. key_mask: float32 (B, P + 2 * margin), added to the scores. window_bias: float32 (Q, Y) or
    (H, Q, Y), the same for all steps. side_key, side_value: (B, H, G, D) and (B, H, G, D + 1), or None. side_mask:
    float32 (B, G), added to the scores. side_bias: float32 (B, H, P / q, G), or None.
    """

    key: Tensor
    value: Tensor
    key_mask: Tensor
    window_bias: Tensor
    side_key: Tensor | None
    side_value: Tensor | None
    side_mask: Tensor | None
    side_bias: Tensor | None


class _Place(NamedTuple):
    """What a step works on: a block of all queries, and so many heads from `head` on, or all (None). block, head: int32
    scalars."""

    block: Tensor
    head: Tensor
    heads: int | None

    @classmethod
    def of(cls, index: Tensor, blocks: int | Tensor, heads: int | None) -> "_Place":
        """That of a step: all blocks of the first heads, then of the next."""
        if heads is None:
            return cls(index, np.int32(0), None)
        group = index // np.int32(blocks)
        return cls(index - group * np.int32(blocks), group * np.int32(heads), heads)

    def rows(self, x: Tensor, first: Tensor, count: int) -> Tensor:
        """Rows of these heads: (B, H, P, X) -> (B, heads, count, X)."""
        if self.heads is None:
            return slice_rows(x, first, count)
        zero = np.int32(0)
        return ops.slice(x, (zero, self.head, first, zero), (x.shape[0], self.heads, count, x.shape[3]))

    def all_rows(self, x: Tensor) -> Tensor:
        """(B, H, X, Y) -> (B, heads, X, Y)."""
        return x if self.heads is None else self.rows(x, np.int32(0), x.shape[2])


def heads_at_a_time(step: BlockAttentionStep, tensors: StepTensors) -> int | None:
    """The heads of a step: the most that divide all heads and whose scores stay on the chip, at least 1.

    Of a batch that `keras.distribution` divides, a device's part counts; of one that JAX divides by itself, the whole.

    Args:
        step: its blocks are worked on as one.
        tensors: the engine's, padded to whole steps.

    Returns:
        None for all heads: where they fit, or nearly, where a size is unknown, where the device has no limit, and where
        `keras.distribution` divides heads over devices.
    """
    batch, heads, queries = tensors.query.shape[:3]
    side_keys = 0 if tensors.side_key is None else tensors.side_key.shape[2]
    most = devices.most_score_bytes(step.device_kind)
    if most is None or not all(isinstance(size, int) for size in (batch, heads, queries, side_keys)):
        return None
    keys = step.queries + 2 * step.geometry.margin + side_keys
    of_a_head = batch // batch_parts(batch) * step.queries * keys * _FLOAT32_BYTES
    if heads == 1 or heads * of_a_head <= _TOLERANCE * most or not divides_batches_alone():
        return None
    fitting = [count for count in range(2, heads) if heads % count == 0 and count * of_a_head <= most]
    return max(fitting, default=1)


def attend_in_long_blocks(step: BlockAttentionStep, tensors: StepTensors) -> tuple[Tensor, Tensor]:
    """The attention of all queries, without dropout.

    Args:
        step: its blocks are worked on as one.
        tensors: the engine's, padded to whole steps.

    Returns:
        Output (B, H, P, D) in the dtype of the value, and each query's float32 log-sum-exp (B, H, P, 1).
    """
    batch, all_heads, length, _ = ops.shape(tensors.query)
    rows, zero, heads = step.queries, np.int32(0), heads_at_a_time(step, tensors)
    groups, blocks = (1 if heads is None else all_heads // heads), length // rows
    geometry = WindowGeometry(step.geometry.window, rows, step.geometry.margin)
    shared = _loop_tensors(step, geometry, tensors)
    # No later step reads the queries that an output is written over. Under a map of policies the dtypes may differ.
    in_place = tensors.query.dtype == tensors.value.dtype and tensors.query.shape[3] == tensors.value.shape[3]
    outputs = tensors.query if in_place else ops.zeros_like(tensors.value[:, :, step.geometry.margin :][:, :, :length])

    def body(_: Tensor, carry: list[Tensor], *__: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        # The index is carried: the loop's own is an array that each step would read from memory.
        index, outputs = carry
        place = _Place.of(index, blocks, heads)
        query = place.rows(outputs if in_place else tensors.query, place.block * rows, rows)  # (B, heads, Q, D)
        output, lse = _attend(step.queries_per_bias, geometry, shared, query, place)
        start = (zero, place.head, place.block * rows, zero)
        return [index + np.int32(1), ops.slice_update(outputs, start, ops.cast(output, outputs.dtype))], [lse]

    kind = (tensors.query.shape[0], heads or tensors.query.shape[1], rows, 1), "float32"
    (_, outputs), (lse,) = scan(body, [ops.zeros((), "int32"), outputs], [kind], groups * blocks)
    # (groups * blocks, B, heads, Q, 1) -> (groups, blocks, B, heads, Q) -> (B, groups, heads, blocks, Q)
    lse = ops.reshape(lse, (groups, blocks, batch, heads or all_heads, rows))
    return outputs, ops.reshape(ops.transpose(lse, (2, 0, 3, 1, 4)), (batch, all_heads, length, 1))


def _attend(
    queries_per_bias: int, geometry: WindowGeometry, shared: _LoopTensors, query: Tensor, place: _Place
) -> list[Tensor]:
    """Float32 output (B, H, Q, D) and log-sum-exp (B, H, Q, 1) of one step's queries; H are here the step's heads."""
    first, width, size = place.block * geometry.block_length, geometry.slice_length, shared.value.shape[-1] - 1
    key, value = place.rows(shared.key, first, width), place.rows(shared.value, first, width)  # (B, H, Y, D [+ 1])
    mask = ops.slice(shared.key_mask, (np.int32(0), first), (ops.shape(shared.key_mask)[0], width))  # (B, Y)
    bias = shared.window_bias  # (Q, Y) or (H, Q, Y)
    if len(bias.shape) == 3:
        bias = place.all_rows(bias[None])  # (1, H, Q, Y)
    window = float32_product(query, ops.swapaxes(key, 2, 3)) + mask[:, None, None] + bias  # (B, H, Q, Y)
    parts, values = [window], [value]
    if shared.side_mask is not None:
        side = float32_product(query, ops.swapaxes(place.all_rows(shared.side_key), 2, 3))  # (B, H, Q, G)
        parts.append(_biased(side, shared.side_mask[:, None, None], shared.side_bias, queries_per_bias, place))
        values.append(place.all_rows(shared.side_value))
    highest = over_parts(partial(ops.max, initial=np.float32(LOWEST)), ops.maximum, parts)  # (B, H, Q, 1)
    # The last column of the product is the exponentials' sum: (B, H, Q, D + 1).
    products = [
        float32_product(ops.cast(ops.exp(part - highest), value.dtype), value)
        for part, value in zip(parts, values, strict=True)
    ]
    product = products[0] if len(products) == 1 else products[0] + products[1]
    total = ops.maximum(product[..., size:], np.float32(TINY))
    return [product[..., :size] / total, highest + ops.log(total)]


def _biased(side: Tensor, mask: Tensor, bias: Tensor | None, queries_per_bias: int, place: _Place) -> Tensor:
    """Scores of the side keys (B, H, Q, G) with their mask (B, 1, 1, G), and with one step's rows of the bias."""
    if bias is None:
        return side + mask
    batch, heads, queries, keys = ops.shape(side)
    rows = queries // queries_per_bias
    grouped = ops.reshape(side, (batch, heads, rows, queries_per_bias, keys))
    added = place.rows(bias, place.block * rows, rows) + mask  # (B, H, Q / q, G)
    return ops.reshape(grouped + added[:, :, :, None], (batch, heads, queries, keys))


def _loop_tensors(step: BlockAttentionStep, geometry: WindowGeometry, tensors: StepTensors) -> _LoopTensors:
    bias = ops.convert_to_tensor(additive_mask(geometry.is_inside()))  # (Q, Y)
    if tensors.window_bias is not None:
        bias = bias + _long_bias(tensors.window_bias, step)  # (H, Q, Y)
    # Padding by itself is rated twice as dear as padding within a selection.
    key = ops.where(tensors.key_mask[:, None, :, None] < 0, ops.zeros_like(tensors.key), tensors.key)
    side_value = None if tensors.side_value is None else _with_ones(tensors.side_value)
    side_mask = None if tensors.side_mask is None else computed_before(tensors.side_mask)
    side = tensors.side_key, side_value, side_mask, tensors.side_bias
    return _LoopTensors(key, _with_ones(tensors.value), tensors.key_mask, bias, *side)


def _long_bias(bias: Tensor, step: BlockAttentionStep) -> Tensor:
    """The bias of one block (H, C, Y) for all blocks of a step: (H, N * C, Y + (N - 1) * C), zero beside the slices."""
    length = step.geometry.block_length
    last = step.blocks - 1
    blocks = [pad_axis(bias, 2, before=n * length, after=(last - n) * length) for n in range(step.blocks)]
    return ops.concatenate(blocks, axis=1)


def _with_ones(x: Tensor) -> Tensor:
    """(B, H, X, D) -> (B, H, X, D + 1), the last column ones."""
    return ops.concatenate([x, ops.ones_like(x[..., :1])], axis=-1)
