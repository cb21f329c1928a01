"""LongT5's transient-global self-attention: local self-attention, and summaries that every token sees.

G are here the summaries, one for each `global_block_size` tokens. Further shape letters: A rows of the summaries' bias.
"""

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from tfmodels.backend.document import WHOLE, Document, current_document
from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.block_attention import SideKeys
from tfmodels.layers.attention.longt5_local_self_attention import LongT5LocalSelfAttention, or_ones
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import split_into_blocks
from tfmodels.layers.normalization import ScaledRMSNormalization
from tfmodels.layers.projection import zero_of
from tfmodels.utils.checks import check_positive


def summary_block_ids(attention_mask: Tensor, global_block_size: int, document: Document = WHOLE) -> Tensor:
    """The index of each token's summary, -1 for a token without one.

    Blocks are counted by position. A block is whole when its last position is not padding; tokens after the last whole
    block join it; padding, and every token of a row without a whole block, belongs to none.

    Args:
        attention_mask: (B, L), 0 on padding.
        global_block_size: tokens per block.
        document: the document of which a device holds L tokens.

    Returns:
        int32 (B, L).

    >>> mask = ops.array([[1, 1, 1, 1, 1, 0]])
    >>> ops.convert_to_numpy(summary_block_ids(mask, 2)).tolist()
    [[0, 0, 1, 1, 1, -1]]
    """
    valid = ops.not_equal(attention_mask, 0)
    position = document.positions(ops.shape(valid)[1])
    is_last_of_block = position % global_block_size == global_block_size - 1
    whole_blocks = ops.sum(ops.cast(ops.logical_and(valid, is_last_of_block), "int32"), axis=1, keepdims=True)
    whole_blocks = document.total(whole_blocks)
    block = ops.minimum(position // global_block_size, whole_blocks - 1)
    return ops.where(valid, block, -1)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5TransientGlobalSelfAttention(LongT5LocalSelfAttention):
    """LongT5's transient-global self-attention (Guo et al. 2022, section 3.1.2).

    As `LongT5LocalSelfAttention`, and each token also sees a summary of every whole block of `global_block_size`
    tokens: the normed sum of the block's hidden states, computed in each layer.

    Args:
        global_block_size: tokens per summary.
        layer_norm_epsilon: epsilon of the summaries' RMS norm.
        Further arguments: as in `LongT5LocalSelfAttention`.

    Call arguments:
        side_bias: float32 (B, H, A, G) with A = ceil(L / global_block_size), see `compute_side_bias`; None: the bias
            of this layer, if it has one.
        Further arguments: as in `LongT5LocalSelfAttention`.

    >>> layer = LongT5TransientGlobalSelfAttention(num_heads=2, head_size=4, local_radius=3, global_block_size=4)
    >>> layer(ops.ones((1, 9, 8)), attention_mask=ops.ones((1, 9))).shape[1]
    9
    """

    def __init__(
        self,
        num_heads: int,
        head_size: int,
        local_radius: int = 127,
        global_block_size: int = 16,
        layer_norm_epsilon: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        check_positive("global_block_size", global_block_size)
        self.global_block_size = global_block_size
        self.layer_norm_epsilon = layer_norm_epsilon
        super().__init__(num_heads, head_size, local_radius, **kwargs)

    def _geometry(self) -> WindowGeometry:
        # A query block holds whole summary blocks, so that the summaries' bias is constant over runs of queries.
        return WindowGeometry.covering(self.local_radius, multiple_of=self.global_block_size)

    def build(self, hidden_states_shape: Any) -> None:
        """Create the projections, the norm of the summaries and, with `has_relative_attention_bias`, the biases."""
        super().build(hidden_states_shape)
        self.global_relative_attention_bias: Any = self._bias("global_relative_attention_bias", hidden_states_shape[-1])
        self.global_input_layer_norm = ScaledRMSNormalization(
            self.initializer_factor, epsilon=self.layer_norm_epsilon, dtype="float32", name="global_input_layer_norm"
        )
        self.global_input_layer_norm.build(hidden_states_shape)

    def compute_side_bias(self, attention_mask: Tensor) -> Tensor:
        """The bias of each run of `global_block_size` queries on each summary: float32 (B, H, A, G).

        It depends on the key's block minus the query's block alone, and all valid queries of a run share a block.
        """
        query_block = self._first_per_block(attention_mask)  # (B, A)
        summaries = self._summary_count(current_document().length(ops.shape(attention_mask)[1]))
        key_block = ops.arange(summaries, dtype="int32")
        return self.global_relative_attention_bias(key_block[None, None, :] - query_block[:, :, None])

    def _first_per_block(self, attention_mask: Tensor) -> Tensor:
        """The block id shared by the valid queries of each run, -1 for a run of padding alone: int32 (B, A)."""
        ids = summary_block_ids(attention_mask, self.global_block_size, current_document())
        # Shifted by one because the padding that completes the last run is 0.
        return ops.max(split_into_blocks(ids + 1, self.global_block_size, axis=1), axis=2) - 1

    def call(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        window_bias: Tensor | None = None,
        side_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """Attend; see the class docstring."""
        attention_mask = or_ones(attention_mask, hidden_states)
        side = self._summaries(hidden_states, attention_mask, side_bias)
        output = self._attend(hidden_states, attention_mask, window_bias, side, head_mask, training)
        if side is None and training:
            unused = [self.global_input_layer_norm]
            unused += [self.global_relative_attention_bias] if self.has_relative_attention_bias else []
            output = output + ops.cast(zero_of(*unused), output.dtype)
        return output

    def attention_probabilities(  # type: ignore[override]
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        window_bias: Tensor | None = None,
        side_bias: Tensor | None = None,
        head_mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """As in `LongT5LocalSelfAttention`, with G further columns for the summaries: (B, N, H, C, 3 * C + G)."""
        attention_mask = or_ones(attention_mask, hidden_states)
        side = self._summaries(hidden_states, attention_mask, side_bias)
        if side is not None and side.bias is not None:
            # A reported block need not hold whole summary blocks, so each query has its own row of the bias.
            rows = ops.repeat(side.bias, self.global_block_size, axis=2)[:, :, : ops.shape(hidden_states)[1]]
            side = replace(side, bias=rows, queries_per_bias=1)
        return self._attentions(hidden_states, attention_mask, window_bias, side, head_mask)

    def _summaries(self, hidden_states: Tensor, attention_mask: Tensor, side_bias: Tensor | None) -> SideKeys | None:
        """The keys and values of the summaries, None for a document shorter than a block."""
        document = current_document()
        length = document.length(hidden_states.shape[1])
        # An unknown length is None, and under JAX a symbol.
        if isinstance(length, int) and length < self.global_block_size:
            return None
        if side_bias is None and self.has_relative_attention_bias:
            side_bias = self.compute_side_bias(attention_mask)
        ids = summary_block_ids(attention_mask, self.global_block_size, document)  # (B, L)
        last = document.highest(ops.max(ids, axis=1, keepdims=True))  # (B, 1)
        count = self._summary_count(document.length(ops.shape(ids)[1]))
        summary = ops.arange(count, dtype="int32")
        # (B, G): a row has summaries up to its last whole block.
        exists = summary[None, :] <= last
        summaries = self.global_input_layer_norm(self._sum_per_block(hidden_states, ids, last))  # of this device
        return SideKeys(
            key=document.gathered(self._split(self.k(summaries)), 2, count),
            value=document.gathered(self._split(self.v(summaries)), 2, count),
            mask=exists,
            bias=self._of_kept_heads(side_bias, axis=1),
            queries_per_bias=self.global_block_size,
        )

    def _sum_per_block(self, hidden_states: Tensor, ids: Tensor, last: Tensor) -> Tensor:
        """The sum of the hidden states of each summary's tokens; `last` (B, 1) is the last block: float32 (B, G, E)."""
        document, last = current_document(), last[..., None]
        valid = ops.cast((ids >= 0)[..., None], hidden_states.dtype)
        blocks = split_into_blocks(hidden_states * valid, self.global_block_size, axis=1)  # (B, A, block, E)
        sums = ops.sum(ops.cast(blocks, "float32"), axis=2)  # (B, A, E), by position
        position = document.positions(ops.shape(sums)[1])[None, :, None]
        # Tokens after the last whole block join it.
        orphans = ops.sum(ops.where(position > last, sums, 0.0), axis=1, keepdims=True)  # (B, 1, E)
        orphans = document.total(orphans)
        sums = ops.where(position > last, 0.0, sums) + ops.where(ops.equal(position, last), orphans, 0.0)
        return sums[:, : self._summary_count(ops.shape(ids)[1])]

    def _summary_count(self, length: int | Tensor) -> int | Tensor:
        """G of a document of `length` tokens, at least one (without tokens) where only the run knows the length: ONNX
        cannot reshape an empty axis."""
        count = length // self.global_block_size
        return ops.maximum(count, 1) if ops.is_tensor(count) else count

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "global_block_size": self.global_block_size,
            "layer_norm_epsilon": self.layer_norm_epsilon,
        }
