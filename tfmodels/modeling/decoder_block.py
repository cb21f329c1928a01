"""Base class of a decoder's blocks, and the data that passes between a decoder and its blocks."""

from typing import Any, NamedTuple

import keras

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.cached_attention import CachedAttention, KeysValues, write_beams, write_step
from tfmodels.layers.composite import CompositeLayer


class DecoderContext(NamedTuple):
    """Inputs that every block of a decoder shares.

    self_mask: bool, broadcastable to (R, H, T, M). cross_mask: bool (B, 1, 1, S) or None. position_bias: float32,
    broadcastable as self_mask, or None. position: int32 scalar, the place of the first token in the cache, or None.
    encoder_hidden_states: (B, S, E), from which a block projects cross keys and values if it has none; or None.
    """

    self_mask: Tensor
    cross_mask: Tensor | None
    position_bias: Tensor | None
    position: Tensor | None
    encoder_hidden_states: Tensor | None = None


class LayerInputs(NamedTuple):
    """Inputs of one block alone.

    cache: keys and values of the earlier tokens, or None. cross: keys and values of the documents, or None.
    head_mask, cross_head_mask: (H,) or None.
    """

    cache: KeysValues | None
    cross: KeysValues | None
    head_mask: Tensor | None
    cross_head_mask: Tensor | None


class SelfAttended(NamedTuple):
    """The result of a block's self-attention.

    attended: (R, T, E). keys_values: the keys and values of the tokens, or the cache that holds them too.
    probabilities: float32 (R, H, T, M), or None.
    """

    attended: Tensor
    keys_values: KeysValues
    probabilities: Tensor | None


class CrossAttended(NamedTuple):
    """The result of a block's cross-attention. attended: (R, T, E). probabilities: float32 (R, H, T, S), or None."""

    attended: Tensor
    probabilities: Tensor | None


class BlockOutputs(NamedTuple):
    """The result of a block. hidden_states: (R, T, E). Further fields: see `SelfAttended` and `CrossAttended`."""

    hidden_states: Tensor
    keys_values: KeysValues
    attentions: Tensor | None
    cross_attentions: Tensor | None


class DecoderBlock(CompositeLayer):
    """One block of a decoder: self-attention, cross-attention and feed-forward.

    Subclasses set both attentions and write out `call` with `self_attend` and `cross_attend`, so that its lines show
    the places of the norms. (Autocasting, off in `CompositeLayer`, would also copy the caches.)

    Call arguments:
        hidden_states: (R, T, E).
        context: a `DecoderContext`.
        layer: the block's `LayerInputs`.
        one_per_beam: the tokens are one of each beam of a document, and the beams of a document share a cache.
        output_attentions: return the attention probabilities.

    Returns:
        `BlockOutputs`.
    """

    self_attention: CachedAttention
    cross_attention: CachedAttention
    # Trace the call, which returns more than hidden states.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(R, T, E) of the hidden states, for `summary`."""
        return tuple(hidden_states_shape)

    def self_attend(
        self,
        queries: Tensor,
        context: DecoderContext,
        layer: LayerInputs,
        one_per_beam: bool,
        output_attentions: bool,
        training: bool | None,
    ) -> SelfAttended:
        """Attend tokens (R, T, E) to the earlier tokens, in the cache or beside them, and to themselves."""
        keys_values = self.self_attention.project_keys_values(queries)
        if layer.cache is not None:
            write = write_beams if one_per_beam else write_step
            keys_values = write(layer.cache, keys_values, context.position)
        arguments = (queries, keys_values, context.self_mask, context.position_bias, layer.head_mask)
        probabilities = self.self_attention.probabilities(*arguments) if output_attentions else None
        return SelfAttended(self.self_attention(*arguments, training=training), keys_values, probabilities)

    def cross_attend(
        self,
        queries: Tensor,
        context: DecoderContext,
        layer: LayerInputs,
        output_attentions: bool,
        training: bool | None,
    ) -> CrossAttended:
        """Attend tokens (R, T, E) to their documents."""
        attention = self.cross_attention
        arguments = (
            queries,
            layer.cross,
            context.cross_mask,
            layer.cross_head_mask,
            context.encoder_hidden_states,
        )
        probabilities = attention.probabilities_per_document(*arguments) if output_attentions else None
        return CrossAttended(attention.attend_per_document(*arguments, training=training), probabilities)
