"""Attention of the global tokens to a whole document, without projecting the document.

With G slots, `q (x W_k)^T = (q W_k^T) x^T` and `p (x W_v) = (p x) W_v` cost G * H * E per token and product in place of
E * H * D: less if G < D.
"""

from typing import Any

import keras
from keras import ops

from tfmodels.backend.document import WHOLE, Document
from tfmodels.backend.remat import remat
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.dense_attention import dense_attention, dropout_scale, masked_softmax
from tfmodels.layers.blocks import pad_axis, split_heads
from tfmodels.layers.dropout import HashDropout

# Documents have one global token, or one per question; the slots are for the few that have dozens.
_FEW = 8


def global_attention(
    query: Tensor,
    slot_count: Tensor,
    hidden_states: Tensor,
    visible: Tensor,
    key: keras.layers.Dense,
    value: keras.layers.Dense,
    dropout: HashDropout | None = None,
    training: bool = False,
    document: Document = WHOLE,
) -> Tensor:
    """Attend the slots' queries to `key(hidden_states)` and `value(hidden_states)`.

    Args:
        query: (B, H, G, D), already scaled; taken slots come first.
        slot_count: int32 scalar, the largest number of taken slots of any document. The output of slots beyond it is
            undefined.
        hidden_states: (B, L, E).
        visible: bool (B, L), the tokens that the slots see.
        key, value: projections from E to H * D units.
        dropout: of the attention probabilities, or None.
        training: recompute the scores for the gradient.
        document: the document of which a device holds L tokens; each device has all queries, and gets all outputs.

    Returns:
        (B, H, G, D) in the dtype of `query`.

    >>> layer = keras.layers.Dense(4)
    >>> layer.build((None, None, 4))
    >>> x = ops.ones((1, 3, 4))
    >>> global_attention(ops.ones((1, 2, 1, 2)), 1, x, ops.ones((1, 3), "bool"), layer, layer).shape[3]
    2
    """
    heads, slots, size = query.shape[1:]
    if slots > size or key.quantization_mode or value.quantization_mode:
        keys = ops.swapaxes(split_heads(key(hidden_states), heads), 2, 3)  # (B, H, D, L)
        values = split_heads(value(hidden_states), heads)  # (B, H, L, D)
        return dense_attention(query, keys, values, visible[:, None, None, :], None, dropout, training, document)

    def attend(query: Tensor, slot_count: Tensor, *further: Tensor) -> Tensor:
        if slots <= _FEW:
            return _attend_unprojected(dropout, document, query, *further)
        few = query[:, :, :_FEW]
        return ops.cond(
            slot_count <= _FEW,
            lambda: pad_axis(_attend_unprojected(dropout, document, few, *further), 2, after=slots - _FEW),
            lambda: _attend_unprojected(dropout, document, query, *further),
        )

    kernels = [tensor for part in (key, value) for tensor in _kernel_and_bias(part, heads, query.dtype)]
    inputs = [query, ops.convert_to_tensor(slot_count), ops.cast(hidden_states, query.dtype), visible, *kernels]
    return remat(attend, *inputs) if training else attend(*inputs)


def _attend_unprojected(
    dropout: HashDropout | None,
    document: Document,
    query: Tensor,
    hidden_states: Tensor,
    visible: Tensor,
    key_kernel: Tensor,
    key_bias: Tensor,
    value_kernel: Tensor,
    value_bias: Tensor,
) -> Tensor:
    batch, heads, slots, _ = ops.shape(query)
    length, width = ops.shape(hidden_states)[1], hidden_states.shape[2]
    # q W_k^T: (B, H * G, E)
    unprojected = ops.reshape(ops.einsum("bhgd,ehd->bhge", query, key_kernel), (batch, heads * slots, width))
    scores = ops.matmul(unprojected, ops.swapaxes(hidden_states, 1, 2))  # (B, H * G, L)
    scores = ops.reshape(scores, (batch, heads, slots, length))
    scores = scores + ops.einsum("bhgd,hd->bhg", query, key_bias)[..., None]  # (B, H, G, L)
    probabilities = masked_softmax(scores, visible[:, None, None, :], document)
    if dropout is not None:
        probabilities = probabilities * dropout_scale(dropout, probabilities, document)
    probabilities = ops.cast(probabilities, hidden_states.dtype)
    mixed = document.total(ops.matmul(ops.reshape(probabilities, (batch, heads * slots, length)), hidden_states))  # p x
    mixed = ops.reshape(mixed, (batch, heads, slots, width))  # (B, H, G, E)
    # The sum of the probabilities: not 1 after dropout, nor for slots without visible tokens.
    total = document.total(ops.sum(probabilities, axis=-1, keepdims=True))  # (B, H, G, 1)
    return ops.einsum("bhge,ehd->bhgd", mixed, value_kernel) + total * value_bias[:, None]


def _kernel_and_bias(projection: keras.layers.Dense, heads: int, dtype: Any) -> tuple[Tensor, Tensor]:
    """The kernel (E, H, D) and bias (H, D) of a projection."""
    kernel = ops.cast(projection.kernel, dtype)
    width, units = kernel.shape
    bias = ops.cast(projection.bias, dtype) if projection.use_bias else ops.zeros((units,), dtype)
    return ops.reshape(kernel, (width, heads, units // heads)), ops.reshape(bias, (heads, units // heads))
