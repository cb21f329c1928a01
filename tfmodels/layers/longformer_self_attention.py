"""Longformer self-attention: a sliding window, and a fixed number of slots for global tokens.

Shape letters: B batch, L length, E model size, H heads, D head size, G slots for global tokens.
"""

from functools import partial
from typing import Any

import keras
from keras import ops

from tfmodels.layers.block_attention import ExtraKeys, WindowGeometry, block_attention
from tfmodels.layers.blocks import merge_heads, split_heads
from tfmodels.layers.checks import check_divides, check_even_positive, check_global_capacity, check_positive
from tfmodels.layers.projection import projection
from tfmodels.layers.softmax import masked_softmax

Tensor = Any


def global_slots(is_global: Tensor, max_global_tokens: int) -> Tensor:
    """Which position each slot for global tokens holds: the first global tokens of each row, in order.

    Args:
        is_global: bool (B, L).
        max_global_tokens: G.

    Returns:
        bool (B, G, L): one True per slot that is taken, none in an empty one.

    >>> slots = global_slots(ops.array([[False, True, False, True]]), 3)
    >>> ops.convert_to_numpy(slots).astype(int).tolist()
    [[[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]]
    """
    # Counted, not sorted: a top-k in the graph made XLA's dropout ten times slower on the CPU (measured, TF 2.21).
    rank = ops.cumsum(ops.cast(is_global, "int32"), axis=1)
    slot = ops.arange(1, max_global_tokens + 1, dtype="int32")
    return ops.logical_and(is_global[:, None, :], ops.equal(rank[:, None, :], slot[None, :, None]))


@keras.saving.register_keras_serializable("tfmodels")
class LongformerSelfAttention(keras.layers.Layer):
    """Self-attention of Longformer and LED (Beltagy et al. 2020, section 3.1), linear in the length.

    Every token sees the `attention_window / 2` tokens on either side of it and all global tokens; a global token sees
    the whole document, through projections of its own. Any length is right; multiples of `attention_window / 4` are
    fastest. There is no output projection.

    Args:
        num_heads: H; must divide the model size E.
        attention_window: width of the window (both sides together), even.
        max_global_tokens: G, slots for global tokens. Marks beyond it are ignored in graphs and an error in eager
            calls; with 0 the global branch is left out.
        dropout: rate on the attention probabilities, during training.
        initializer_range: standard deviation of the initial kernels.

    Call arguments:
        hidden_states: (B, L, E).
        attention_mask: (B, L), 0 on padding; None: no padding. Padding yields zeros.
        global_attention_mask: (B, L), non-zero on global tokens; None: no global tokens. A mark on padding is ignored.

    Returns:
        (B, L, E) in the compute dtype.

    Raises:
        ValueError: a bad argument, or more global tokens in a row than slots (eager calls).

    >>> layer = LongformerSelfAttention(num_heads=2, attention_window=4)
    >>> layer(ops.ones((1, 7, 8)), global_attention_mask=ops.array([[1, 0, 0, 0, 0, 0, 0]])).shape[1]
    7
    """

    def __init__(
        self,
        num_heads: int,
        attention_window: int,
        max_global_tokens: int = 64,
        dropout: float = 0.0,
        initializer_range: float = 0.02,
        **kwargs: Any,
    ) -> None:
        # The parts cast for themselves: casting here would round float32 biases and residuals to 16 bits.
        super().__init__(autocast=False, **kwargs)
        check_positive("num_heads", num_heads)
        check_even_positive("attention_window", attention_window)
        self.num_heads = num_heads
        self.attention_window = attention_window
        self.max_global_tokens = max_global_tokens
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.geometry = WindowGeometry.covering(attention_window // 2)
        self.attention_dropout = keras.layers.Dropout(dropout, dtype="float32", name="attention_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Create the six projections."""
        width = hidden_states_shape[-1]
        check_divides("num_heads", self.num_heads, "the model size", width)
        self.head_size = width // self.num_heads
        for name in ("query", "key", "value", "query_global", "key_global", "value_global"):
            part = projection(name, width, self.initializer_range, True, self.dtype_policy)
            part.build(hidden_states_shape)
            setattr(self, name, part)

    def call(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Attend; see the class docstring."""
        if attention_mask is None:
            valid = ops.ones(ops.shape(hidden_states)[:2], "bool")
        else:
            valid = ops.not_equal(attention_mask, 0)
        if global_attention_mask is None or self.max_global_tokens == 0:
            output = self._attend_locally(hidden_states, valid, None, None, training)
        else:
            check_global_capacity(global_attention_mask, attention_mask, self.max_global_tokens)
            is_global = ops.logical_and(valid, ops.not_equal(global_attention_mask, 0))
            slots = global_slots(is_global, self.max_global_tokens)  # (B, G, L)
            in_slot, taken = ops.any(slots, axis=1), ops.any(slots, axis=2)  # (B, L), (B, G)
            window_mask = ops.logical_and(valid, ops.logical_not(in_slot))
            # Slots are read and written by products with their one-hot rows, whose gradients are products too: cheaper
            # under XLA than gathers and scatters, and no shape depends on how many slots are taken.
            slots = ops.cast(slots, hidden_states.dtype)
            rows = ops.matmul(slots, hidden_states)  # (B, G, E)
            output = self._attend_locally(hidden_states, window_mask, rows, taken, training)
            whole = self._attend_globally(rows, hidden_states, valid, training)
            slots = ops.cast(ops.swapaxes(slots, 1, 2), whole.dtype)
            output = ops.where(in_slot[..., None], ops.matmul(slots, whole), output)
        return output * ops.cast(valid[..., None], output.dtype)

    def _attend_locally(
        self, hidden_states: Tensor, window_mask: Tensor, rows: Tensor | None, taken: Tensor | None, training: Any
    ) -> Tensor:
        """Every token against its window and the global tokens `rows` (B, G, E): (B, L, E)."""
        extra = None
        if rows is not None and taken is not None:
            extra = ExtraKeys(
                key=split_heads(self.key(rows), self.num_heads),
                value=split_heads(self.value(rows), self.num_heads),
                mask=taken,
            )
        output = block_attention(
            split_heads(self.query(hidden_states) * self.head_size**-0.5, self.num_heads),
            split_heads(self.key(hidden_states), self.num_heads),
            split_heads(self.value(hidden_states), self.num_heads),
            window_mask,
            self.geometry,
            extra=extra,
            dropout=partial(self.attention_dropout, training=training) if self.dropout else None,
        )
        return merge_heads(output)

    def _attend_globally(self, rows: Tensor, hidden_states: Tensor, valid: Tensor, training: Any) -> Tensor:
        """The global tokens `rows` (B, G, E) against the whole document: (B, G, E)."""
        query = split_heads(self.query_global(rows) * self.head_size**-0.5, self.num_heads)  # (B, H, G, D)
        key = split_heads(self.key_global(hidden_states), self.num_heads)
        value = split_heads(self.value_global(hidden_states), self.num_heads)
        scores = ops.matmul(query, ops.swapaxes(key, 2, 3))  # (B, H, G, L)
        probabilities = masked_softmax(scores, valid[:, None, None, :])
        probabilities = self.attention_dropout(probabilities, training=training)
        return merge_heads(ops.matmul(ops.cast(probabilities, value.dtype), value))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "attention_window": self.attention_window,
            "max_global_tokens": self.max_global_tokens,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
        }
