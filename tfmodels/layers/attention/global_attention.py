"""Attention of a few rows to a whole document, without projecting the document.

With G rows, `q (x W_k)^T = (q W_k^T) x^T` and `p (x W_v) = (p x) W_v` cost G * H * E per token and product in place of
E * H * D: less where the rows are fewer than the units of a head.

Shape letters: B batch, H heads, G rows, L length, D head size, E model size.
"""

from typing import Any

import keras
from keras import ops

from tfmodels.backend.remat import remat
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.dense_attention import dense_attention, masked_softmax
from tfmodels.layers.blocks import pad_axis, split_heads
from tfmodels.layers.dropout import HashDropout

# Documents have one global token, or one per question; the slots are for the few that have dozens.
_FEW = 8


def global_attention(
    query: Tensor,
    row_count: Tensor,
    hidden_states: Tensor,
    visible: Tensor,
    key: keras.layers.Dense,
    value: keras.layers.Dense,
    dropout: HashDropout | None = None,
    training: bool = False,
) -> Tensor:
    """Attend the rows' queries to `key(hidden_states)` and `value(hidden_states)`.

    Args:
        query: (B, H, G, D), already scaled; the first rows count.
        row_count: int32 scalar, how many of the rows count, in any document. The others' output is without meaning.
        hidden_states: (B, L, E).
        visible: bool (B, L), which tokens the rows see.
        key, value: projections from E to H * D units.
        dropout: of the attention probabilities, or None.
        training: compute the scores again for the gradient.

    Returns:
        (B, H, G, D) in the dtype of `query`.

    >>> layer = keras.layers.Dense(4)
    >>> layer.build((None, None, 4))
    >>> x = ops.ones((1, 3, 4))
    >>> global_attention(ops.ones((1, 2, 1, 2)), 1, x, ops.ones((1, 3), "bool"), layer, layer).shape[3]
    2
    """
    heads, rows, size = query.shape[1:]
    if rows > size or key.quantization_mode or value.quantization_mode:
        keys = ops.swapaxes(split_heads(key(hidden_states), heads), 2, 3)
        values = split_heads(value(hidden_states), heads)
        return dense_attention(query, keys, values, visible[:, None, None, :], None, dropout, training)

    def attend(query: Tensor, row_count: Tensor, *given: Tensor) -> Tensor:
        if rows <= _FEW:
            return _attend_unprojected(dropout, query, *given)
        return ops.cond(
            row_count <= _FEW,
            lambda: pad_axis(_attend_unprojected(dropout, query[:, :, :_FEW], *given), 2, after=rows - _FEW),
            lambda: _attend_unprojected(dropout, query, *given),
        )

    kernels = [tensor for part in (key, value) for tensor in _kernel_and_bias(part, heads, query.dtype)]
    given = [query, ops.convert_to_tensor(row_count), ops.cast(hidden_states, query.dtype), visible, *kernels]
    return remat(attend, *given) if training else attend(*given)


def _attend_unprojected(
    dropout: HashDropout | None,
    query: Tensor,
    hidden_states: Tensor,
    visible: Tensor,
    key_kernel: Tensor,
    key_bias: Tensor,
    value_kernel: Tensor,
    value_bias: Tensor,
) -> Tensor:
    batch, heads, rows, _ = ops.shape(query)
    length, width = ops.shape(hidden_states)[1], hidden_states.shape[2]
    unprojected = ops.reshape(ops.einsum("bhgd,ehd->bhge", query, key_kernel), (batch, heads * rows, width))
    scores = ops.matmul(unprojected, ops.swapaxes(hidden_states, 1, 2))
    scores = ops.reshape(scores, (batch, heads, rows, length)) + ops.einsum("bhgd,hd->bhg", query, key_bias)[..., None]
    probabilities = masked_softmax(scores, visible[:, None, None, :])
    if dropout is not None:
        probabilities = probabilities * dropout.scale(ops.shape(probabilities), ops.zeros((), "int32"))
    probabilities = ops.cast(probabilities, hidden_states.dtype)
    mixed = ops.matmul(ops.reshape(probabilities, (batch, heads * rows, length)), hidden_states)
    mixed = ops.reshape(mixed, (batch, heads, rows, width))
    # After dropout, and for rows that see nothing, the probabilities do not sum to 1.
    total = ops.sum(probabilities, axis=-1, keepdims=True)
    return ops.einsum("bhge,ehd->bhgd", mixed, value_kernel) + total * value_bias[:, None]


def _kernel_and_bias(projection: keras.layers.Dense, heads: int, dtype: Any) -> tuple[Tensor, Tensor]:
    """Kernel (E, H, D) and bias (H, D)."""
    kernel = ops.cast(projection.kernel, dtype)
    width, units = kernel.shape
    bias = ops.cast(projection.bias, dtype) if projection.use_bias else ops.zeros((units,), dtype)
    return ops.reshape(kernel, (width, heads, units // heads)), ops.reshape(bias, (heads, units // heads))
