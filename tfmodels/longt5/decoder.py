"""LongT5's decoder: T5's, with dense attention over the target and over the document."""

from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.cached_attention import CachedAttention
from tfmodels.layers.attention.relative_position import RelativePositionBias
from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.modules import feed_forward, residual_dropout, rms_norm, token_embedding
from tfmodels.modeling.decoder import Decoder
from tfmodels.modeling.decoder_block import BlockOutputs, DecoderBlock, DecoderContext, LayerInputs


def _attention(config: LongT5Config, policy: keras.DTypePolicy, name: str) -> CachedAttention:
    factor = config.initializer_factor
    return CachedAttention(
        config.num_heads,
        config.d_kv,
        use_bias=False,
        scale_query=False,
        dropout=config.dropout_rate,
        query_stddev=factor * (config.d_model * config.d_kv) ** -0.5,
        key_value_stddev=factor * config.d_model**-0.5,
        output_stddev=factor * (config.num_heads * config.d_kv) ** -0.5,
        dtype=policy,
        name=name,
    )


class LongT5DecoderBlock(DecoderBlock):
    """Self-attention, cross-attention and feed-forward, each behind a norm and beside a residual connection."""

    def __init__(self, config: LongT5Config, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.self_attention_norm = rms_norm(config, policy, "self_attention_norm")
        self.self_attention = _attention(config, policy, "self_attention")
        self.cross_attention_norm = rms_norm(config, policy, "cross_attention_norm")
        self.cross_attention = _attention(config, policy, "cross_attention")
        self.feed_forward_norm = rms_norm(config, policy, "feed_forward_norm")
        self.feed_forward = feed_forward(config, policy)
        self.residual_dropout = residual_dropout(config, policy)

    def build(self, hidden_states_shape: Any) -> None:
        """Build every sublayer."""
        for part in (self.self_attention_norm, self.self_attention, self.cross_attention_norm, self.cross_attention):
            part.build(hidden_states_shape)
        self.feed_forward_norm.build(hidden_states_shape)
        self.feed_forward.build(hidden_states_shape)

    def call(
        self,
        hidden_states: Tensor,
        context: DecoderContext,
        layer: LayerInputs,
        one_per_beam: bool = False,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> BlockOutputs:
        """(R, T, E) -> (R, T, E); see `DecoderBlock`."""
        normed = self.self_attention_norm(hidden_states)
        attention = self.self_attend(normed, context, layer, one_per_beam, output_attentions, training)
        hidden_states = ops.add(hidden_states, self.residual_dropout(attention.attended, training=training))

        normed = self.cross_attention_norm(hidden_states)
        cross = self.cross_attend(normed, context, layer, output_attentions, training)
        hidden_states = ops.add(hidden_states, self.residual_dropout(cross.attended, training=training))

        forwarded = self.feed_forward(self.feed_forward_norm(hidden_states), training=training)
        hidden_states = ops.add(hidden_states, self.residual_dropout(forwarded, training=training))
        return BlockOutputs(hidden_states, attention.keys_values, attention.probabilities, cross.probabilities)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5Decoder(Decoder):
    """LongT5's decoder (Raffel et al. 2020, section 2.1): one causal relative bias shared by all blocks."""

    config_class: ClassVar[type] = LongT5Config

    def create_layers(self, embed_tokens: keras.layers.Layer | None, policy: keras.DTypePolicy) -> None:
        """Create the sublayers."""
        config = self.config
        self.num_heads = config.num_heads
        self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
        self.relative_attention_bias = RelativePositionBias(
            config.num_heads,
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
            bidirectional=False,
            initializer_stddev=config.initializer_factor * config.d_model**-0.5,
            name="relative_attention_bias",
        )
        self.blocks = [
            LongT5DecoderBlock(config, dtype=policy, name=f"block_{index}") for index in range(config.decoder_layers)
        ]
        self.final_norm = rms_norm(config, policy, "final_norm")
        self.dropout = residual_dropout(config, policy)

    def layers_to_build(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        return [*self.blocks, self.final_norm]

    def build(self, input_shape: Any = None) -> None:
        """Create every weight; the config determines all shapes."""
        super().build(input_shape)
        self.relative_attention_bias.build()

    def embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, positions: Tensor, training: bool | None
    ) -> Tensor:
        """Look up the token embeddings; T5 has no absolute positions."""
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        return self.dropout(embedded, training=training)

    def position_bias(self, query_positions: Tensor, key_positions: Tensor) -> Tensor:
        """The causal relative bias: float32 (H, T, M), or (H, T, T) without a cache."""
        return self.relative_attention_bias(key_positions[None, :] - query_positions[:, None])

    def finalize(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """Apply the final norm."""
        hidden_states = self.dropout(self.final_norm(hidden_states), training=training)
        return ops.cast(hidden_states, self.compute_dtype)
