"""Longformer self-attention: a sliding window, and a fixed number of slots (G) for global tokens."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.document import WHOLE, Document, current_document
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_global_capacity
from tfmodels.layers.attention.block_attention import (
    SideKeys,
    attention_probabilities,
    window_columns,
)
from tfmodels.layers.attention.dense_attention import dense_probabilities
from tfmodels.layers.attention.global_attention import global_attention
from tfmodels.layers.attention.heads import check_heads, kept_heads, scale_heads, take_heads, units_of_heads
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.attention.window_attention import window_attention
from tfmodels.layers.blocks import merge_blocks, merge_heads, split_heads
from tfmodels.layers.composite import CompositeLayer
from tfmodels.layers.dropout import hash_dropout
from tfmodels.layers.projection import projection, zero_of
from tfmodels.layers.resizing import keep_units
from tfmodels.utils.checks import check_divides, check_even_positive, check_positive

PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


def global_slots(is_global: Tensor, max_global_tokens: int, document: Document = WHOLE) -> Tensor:
    """The position in each slot for global tokens: the first global tokens of each row, in order.

    Args:
        is_global: bool (B, L).
        max_global_tokens: G.
        document: the document of which a device holds L tokens.

    Returns:
        bool (B, G, L): one True per taken slot, none in an empty slot.

    >>> slots = global_slots(ops.array([[False, True, False, True]]), 3)
    >>> ops.convert_to_numpy(slots).astype(int).tolist()
    [[[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]]
    """
    # Counted, not sorted: a top-k in the graph made XLA's dropout ten times slower on the CPU (measured, TF 2.21).
    rank = document.running_sum(ops.cast(is_global, "int32"))  # (B, L)
    slot = ops.arange(1, max_global_tokens + 1, dtype="int32")  # (G,)
    return ops.logical_and(is_global[:, None, :], ops.equal(rank[:, None, :], slot[None, :, None]))


@keras.saving.register_keras_serializable("tfmodels")
class LongformerSelfAttention(CompositeLayer):
    """Self-attention of Longformer and LED (Beltagy et al. 2020, section 3.1), linear in the length.

    Every token sees the `attention_window / 2` tokens on either side of it and all global tokens; a global token sees
    the whole document, through separate projections. Any length is valid; multiples of `attention_window / 4` are
    fastest. The layer has no output projection.

    Args:
        num_heads: H; must divide the model size E.
        attention_window: width of the window (both sides together), even.
        max_global_tokens: G, slots for global tokens. Marks beyond it are ignored in graphs and an error in eager
            calls; 0 omits the global branch.
        dropout: rate on the attention probabilities, during training.
        initializer_range: standard deviation of the initial kernels.
        pruned_heads: heads to omit; the output then has the units of the kept heads alone.

    Call arguments:
        hidden_states: (B, L, E).
        attention_mask: (B, L), 0 on padding; None: no padding. Padding yields zeros.
        global_attention_mask: (B, L), non-zero on global tokens; None: no global tokens. A mark on padding is ignored.
        head_mask: (H,), 0 for masked heads; None: all heads count.

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
        super().__init__(**kwargs)
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
        """Remove heads for good.

        Args:
            heads: indices among the original `num_heads`.

        Returns:
            The indices of the output units that remain, for the projection of the output.
        """
        pruned = check_heads("heads", [*self.pruned_heads, *heads], self.num_heads)
        kept = kept_heads(self.num_heads, pruned)
        units = units_of_heads(np.flatnonzero(np.isin(self.heads, kept)), self.head_size)
        for name in PROJECTIONS:
            keep_units(getattr(self, name), units)
        self.pruned_heads, self.heads = pruned, kept
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
            is_taken = current_document().any(ops.any(slots, axis=2))  # (B, G)
            # Slots are read and written by products with their one-hot rows, whose gradients are products too: cheaper
            # under XLA than gathers and scatters, and no shape depends on the number of taken slots.
            one_hot = ops.cast(slots, hidden_states.dtype)  # (B, G, L)
            global_states = current_document().total(ops.matmul(one_hot, hidden_states))  # (B, G, E)
            side = self._global_keys(global_states, is_taken, with_values=True)
            window_mask = ops.logical_and(valid, ops.logical_not(in_slot))
            output = self._attend_locally(hidden_states, window_mask, side, head_mask, training)  # (B, L, E)
            global_output = self._attend_globally(global_states, is_taken, hidden_states, valid, head_mask, training)
            one_hot = ops.cast(ops.swapaxes(one_hot, 1, 2), global_output.dtype)  # (B, L, G)
            output = ops.where(in_slot[..., None], ops.matmul(one_hot, global_output), output)
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
            "attentions" (B, H, L, G + 2 * W + 1): each token's, to the global tokens in order, then to its window from
            left to right; zeros for padding and for global tokens. "global_attentions" (B, H, L, G): each slot's, to
            every token. Without a `global_attention_mask` "attentions" (B, H, L, 2 * W + 1) alone.
        """
        head_mask = take_heads(head_mask, self.heads, self.num_heads, axis=0)
        valid = _valid(hidden_states, attention_mask)
        slots = self._slots(valid, attention_mask, global_attention_mask)
        side, is_local = None, valid
        if slots is not None:
            global_states = ops.matmul(ops.cast(slots, hidden_states.dtype), hidden_states)  # (B, G, E)
            side = self._global_keys(global_states, ops.any(slots, axis=2), with_values=False)
            is_local = ops.logical_and(valid, ops.logical_not(ops.any(slots, axis=1)))  # (B, L)
        query, key = self._local_query(hidden_states), split_heads(self.key(hidden_states), len(self.heads))
        parts = attention_probabilities(query, key, is_local, self.geometry, side=side)
        parts[0] = window_columns(parts[0], self.geometry)  # (B, H, N, C, 2 * W + 1)
        local = merge_blocks(ops.concatenate(parts[::-1], axis=-1), ops.shape(query)[2], axis=2)
        probabilities = {"attentions": local * ops.cast(is_local[:, None, :, None], local.dtype)}
        if slots is not None:
            keys = ops.swapaxes(split_heads(self.key_global(hidden_states), len(self.heads)), 2, 3)  # (B, H, D, L)
            of_slots = dense_probabilities(self._global_query(global_states), keys, valid[:, None, None, :])
            of_slots = of_slots * ops.cast(ops.any(slots, axis=2)[:, None, :, None], of_slots.dtype)  # (B, H, G, L)
            probabilities["global_attentions"] = ops.swapaxes(of_slots, 2, 3)
        if head_mask is None:
            return probabilities
        return {name: scale_heads(x, head_mask) for name, x in probabilities.items()}

    def _slots(
        self, valid: Tensor, attention_mask: Tensor | None, global_attention_mask: Tensor | None
    ) -> Tensor | None:
        """The positions of the global tokens, bool (B, G, L), or None without a mask or slots."""
        if global_attention_mask is None or self.max_global_tokens == 0:
            return None
        check_global_capacity(global_attention_mask, attention_mask, self.max_global_tokens)
        is_global = ops.logical_and(valid, ops.not_equal(global_attention_mask, 0))
        return global_slots(is_global, self.max_global_tokens, current_document())

    def _global_keys(self, global_states: Tensor, is_taken: Tensor, with_values: bool) -> SideKeys:
        """The side keys of the global tokens' states (B, G, E), by the local projections; `is_taken`: bool (B, G)."""
        key = split_heads(self.key(global_states), len(self.heads))  # (B, H, G, D)
        value = split_heads(self.value(global_states), len(self.heads)) if with_values else key
        return SideKeys(key=key, value=value, mask=is_taken)

    def _local_query(self, hidden_states: Tensor) -> Tensor:
        return split_heads(self.query(hidden_states) * self.head_size**-0.5, len(self.heads))

    def _attend_locally(
        self,
        hidden_states: Tensor,
        window_mask: Tensor,
        side: SideKeys | None,
        head_mask: Tensor | None,
        training: bool | None,
    ) -> Tensor:
        """Attend every token to its window and the global tokens: (B, L, H * D)."""
        output = window_attention(
            current_document(),
            self._local_query(hidden_states),
            split_heads(self.key(hidden_states), len(self.heads)),
            split_heads(self.value(hidden_states), len(self.heads)),
            window_mask,
            self.geometry,
            side=side,
            dropout=hash_dropout(self.attention_dropout, training),
        )
        return merge_heads(output if head_mask is None else scale_heads(output, head_mask))

    def _global_query(self, global_states: Tensor) -> Tensor:
        return split_heads(self.query_global(global_states) * self.head_size**-0.5, len(self.heads))

    def _attend_globally(
        self,
        global_states: Tensor,
        is_taken: Tensor,
        hidden_states: Tensor,
        valid: Tensor,
        head_mask: Tensor | None,
        training: bool | None,
    ) -> Tensor:
        """Attend the global tokens' states (B, G, E) to the whole document: (B, G, H * D)."""
        output = global_attention(
            self._global_query(global_states),
            ops.max(ops.sum(ops.cast(is_taken, "int32"), axis=1)),
            hidden_states,
            valid,
            self.key_global,
            self.value_global,
            hash_dropout(self.attention_dropout, training),
            bool(training),
            current_document(),
        )
        return merge_heads(output if head_mask is None else scale_heads(output, head_mask))

    # Trace the call, as Keras does without `compute_output_shape`: the call checks its inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(B, L, H * D), of the kept heads."""
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
    """True for tokens, False for padding: bool (B, L)."""
    if attention_mask is None:
        return ops.ones(ops.shape(hidden_states)[:2], "bool")
    return ops.not_equal(attention_mask, 0)
