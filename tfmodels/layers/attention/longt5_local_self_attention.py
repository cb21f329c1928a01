"""LongT5's local self-attention.

Further shape letters: Y keys of one block's slice.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfmodels.backend.document import current_document
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention import SideKeys, attention_probabilities
from tfmodels.layers.attention.heads import check_heads, kept_heads, scale_heads, take_heads, units_of_heads
from tfmodels.layers.attention.relative_position import RelativePositionBias
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.attention.window_attention import window_attention
from tfmodels.layers.blocks import merge_heads, split_heads
from tfmodels.layers.composite import CompositeLayer
from tfmodels.layers.dropout import hash_dropout
from tfmodels.layers.projection import projection
from tfmodels.layers.resizing import keep_inputs, keep_units
from tfmodels.utils.checks import check_positive


@keras.saving.register_keras_serializable("tfmodels")
class LongT5LocalSelfAttention(CompositeLayer):
    """LongT5's local self-attention (Guo et al. 2022, section 3.1.1): a token sees `local_radius` tokens either side.

    Scores are not scaled; a learned bias of the relative position is added to them. In a stack only the first layer
    owns the bias and all share its table: pass `window_bias=first.compute_window_bias()`.

    Args:
        num_heads, head_size: H and D.
        local_radius: W, the tokens that a token sees to either side.
        has_relative_attention_bias: create a bias.
        num_buckets, max_distance: see `relative_position_bucket`.
        dropout: rate on the attention probabilities, during training.
        initializer_factor: scale of the initial weights.
        pruned_heads: heads to omit.

    Call arguments:
        hidden_states: (B, L, E).
        attention_mask: (B, L), 0 on padding; None: no padding. The output of padding is undefined, never NaN.
        window_bias: float32 (H, C, Y); None: the bias of this layer, if it has one.
        head_mask: (H,), 0 for masked heads; None: all heads count.

    Returns:
        (B, L, E) in the compute dtype.

    >>> layer = LongT5LocalSelfAttention(num_heads=2, head_size=4, local_radius=3, has_relative_attention_bias=True)
    >>> layer(ops.ones((1, 9, 8))).shape[2]
    8
    """

    summing_projections: ClassVar[tuple[str, ...]] = ("o",)

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        local_radius: int = 127,
        has_relative_attention_bias: bool = False,
        num_buckets: int = 32,
        max_distance: int = 128,
        dropout: float = 0.0,
        initializer_factor: float = 1.0,
        pruned_heads: Sequence[int] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive("num_heads", num_heads)
        check_positive("head_size", head_size)
        check_positive("local_radius", local_radius)
        self.num_heads = num_heads
        self.head_size = head_size
        self.local_radius = local_radius
        self.has_relative_attention_bias = has_relative_attention_bias
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.dropout = dropout
        self.initializer_factor = initializer_factor
        self.pruned_heads = check_heads("pruned_heads", pruned_heads, num_heads)
        self.heads = kept_heads(num_heads, self.pruned_heads)
        self.geometry = self._geometry()
        self.attention_dropout = keras.layers.Dropout(dropout, dtype="float32", name="attention_dropout")

    def _geometry(self) -> WindowGeometry:
        return WindowGeometry.covering(self.local_radius)

    def build(self, hidden_states_shape: Any) -> None:
        """Create the projections and, with `has_relative_attention_bias`, the bias."""
        width, inner = hidden_states_shape[-1], len(self.heads) * self.head_size
        self.q = self._projection("q", inner, (width * self.head_size) ** -0.5)
        self.k = self._projection("k", inner, width**-0.5)
        self.v = self._projection("v", inner, width**-0.5)
        self.o = self._projection("o", width, (self.num_heads * self.head_size) ** -0.5)
        for part in (self.q, self.k, self.v):
            part.build(hidden_states_shape)
        self.o.build((*hidden_states_shape[:-1], inner))
        self.relative_attention_bias: Any = self._bias("relative_attention_bias", width)

    def _projection(self, name: str, units: int, stddev: float) -> keras.layers.Dense:
        return projection(name, units, self.initializer_factor * stddev, False, self.dtype_policy)

    def _bias(self, name: str, width: int) -> RelativePositionBias | None:
        if not self.has_relative_attention_bias:
            return None
        bias = RelativePositionBias(
            self.num_heads,
            self.num_buckets,
            self.max_distance,
            initializer_stddev=self.initializer_factor * width**-0.5,
            name=name,
        )
        bias.build()
        return bias

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads for good. The biases keep all heads, as other layers share them.

        Args:
            heads: indices among the original `num_heads`.
        """
        pruned = check_heads("heads", [*self.pruned_heads, *heads], self.num_heads)
        kept = kept_heads(self.num_heads, pruned)
        units = units_of_heads(np.flatnonzero(np.isin(self.heads, kept)), self.head_size)
        for part in (self.q, self.k, self.v):
            keep_units(part, units)
        keep_inputs(self.o, units)
        self.pruned_heads, self.heads = pruned, kept

    def compute_window_bias(self, geometry: WindowGeometry | None = None) -> Tensor:
        """The bias of every offset inside a block's slice of keys: float32 (H, C, Y), the same for all blocks."""
        return self.relative_attention_bias(ops.convert_to_tensor((geometry or self.geometry).relative_positions()))

    def call(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        window_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Attend; see the class docstring."""
        attention_mask = or_ones(attention_mask, hidden_states)
        return self._attend(hidden_states, attention_mask, window_bias, None, head_mask, training)

    def _attend(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        window_bias: Tensor | None,
        side: SideKeys | None,
        head_mask: Tensor | None,
        training: bool | None,
    ) -> Tensor:
        if window_bias is None and self.has_relative_attention_bias:
            window_bias = self.compute_window_bias()
        output = window_attention(
            current_document(),
            self._split(self.q(hidden_states)),
            self._split(self.k(hidden_states)),
            self._split(self.v(hidden_states)),
            ops.not_equal(attention_mask, 0),
            self.geometry,
            window_bias=self._of_kept_heads(window_bias, axis=0),
            side=side,
            dropout=hash_dropout(self.attention_dropout, training),
        )
        if head_mask is not None:
            output = scale_heads(output, self._of_kept_heads(head_mask, axis=0))
        return self.o(merge_heads(output))

    def _split(self, x: Tensor) -> Tensor:
        return split_heads(x, len(self.heads))

    def _of_kept_heads(self, x: Tensor | None, axis: int) -> Tensor | None:
        return take_heads(x, self.heads, self.num_heads, axis)

    def reference_geometry(self) -> WindowGeometry:
        """The blocks of reported attentions: transformers' blocks of `local_radius + 1` tokens."""
        return WindowGeometry(self.local_radius, self.local_radius + 1, margin=self.local_radius + 1)

    def attention_probabilities(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        window_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The attention probabilities of the call without dropout, scaled by the head mask, in float32.

        Args: as in the call, with the `window_bias` of `reference_geometry`.

        Returns:
            "attentions" (B, N, H, C, 3 * C) with blocks of C = local_radius + 1 tokens: from each block to itself and
            to its two neighbours.
        """
        attention_mask = or_ones(attention_mask, hidden_states)
        return self._attentions(hidden_states, attention_mask, window_bias, None, head_mask)

    def _attentions(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        window_bias: Tensor | None,
        side: SideKeys | None,
        head_mask: Tensor | None,
    ) -> dict[str, Tensor]:
        if window_bias is None and self.has_relative_attention_bias:
            window_bias = self.compute_window_bias(self.reference_geometry())
        parts = attention_probabilities(
            self._split(self.q(hidden_states)),
            self._split(self.k(hidden_states)),
            ops.not_equal(attention_mask, 0),
            self.reference_geometry(),
            window_bias=self._of_kept_heads(window_bias, axis=0),
            side=side,
        )
        probabilities = ops.concatenate(parts, axis=-1)  # (B, H, N, C, 3 * C + G)
        if head_mask is not None:
            mask = take_heads(head_mask, self.heads, self.num_heads, axis=0)
            probabilities = scale_heads(probabilities, mask[:, None])
        return {"attentions": ops.swapaxes(probabilities, 1, 2)}  # (B, N, H, C, 3 * C + G)

    # Trace the call, as Keras does without `compute_output_shape`: the call checks its inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(B, L, E), as the input."""
        return tuple(hidden_states_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "head_size": self.head_size,
            "local_radius": self.local_radius,
            "has_relative_attention_bias": self.has_relative_attention_bias,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "dropout": self.dropout,
            "initializer_factor": self.initializer_factor,
            "pruned_heads": self.pruned_heads,
        }


def or_ones(attention_mask: Tensor | None, hidden_states: Tensor) -> Tensor:
    """The mask (B, L), or ones for None."""
    return ops.ones(ops.shape(hidden_states)[:2], "int32") if attention_mask is None else attention_mask
