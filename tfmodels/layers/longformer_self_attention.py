"""Longformer self-attention: a sliding window, and a fixed number of slots for global tokens.

Shape letters: B batch, L length, E model size, H heads, D head size, G slots for global tokens.
"""

from functools import partial
from typing import Any

import keras
from keras import ops

from tfmodels.layers.block_attention import ExtraKeys, WindowGeometry, block_attention
from tfmodels.layers.blocks import merge_heads, pad_axis, split_heads
from tfmodels.layers.checks import check_divides, check_even_positive, check_global_capacity, check_positive
from tfmodels.layers.softmax import masked_softmax

Tensor = Any


def global_slots(is_global: Tensor, max_global_tokens: int) -> tuple[Tensor, Tensor]:
    """Positions of the first global tokens of each row, in order.

    Args:
        is_global: bool (B, L).
        max_global_tokens: G.

    Returns:
        Positions int32 (B, G), 0 in empty slots, and bool (B, G), which slots are taken.

    >>> positions, taken = global_slots(ops.array([[False, True, False, True]]), 3)
    >>> ops.convert_to_numpy(positions).tolist(), ops.convert_to_numpy(taken).tolist()
    ([[1, 3, 0]], [[True, True, False]])
    """
    length = ops.shape(is_global)[1]
    # Earlier positions rank higher; float32 because XLA's fast top-k takes floats only (exact up to 2 ** 24 positions).
    rank = ops.cast(length - ops.arange(length), "float32")
    rank = ops.where(is_global, rank[None], 0.0)
    rank, positions = ops.top_k(pad_axis(rank, 1, after=max_global_tokens), max_global_tokens)
    taken = rank > 0
    return ops.where(taken, ops.cast(positions, "int32"), 0), taken


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
            projection = keras.layers.Dense(
                width,
                kernel_initializer=keras.initializers.RandomNormal(stddev=self.initializer_range),
                dtype=self.dtype_policy,
                name=name,
            )
            projection.build(hidden_states_shape)
            setattr(self, name, projection)

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
            check_global_capacity(global_attention_mask, self.max_global_tokens)
            is_global = ops.logical_and(valid, ops.not_equal(global_attention_mask, 0))
            positions, taken = global_slots(is_global, self.max_global_tokens)
            rank = ops.cumsum(ops.cast(is_global, "int32"), axis=1)
            in_slot = ops.logical_and(is_global, rank <= self.max_global_tokens)
            window_mask = ops.logical_and(valid, ops.logical_not(in_slot))
            output = self._attend_locally(hidden_states, window_mask, positions, taken, training)
            rows = self._attend_globally(hidden_states, valid, positions, training)
            output = _overwrite_rows(output, rows, positions, taken)
        return output * ops.cast(valid[..., None], output.dtype)

    def _attend_locally(
        self, hidden_states: Tensor, window_mask: Tensor, positions: Tensor | None, taken: Tensor, training: Any
    ) -> Tensor:
        """Every token against its window and the global tokens: (B, L, E)."""
        query = self.query(hidden_states) * self.head_size**-0.5
        key, value = self.key(hidden_states), self.value(hidden_states)
        extra = None
        if positions is not None:
            extra = ExtraKeys(
                key=split_heads(_take_rows(key, positions), self.num_heads),
                value=split_heads(_take_rows(value, positions), self.num_heads),
                mask=taken,
            )
        output = block_attention(
            split_heads(query, self.num_heads),
            split_heads(key, self.num_heads),
            split_heads(value, self.num_heads),
            window_mask,
            self.geometry,
            extra=extra,
            dropout=partial(self.attention_dropout, training=training) if self.dropout else None,
        )
        return merge_heads(output)

    def _attend_globally(self, hidden_states: Tensor, valid: Tensor, positions: Tensor, training: Any) -> Tensor:
        """The global tokens against the whole document: (B, G, E)."""
        query = self.query_global(_take_rows(hidden_states, positions)) * self.head_size**-0.5
        query = split_heads(query, self.num_heads)  # (B, H, G, D)
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


def _take_rows(x: Tensor, positions: Tensor) -> Tensor:
    """(B, L, E) at int32 (B, G) -> (B, G, E)."""
    return ops.take_along_axis(x, positions[..., None], axis=1)


def _overwrite_rows(x: Tensor, rows: Tensor, positions: Tensor, taken: Tensor) -> Tensor:
    """`x` (B, L, E) with `rows` (B, G, E) written at `positions` where `taken`."""
    batch, length, _ = ops.shape(x)
    slots = positions.shape[1]
    # Empty slots write to one extra row at the end, which is cut off: no shape depends on how many are taken.
    target = ops.where(taken, positions, length)
    batch_index = ops.broadcast_to(ops.arange(batch, dtype="int32")[:, None], (batch, slots))
    indices = ops.reshape(ops.stack([batch_index, target], axis=-1), (batch * slots, 2))
    rows = ops.reshape(rows, (batch * slots, ops.shape(rows)[-1]))
    return ops.scatter_update(pad_axis(x, 1, after=1), indices, rows)[:, :length]
