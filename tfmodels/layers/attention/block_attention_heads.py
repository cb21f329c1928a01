"""The engine on a few heads at a time, where a step's scores of all heads would leave a TPU's on-chip memory.

A step works on all documents of a batch, so its scores grow with the batch. Here a loop over groups of heads lies
around the loop over steps. A head needs nothing of another's: nothing is summed over the groups. Heads, and not
documents, because a batch may be divided over devices where nothing here can know of it: a loop over documents would
bring each of them to every device.
"""

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from tfmodels.backend import devices
from tfmodels.backend.batch_parts import batch_parts, divides_batches_alone
from tfmodels.backend.scan import scan
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention_step import (
    BlockAttentionStep,
    StepTensors,
    filled,
    present,
)

Attend = Callable[[BlockAttentionStep, StepTensors], tuple[Tensor, Tensor]]
Differentiate = Callable[[BlockAttentionStep, StepTensors, Tensor, Tensor, Tensor], StepTensors]

# The axis of the heads; None: the tensor has none.
_AXES = StepTensors(1, 1, 1, None, 0, 1, 1, None, 1)
_FLOAT32_BYTES = 4


def heads_at_a_time(step: BlockAttentionStep, tensors: StepTensors) -> int | None:
    """The most heads that divide all heads, and whose scores of one step stay on the chip; at least 1.

    None: all of them, in one loop. So it is where the device has no limit, where a size is unknown, and where
    `keras.distribution` divides heads over devices.

    Args:
        step: as it runs.
        tensors: the engine's, padded to whole steps.
    """
    batch, heads, queries = tensors.query.shape[:3]
    side_keys = 0 if tensors.side_key is None else tensors.side_key.shape[2]
    most = devices.most_score_bytes(step.device_kind)
    if most is None or not all(isinstance(size, int) for size in (batch, heads, queries, side_keys)):
        return None
    keys = step.queries + 2 * step.geometry.margin + side_keys
    of_a_head = batch // batch_parts(batch) * step.queries * keys * _FLOAT32_BYTES
    if heads == 1 or heads * of_a_head <= most or not divides_batches_alone():
        return None
    fitting = [count for count in range(2, heads) if heads % count == 0 and count * of_a_head <= most]
    return max(fitting, default=1)


def attend_by_heads(
    attend: Attend, heads: int, step: BlockAttentionStep, tensors: StepTensors
) -> tuple[Tensor, Tensor]:
    """`attend(step, tensors)`, on so many heads at a time.

    Args:
        attend: to the output (B, H, P, D) in the dtype of the value, and the log-sum-exp (B, H, P, 1).
        heads: from `heads_at_a_time`.
        step, tensors: as there.
    """
    inputs = present(tensors)
    batch, all_heads, queries, size = ops.shape(tensors.query)
    value = tensors.value
    lse = ops.zeros((batch, all_heads, queries, 1), "float32")
    arrays, written = [*inputs, lse], [0, len(inputs)]
    # No later group reads the queries that an output is written over. Under a map of policies the dtypes may differ.
    if tensors.query.dtype != value.dtype or size != value.shape[3]:
        arrays.append(ops.zeros((batch, all_heads, queries, value.shape[3]), value.dtype))
        written[0] = len(inputs) + 1

    def of_group(first: Tensor, parts: list[Tensor]) -> Sequence[Tensor]:
        return attend(step.of_heads(first, all_heads), filled(tensors, parts[: len(inputs)]))

    output, lse = _in_groups(of_group, heads, arrays, [*_axes(tensors), 1, 1], written)
    return output, lse


def gradient_by_heads(
    differentiate: Differentiate,
    heads: int,
    step: BlockAttentionStep,
    tensors: StepTensors,
    output: Tensor,
    lse: Tensor,
    d_output: Tensor,
) -> StepTensors:
    """`differentiate(step, tensors, output, lse, d_output)`, on so many heads at a time; zeros for the masks.

    Args:
        differentiate: to the gradient of each tensor.
        Further arguments: as in `attend_by_heads`, and its results with the gradient of the output.
    """
    inputs, axes = present(tensors), _axes(tensors)
    all_heads = tensors.query.shape[1]
    # Each gradient is written over its tensor, of which no later group reads these heads.
    written = [place for place, axis in enumerate(axes) if axis is not None]

    def of_group(first: Tensor, parts: list[Tensor]) -> Sequence[Tensor]:
        given = filled(tensors, parts[: len(inputs)])
        gradients = present(differentiate(step.of_heads(first, all_heads), given, *parts[len(inputs) :]))
        return [gradients[place] for place in written]

    found = _in_groups(of_group, heads, [*inputs, output, lse, d_output], [*axes, 1, 1, 1], written)
    by_place = dict(zip(written, found, strict=True))
    return filled(tensors, [by_place.get(place, ops.zeros_like(x)) for place, x in enumerate(inputs)])


def _axes(tensors: StepTensors) -> list[int | None]:
    """The axes of the heads of the tensors that are not None."""
    return [axis for axis, x in zip(_AXES, tensors, strict=True) if x is not None]


def _in_groups(
    function: Callable[[Tensor, list[Tensor]], Sequence[Tensor]],
    heads: int,
    arrays: list[Tensor],
    axes: Sequence[int | None],
    written: Sequence[int],
) -> list[Tensor]:
    """Some of the arrays, with the results of `function(first head, parts of the arrays)` in place of their own values.

    Args:
        function: a result for each entry of `written`, of the shape of that array's part.
        heads: of a group.
        arrays: all heads'.
        axes: the axis of the heads of each; where it is None, the part is the whole.
        written: the places of the arrays that results are written over.
    """
    count = arrays[0].shape[1] // heads

    def body(_: Tensor, carry: list[Tensor], *__: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        first, *changed = carry
        current = dict(enumerate(arrays)) | dict(zip(written, changed, strict=True))
        parts = [_part(current[place], axes[place], first, heads) for place in range(len(arrays))]
        results = [
            ops.slice_update(x, _start(x, axes[place], first), ops.cast(result, x.dtype))
            for place, x, result in zip(written, changed, function(first, parts), strict=True)
        ]
        return [first + np.int32(heads), *results], []

    (_, *found), _ = scan(body, [ops.zeros((), "int32"), *(arrays[place] for place in written)], [], count)
    return found


def _part(x: Tensor, axis: int | None, first: Tensor, heads: int) -> Tensor:
    if axis is None:
        return x
    shape = ops.shape(x)
    return ops.slice(x, _start(x, axis, first), (*shape[:axis], heads, *shape[axis + 1 :]))


def _start(x: Tensor, axis: int | None, first: Tensor) -> list[Tensor]:
    # All starts have one dtype: under JAX's 64-bit mode a Python 0 would be int64.
    return [first if place == axis else np.int32(0) for place in range(len(x.shape))]
