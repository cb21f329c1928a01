"""Longformer self-attention: a sliding window, and a fixed number of slots for global tokens.

Shape letters: B batch, L length, E model size, H heads, D head size, G slots for global tokens.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_global_capacity
from tfmodels.layers.attention.block_attention import (
    SideKeys,
    attention_probabilities,
    block_attention,
    window_columns,
)
from tfmodels.layers.attention.dense_attention import dense_probabilities
from tfmodels.layers.attention.global_attention import global_attention
from tfmodels.layers.attention.heads import check_heads, kept_heads, scale_heads, take_heads, units_of_heads
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import merge_blocks, merge_heads, split_heads
from tfmodels.layers.dropout import hash_dropout
from tfmodels.layers.projection import projection, zero_of
from tfmodels.layers.resizing import keep_units
from tfmodels.utils.checks import check_divides, check_even_positive, check_positive

PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


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
        pruned_heads: heads that are left out; the output then has the units of the others alone.

    Call arguments:
        hidden_states: (B, L, E).
        attention_mask: (B, L), 0 on padding; None: no padding. Padding yields zeros.
        global_attention_mask: (B, L), non-zero on global tokens; None: no global tokens. A mark on padding is ignored.
        head_mask: (H,), 0 where a head is left out; None: all heads count.

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
        pruned_heads: Sequence[int] = (),
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
        self.pruned_heads = check_heads("pruned_heads", pruned_heads, num_heads)
        self.heads = kept_heads(num_heads, self.pruned_heads)
        self.geometry = WindowGeometry.covering(attention_window // 2)
        self.attention_dropout = keras.layers.Dropout(dropout, dtype="float32", name="attention_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Create the six projections."""
        width = hidden_states_shape[-1]
        check_divides("num_heads", self.num_heads, "the model size", width)
        self.head_size = width // self.num_heads
        for name in PROJECTIONS:
            units = len(self.heads) * self.head_size
            part = projection(name, units, self.initializer_range, True, self.dtype_policy)
            part.build(hidden_states_shape)
            setattr(self, name, part)

    def prune_heads(self, heads: Iterable[int]) -> np.ndarray:
        """Remove heads for good; they are counted as the layer was made.

        Returns:
            Which units of the output are left, for whoever projects it.
        """
        pruned = check_heads("heads", [*self.pruned_heads, *heads], self.num_heads)
        left = kept_heads(self.num_heads, pruned)
        units = units_of_heads(np.flatnonzero(np.isin(self.heads, left)), self.head_size)
        for name in PROJECTIONS:
            keep_units(getattr(self, name), units)
        self.pruned_heads, self.heads = pruned, left
        return units

    def call(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Attend; see the class docstring."""
        head_mask = take_heads(head_mask, self.heads, self.num_heads, axis=0)
        valid = _valid(hidden_states, attention_mask)
        slots = self._slots(valid, attention_mask, global_attention_mask)
        if slots is None:
            output = self._attend_locally(hidden_states, valid, None, head_mask, training)
            if training:
                output = output + ops.cast(zero_of(self.query_global, self.key_global, self.value_global), output.dtype)
        else:
            in_slot = ops.any(slots, axis=1)  # (B, L)
            # Slots are read and written by products with their one-hot rows, whose gradients are products too: cheaper
            # under XLA than gathers and scatters, and no shape depends on how many slots are taken.
            one_hot = ops.cast(slots, hidden_states.dtype)
            rows = ops.matmul(one_hot, hidden_states)  # (B, G, E)
            side = self._global_keys(rows, slots, with_values=True)
            window_mask = ops.logical_and(valid, ops.logical_not(in_slot))
            output = self._attend_locally(hidden_states, window_mask, side, head_mask, training)
            whole = self._attend_globally(rows, slots, hidden_states, valid, head_mask, training)
            one_hot = ops.cast(ops.swapaxes(one_hot, 1, 2), whole.dtype)
            output = ops.where(in_slot[..., None], ops.matmul(one_hot, whole), output)
        return output * ops.cast(valid[..., None], output.dtype)

    def attention_probabilities(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The attention probabilities of the call without dropout, scaled by the head mask, in float32.

        Args: as in the call.

        Returns:
            "attentions" (B, H, L, G + window + 1): to the global tokens in order, then to the window from left to
            right; zeros for padding and for global tokens, whose own are "global_attentions" (B, H, L, G): of each slot
            to every token. Without global tokens there are no slots: (B, H, L, window + 1) alone.
        """
        head_mask = take_heads(head_mask, self.heads, self.num_heads, axis=0)
        valid = _valid(hidden_states, attention_mask)
        slots = self._slots(valid, attention_mask, global_attention_mask)
        side, window_mask, answers = None, valid, valid
        if slots is not None:
            rows = ops.matmul(ops.cast(slots, hidden_states.dtype), hidden_states)
            side = self._global_keys(rows, slots, with_values=False)
            window_mask = answers = ops.logical_and(valid, ops.logical_not(ops.any(slots, axis=1)))
        query, key = self._local_query(hidden_states), split_heads(self.key(hidden_states), len(self.heads))
        parts = attention_probabilities(query, key, window_mask, self.geometry, side=side)
        parts[0] = window_columns(parts[0], self.geometry)
        local = merge_blocks(ops.concatenate(parts[::-1], axis=-1), ops.shape(query)[2], axis=2)
        found = {"attentions": local * ops.cast(answers[:, None, :, None], local.dtype)}
        if slots is not None:
            keys = ops.swapaxes(split_heads(self.key_global(hidden_states), len(self.heads)), 2, 3)
            whole = dense_probabilities(self._global_query(rows), keys, valid[:, None, None, :])  # (B, H, G, L)
            whole = whole * ops.cast(ops.any(slots, axis=2)[:, None, :, None], whole.dtype)
            found["global_attentions"] = ops.swapaxes(whole, 2, 3)
        return found if head_mask is None else {name: scale_heads(x, head_mask) for name, x in found.items()}

    def _slots(self, valid: Tensor, attention_mask: Any, global_attention_mask: Any) -> Tensor | None:
        """Positions of the global tokens, bool (B, G, L), or None where there can be none."""
        if global_attention_mask is None or self.max_global_tokens == 0:
            return None
        check_global_capacity(global_attention_mask, attention_mask, self.max_global_tokens)
        is_global = ops.logical_and(valid, ops.not_equal(global_attention_mask, 0))
        return global_slots(is_global, self.max_global_tokens)

    def _global_keys(self, rows: Tensor, slots: Tensor, with_values: bool) -> SideKeys:
        """The global tokens `rows` (B, G, E) as keys that every token sees, by the local projections."""
        key = split_heads(self.key(rows), len(self.heads))
        value = split_heads(self.value(rows), len(self.heads)) if with_values else key
        return SideKeys(key=key, value=value, mask=ops.any(slots, axis=2))

    def _local_query(self, hidden_states: Tensor) -> Tensor:
        return split_heads(self.query(hidden_states) * self.head_size**-0.5, len(self.heads))

    def _attend_locally(
        self, hidden_states: Tensor, window_mask: Tensor, side: SideKeys | None, head_mask: Any, training: Any
    ) -> Tensor:
        """Every token against its window and the global tokens: (B, L, H * D)."""
        output = block_attention(
            self._local_query(hidden_states),
            split_heads(self.key(hidden_states), len(self.heads)),
            split_heads(self.value(hidden_states), len(self.heads)),
            window_mask,
            self.geometry,
            side=side,
            dropout=hash_dropout(self.attention_dropout, training),
        )
        return merge_heads(output if head_mask is None else scale_heads(output, head_mask))

    def _global_query(self, rows: Tensor) -> Tensor:
        return split_heads(self.query_global(rows) * self.head_size**-0.5, len(self.heads))

    def _attend_globally(
        self, rows: Tensor, slots: Tensor, hidden_states: Tensor, valid: Tensor, head_mask: Any, training: Any
    ) -> Tensor:
        """The global tokens `rows` (B, G, E) against the whole document: (B, G, H * D)."""
        output = global_attention(
            self._global_query(rows),
            ops.max(ops.sum(ops.cast(ops.any(slots, axis=2), "int32"), axis=1)),
            hidden_states,
            valid,
            self.key_global,
            self.value_global,
            hash_dropout(self.attention_dropout, training),
            bool(training),
        )
        return merge_heads(output if head_mask is None else scale_heads(output, head_mask))

    # By tracing the call, as where there is no `compute_output_shape`: it checks the inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(B, L, H * D), of the heads that are left."""
        return (*hidden_states_shape[:-1], len(self.heads) * (hidden_states_shape[-1] // self.num_heads))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "attention_window": self.attention_window,
            "max_global_tokens": self.max_global_tokens,
            "dropout": self.dropout,
            "initializer_range": self.initializer_range,
            "pruned_heads": self.pruned_heads,
        }


def _valid(hidden_states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which tokens are no padding: bool (B, L)."""
    if attention_mask is None:
        return ops.ones(ops.shape(hidden_states)[:2], "bool")
    return ops.not_equal(attention_mask, 0)
