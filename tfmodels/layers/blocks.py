"""Pure block arithmetic: cut a sequence into blocks and heads, and join them again."""

from keras import ops

from tfmodels.backend.types import Tensor


def padding_to_multiple(length: int | Tensor, multiple: int) -> int | Tensor:
    """The number of positions that complete `length` to a multiple of `multiple`.

    >>> padding_to_multiple(5, 4)
    3
    """
    # No remainder operator: JAX must see that a symbolic length becomes a multiple above zero. No negative number is
    # divided, as ONNX rounds towards zero.
    return (length + multiple - 1) // multiple * multiple - length


def pad_axis(x: Tensor, axis: int, before: int | Tensor = 0, after: int | Tensor = 0) -> Tensor:
    """Pad `x` with zeros (False for booleans) along one axis.

    Args:
        x: a tensor.
        axis: the axis to pad.
        before, after: the number of zeros on either side.

    >>> pad_axis(ops.ones((2, 3)), axis=1, before=1, after=2).shape[1]
    6
    """
    if isinstance(before, int) and isinstance(after, int) and before == after == 0:
        return x
    widths: list[list[int | Tensor]] = [[0, 0] for _ in x.shape]
    widths[axis] = [before, after]
    return ops.pad(x, widths)


def split_into_blocks(x: Tensor, block_length: int, axis: int) -> Tensor:
    """Cut one axis of length L into N blocks of `block_length`; L is padded with zeros to a whole block.

    (..., L, ...) -> (..., N, C, ...) with N = ceil(L / C).

    >>> split_into_blocks(ops.arange(5), 2, axis=0).shape[0]
    3
    """
    x = pad_axis(x, axis, after=padding_to_multiple(ops.shape(x)[axis], block_length))
    shape = ops.shape(x)
    blocks = shape[axis] // block_length
    return ops.reshape(x, (*shape[:axis], blocks, block_length, *shape[axis + 1 :]))


def merge_blocks(x: Tensor, length: int | Tensor, axis: int) -> Tensor:
    """Inverse of `split_into_blocks`: (..., N, C, ...) -> (..., L, ...), trimmed to `length`.

    >>> ops.convert_to_numpy(merge_blocks(ops.array([[1, 2], [3, 0]]), 3, axis=0)).tolist()
    [1, 2, 3]
    """
    shape = ops.shape(x)
    x = ops.reshape(x, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))
    return x[(*(slice(None),) * axis, slice(0, length))]


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, L, H * D) -> (B, H, L, D)."""
    batch, length, width = ops.shape(x)
    x = ops.reshape(x, (batch, length, num_heads, width // num_heads))
    return ops.transpose(x, (0, 2, 1, 3))


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, L, D) -> (B, L, H * D)."""
    batch, heads, length, size = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, heads * size))
