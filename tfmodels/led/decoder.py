"""LED's decoder: BART's, with dense attention over the target and over the document."""

from typing import Any

import keras

from tfmodels.backend.types import Tensor
from tfmodels.layers.attention.cached_attention import CachedAttention
from tfmodels.layers.dropout import Dropout
from tfmodels.led.config import LEDConfig
from tfmodels.led.encoder import embed_ids, feed_forward, layer_norm, position_embedding, token_embedding
from tfmodels.modeling.config import config_of
from tfmodels.modeling.decoder import Decoder, DecoderBlock
from tfmodels.utils.checks import check_length


def _attention(config: LEDConfig, policy: Any, name: str) -> CachedAttention:
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
        # Not cast on entry: a cast would round float32 biases and copy the caches.
        super().__init__(autocast=False, **kwargs)
        policy = self.dtype_policy
        self.self_attention = _attention(config, policy, "self_attention")
        self.self_attention_norm = layer_norm(policy, "self_attention_norm")
        self.cross_attention = _attention(config, policy, "cross_attention")
        self.cross_attention_norm = layer_norm(policy, "cross_attention_norm")
        self.feed_forward = feed_forward(config, config.decoder_ffn_dim, policy)
        self.final_norm = layer_norm(policy, "final_norm")
        self.residual_dropout = Dropout(config.dropout, dtype=policy, name="residual_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Build every part."""
        for part in (self.self_attention, self.self_attention_norm, self.cross_attention, self.cross_attention_norm):
            part.build(hidden_states_shape)
        self.feed_forward.build(hidden_states_shape)
        self.final_norm.build(hidden_states_shape)

    def before(self, hidden_states: Tensor, norm: keras.layers.Layer) -> Tensor:
        """The hidden states as they are: the norms stand after the residual connections."""
        return hidden_states

    def after(self, hidden_states: Tensor, attended: Tensor, norm: keras.layers.Layer, training: Any) -> Tensor:
        """The normed sum."""
        return norm(hidden_states + self.residual_dropout(attended, training=training))

    def forward(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """The feed-forward part with its residual connection."""
        return self.after(hidden_states, self.feed_forward(hidden_states, training=training), self.final_norm, training)


@keras.saving.register_keras_serializable("tfmodels")
class LEDDecoder(Decoder):
    """Decoder of LED: BART's (Lewis et al. 2020) with learned positions and no offset.

    Args:
        config: an `LEDConfig`.
        embed_tokens: the embedding layer shared with the encoder; None: one of its own.
    """

    def __init__(self, config: LEDConfig, embed_tokens: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config = config_of(LEDConfig, config)
        policy = self.dtype_policy
        self.num_heads = config.decoder_attention_heads
        self.set_layerdrop(config.decoder_layerdrop)
        self.gradient_checkpointing = config.gradient_checkpointing
        self.pad_token_id = config.pad_token_id
        self.max_length = config.max_decoder_position_embeddings
        with keras.name_scope(self.name, caller=self):  # the tables are built here, under their parent's name
            self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
            self.embed_positions = position_embedding(config, self.max_length, policy)
        self.embedding_norm = layer_norm(policy, "embedding_norm")
        self.blocks = [
            LEDDecoderBlock(config, dtype=policy, name=f"block_{index}") for index in range(config.decoder_layers)
        ]
        self.dropout = Dropout(config.dropout, dtype=policy, name="dropout")
        self.width = config.d_model

    def build(self, input_shape: Any = None) -> None:
        """Build every part."""
        for part in (self.embedding_norm, *self.blocks):
            part.build((None, None, self.width))
        self.built = True

    def embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, positions: Tensor, training: bool | None
    ) -> Tensor:
        """Token and position embeddings, normed."""
        if inputs_embeds is None:
            check_length("decoder_input_ids", input_ids, "max_decoder_position_embeddings", self.max_length)
            inputs_embeds = embed_ids(self.embed_tokens, input_ids, self.pad_token_id)
        check_length("decoder_inputs_embeds", inputs_embeds, "max_decoder_position_embeddings", self.max_length)
        hidden_states = inputs_embeds + self.embed_positions(positions)
        return self.dropout(self.embedding_norm(hidden_states), training=training)

    def position_bias(self, query_positions: Tensor, key_positions: Tensor) -> None:
        """None: the positions are in the embeddings."""
        return None

    def finish(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """Nothing follows the last block, which ends in a norm."""
        return hidden_states
