"""LED's encoder: Longformer self-attention over learned positions.

Shape letters: B batch, L length, E model size.
"""

from typing import Any

import keras
from keras import ops

from tfmodels.layers.checks import check_length
from tfmodels.layers.feed_forward import FeedForward
from tfmodels.layers.longformer_self_attention import LongformerSelfAttention
from tfmodels.layers.projection import projection
from tfmodels.led.config import LEDConfig
from tfmodels.model_config import config_of
from tfmodels.seq2seq import unpack_inputs

Tensor = Any

ENCODER_INPUTS = ("input_ids", "attention_mask", "global_attention_mask")
LAYER_NORM_EPSILON = 1e-5


def layer_norm(policy: Any, name: str) -> keras.layers.LayerNormalization:
    """BART's norm."""
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, dtype=policy, name=name)


def initializer(config: LEDConfig) -> keras.initializers.Initializer:
    """Distribution of every initial kernel and table."""
    return keras.initializers.RandomNormal(stddev=config.init_std)


def token_embedding(config: LEDConfig, policy: Any, name: str) -> keras.layers.ReversibleEmbedding:
    """The table of token embeddings, which is also the head."""
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size, config.d_model, embeddings_initializer=initializer(config), dtype=policy, name=name
    )
    embedding.build()
    return embedding


def position_embedding(config: LEDConfig, positions: int, policy: Any) -> keras.layers.Embedding:
    """The table of position embeddings, without BART's offset of 2."""
    embedding = keras.layers.Embedding(
        positions, config.d_model, embeddings_initializer=initializer(config), dtype=policy, name="embed_positions"
    )
    embedding.build()
    return embedding


def feed_forward(config: LEDConfig, hidden_size: int, policy: Any) -> FeedForward:
    """The feed-forward part of encoder and decoder blocks."""
    return FeedForward(
        hidden_size,
        config.activation_function,
        use_bias=True,
        dropout=config.activation_dropout,
        input_stddev=config.init_std,
        output_stddev=config.init_std,
        dtype=policy,
        name="feed_forward",
    )


class LEDEncoderBlock(keras.layers.Layer):
    """Longformer self-attention and feed-forward, each beside a residual connection and before a norm."""

    def __init__(self, config: LEDConfig, attention_window: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.self_attention = LongformerSelfAttention(
            config.encoder_attention_heads,
            attention_window,
            max_global_tokens=config.max_global_tokens,
            dropout=config.attention_dropout,
            initializer_range=config.init_std,
            dtype=policy,
            name="self_attention",
        )
        self.attention_output = projection("attention_output", config.d_model, config.init_std, True, policy)
        self.self_attention_norm = layer_norm(policy, "self_attention_norm")
        self.feed_forward = feed_forward(config, config.encoder_ffn_dim, policy)
        self.final_norm = layer_norm(policy, "final_norm")
        self.residual_dropout = keras.layers.Dropout(config.dropout, dtype=policy, name="residual_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Build every part."""
        for part in (self.self_attention, self.attention_output, self.self_attention_norm, self.feed_forward):
            part.build(hidden_states_shape)
        self.final_norm.build(hidden_states_shape)

    def call(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        attended = self.self_attention(
            hidden_states,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            training=training,
        )
        attended = self.residual_dropout(self.attention_output(attended), training=training)
        hidden_states = self.self_attention_norm(hidden_states + attended)
        forwarded = self.residual_dropout(self.feed_forward(hidden_states, training=training), training=training)
        return self.final_norm(hidden_states + forwarded)


@keras.saving.register_keras_serializable("tfmodels")
class LEDEncoder(keras.Model):
    """Encoder of LED (Beltagy et al. 2020, section 7).

    Args:
        config: an `LEDConfig`.
        embed_tokens: the embedding layer to share; None: one of its own.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, L), L at most `max_encoder_position_embeddings`.
        attention_mask: (B, L), 0 on padding; None: no padding.
        global_attention_mask: (B, L), non-zero on global tokens; None: no global tokens.

    Returns:
        {"last_hidden_state": (B, L, E)}.

    Raises:
        ValueError: too long an input, or more global tokens than `max_global_tokens` (eager calls).

    >>> config = LEDConfig(vocab_size=50, d_model=8, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
    ...                    decoder_attention_heads=2, max_encoder_position_embeddings=32, attention_window=4)
    >>> ids = keras.Input((12,), dtype="int32")
    >>> LEDEncoder(config)(ids)["last_hidden_state"].shape
    (None, 12, 8)
    """

    def __init__(self, config: LEDConfig, embed_tokens: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config_of(LEDConfig, config)
        policy = self.dtype_policy
        self.embed_tokens = embed_tokens or token_embedding(self.config, policy, "embed_tokens")
        self.embed_positions = position_embedding(self.config, self.config.max_encoder_position_embeddings, policy)
        self.embedding_norm = layer_norm(policy, "embedding_norm")
        self.blocks = [
            LEDEncoderBlock(self.config, window, dtype=policy, name=f"block_{index}")
            for index, window in enumerate(self.config.attention_windows)
        ]
        self.dropout = keras.layers.Dropout(self.config.dropout, dtype=policy, name="dropout")
        self.build()

    built: bool

    def build(self, input_shape: Any = None) -> None:
        """Create every weight: the config knows all sizes."""
        if self.built:  # also true when a saved file asks for it again
            return
        for part in (self.embedding_norm, *self.blocks):
            part.build((None, None, self.config.d_model))
        self.built = True

    def call(
        self,
        input_ids: Any,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        """Encode; see the class docstring."""
        inputs = unpack_inputs(
            ENCODER_INPUTS,
            input_ids=input_ids,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
        )
        input_ids = inputs.pop("input_ids")
        check_length(
            "input_ids", input_ids, "max_encoder_position_embeddings", self.config.max_encoder_position_embeddings
        )
        positions = ops.arange(ops.shape(input_ids)[1], dtype="int32")
        hidden_states = self.embed_tokens(input_ids) + self.embed_positions(positions)
        hidden_states = self.dropout(self.embedding_norm(hidden_states), training=training)
        for block in self.blocks:
            hidden_states = block(hidden_states, training=training, **inputs)
        return {"last_hidden_state": hidden_states}

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model (with an embedding of its own)."""
        return {**super().get_config(), "config": self.config.to_dict()}
