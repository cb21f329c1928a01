"""LED's decoder: BART's, with dense attention over the target and over the document."""

from typing import Any, ClassVar

import keras

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import checked_ids
from tfmodels.layers.attention.cached_attention import CachedAttention
from tfmodels.layers.dropout import Dropout
from tfmodels.led.config import LEDConfig
from tfmodels.led.modules import embed_ids, feed_forward, layer_norm, position_embedding, token_embedding
from tfmodels.modeling.decoder import Decoder
from tfmodels.modeling.decoder_block import BlockOutputs, DecoderBlock, DecoderContext, LayerInputs
from tfmodels.modeling.stack import layerdrop_seeds
from tfmodels.utils.checks import check_length


def _attention(config: LEDConfig, policy: keras.DTypePolicy, name: str) -> CachedAttention:
    return CachedAttention(
        config.decoder_attention_heads,
        config.d_model // config.decoder_attention_heads,
        dropout=config.attention_dropout,
        query_stddev=config.init_std,
        key_value_stddev=config.init_std,
        output_stddev=config.init_std,
        dtype=policy,
        name=name,
    )


class LEDDecoderBlock(DecoderBlock):
    """Self-attention, cross-attention and feed-forward, each beside a residual connection and before a norm."""

    def __init__(self, config: LEDConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.self_attention = _attention(config, policy, "self_attention")
        self.self_attention_norm = layer_norm(policy, "self_attention_norm")
        self.cross_attention = _attention(config, policy, "cross_attention")
        self.cross_attention_norm = layer_norm(policy, "cross_attention_norm")
        self.feed_forward = feed_forward(config, config.decoder_ffn_dim, policy)
        self.final_norm = layer_norm(policy, "final_norm")
        self.residual_dropout = Dropout(config.dropout, dtype=policy, name="residual_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Build every sublayer."""
        for part in (self.self_attention, self.self_attention_norm, self.cross_attention, self.cross_attention_norm):
            part.build(hidden_states_shape)
        self.feed_forward.build(hidden_states_shape)
        self.final_norm.build(hidden_states_shape)

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
        attention = self.self_attend(hidden_states, context, layer, one_per_beam, output_attentions, training)
        attended = self.residual_dropout(attention.attended, training=training)
        hidden_states = self.self_attention_norm(hidden_states + attended)

        cross = self.cross_attend(hidden_states, context, layer, output_attentions, training)
        attended = self.residual_dropout(cross.attended, training=training)
        hidden_states = self.cross_attention_norm(hidden_states + attended)

        forwarded = self.feed_forward(hidden_states, training=training)
        forwarded = self.residual_dropout(forwarded, training=training)
        hidden_states = self.final_norm(hidden_states + forwarded)
        return BlockOutputs(hidden_states, attention.keys_values, attention.probabilities, cross.probabilities)


@keras.saving.register_keras_serializable("tfmodels")
class LEDDecoder(Decoder):
    """LED's decoder: BART's (Lewis et al. 2020) with learned positions and no offset. See `Decoder`."""

    config_class: ClassVar[type] = LEDConfig

    def create_layers(self, embed_tokens: keras.layers.Layer | None, policy: keras.DTypePolicy) -> None:
        """Create the sublayers."""
        config = self.config
        self.num_heads = config.decoder_attention_heads
        self.layerdrop, self.layerdrop_seed = config.decoder_layerdrop, layerdrop_seeds(config.decoder_layerdrop)
        self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
        self.embed_positions = position_embedding(config, config.max_decoder_position_embeddings, policy)
        self.embedding_norm = layer_norm(policy, "embedding_norm")
        self.blocks = [
            LEDDecoderBlock(config, dtype=policy, name=f"block_{index}") for index in range(config.decoder_layers)
        ]
        self.dropout = Dropout(config.dropout, dtype=policy, name="dropout")

    def layers_to_build(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        return [self.embedding_norm, *self.blocks]

    def embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, positions: Tensor, training: bool | None
    ) -> Tensor:
        """Token and position embeddings, normed."""
        limit = self.config.max_decoder_position_embeddings
        name = "decoder_input_ids" if inputs_embeds is None else "decoder_inputs_embeds"
        if inputs_embeds is None:
            inputs_embeds = embed_ids(self.embed_tokens, input_ids, self.config.pad_token_id)
        check_length(name, inputs_embeds.shape[1], "max_decoder_position_embeddings", limit)
        if inputs_embeds.shape[1] is None:
            positions = checked_ids(f"{name}'s positions (max_decoder_position_embeddings)", positions, limit)
        hidden_states = inputs_embeds + self.embed_positions(positions)
        return self.dropout(self.embedding_norm(hidden_states), training=training)

    def position_bias(self, query_positions: Tensor, key_positions: Tensor) -> None:
        """None: the positions are in the embeddings."""
        return None

    def finalize(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """Return the last block's output, which ends in a norm."""
        return hidden_states
