"""The token buffers of the searches."""

from typing import Any

from keras import ops

Tensor = Any


def write_token(tokens: Tensor, position: Tensor, token: Tensor) -> Tensor:
    """`token` (...) written into `tokens` (..., T) at one place of the last axis.

    >>> ops.convert_to_numpy(write_token(ops.zeros((1, 3), "int32"), 1, ops.array([7], "int32"))).tolist()
    [[0, 7, 0]]
    """
    # A select and not `ops.slice_update`, which on TensorFlow is an XLA op that stock servers may not have.
    return ops.where(ops.equal(ops.arange(tokens.shape[-1], dtype="int32"), position), token[..., None], tokens)
