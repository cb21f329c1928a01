"""LongT5's encoder.

Shape letters: B batch, L length, E model size.
"""

from typing import Any

import keras
from keras import ops

from tfmodels.layers.feed_forward import FeedForward
from tfmodels.layers.long_t5_self_attention import LongT5LocalSelfAttention, LongT5TransientGlobalSelfAttention
from tfmodels.layers.precision import overflow_safe_dtype
from tfmodels.longt5.config import LongT5Config
from tfmodels.model_config import config_of
from tfmodels.seq2seq import unpack_inputs

Tensor = Any

ENCODER_INPUTS = ("input_ids", "attention_mask")


def rms_norm(config: LongT5Config, policy: Any, name: str) -> keras.layers.Layer:
    """T5's norm: no mean, no bias; float32 under float16, where the residual stream passes that type's range."""
    return keras.layers.RMSNormalization(
        epsilon=config.layer_norm_epsilon, dtype=overflow_safe_dtype(policy), name=name
    )


def residual_dropout(config: LongT5Config, policy: Any) -> keras.layers.Dropout:
    """Dropout on the residual stream, in its dtype."""
    return keras.layers.Dropout(config.dropout_rate, dtype=overflow_safe_dtype(policy), name="residual_dropout")


def token_embedding(config: LongT5Config, policy: Any, name: str) -> keras.layers.ReversibleEmbedding:
    """The table of token embeddings, which is also the head where the two are tied."""
    initializer = keras.initializers.RandomNormal(stddev=config.initializer_factor)
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size, config.d_model, embeddings_initializer=initializer, dtype=policy, name=name
    )
    embedding.build()
    return embedding


def feed_forward(config: LongT5Config, policy: Any) -> FeedForward:
    """The feed-forward part of encoder and decoder blocks."""
    return FeedForward(
        config.d_ff,
        config.activation,
        gated=config.is_gated,
        dropout=config.dropout_rate,
        safe_output=True,
        input_stddev=config.initializer_factor * config.d_model**-0.5,
        output_stddev=config.initializer_factor * config.d_ff**-0.5,
        dtype=policy,
        name="feed_forward",
    )


def self_attention(config: LongT5Config, is_first: bool, policy: Any) -> LongT5LocalSelfAttention:
    """The self-attention that the config names; the first layer owns the biases that all share."""
    arguments: dict[str, Any] = {
        "num_heads": config.num_heads,
        "head_size": config.d_kv,
        "local_radius": config.local_radius,
        "has_relative_attention_bias": is_first,
        "num_buckets": config.relative_attention_num_buckets,
        "max_distance": config.relative_attention_max_distance,
        "dropout": config.dropout_rate,
        "initializer_factor": config.initializer_factor,
        "dtype": policy,
        "name": "self_attention",
    }
    if config.encoder_attention_type == "local":
        return LongT5LocalSelfAttention(**arguments)
    return LongT5TransientGlobalSelfAttention(
        **arguments, global_block_size=config.global_block_size, layer_norm_epsilon=config.layer_norm_epsilon
    )


class LongT5EncoderBlock(keras.layers.Layer):
    """Self-attention and feed-forward, each behind a norm and beside a residual connection."""

    def __init__(self, config: LongT5Config, is_first: bool, **kwargs: Any) -> None:
        # Not cast on entry: under float16 the residual stream is float32.
        super().__init__(autocast=False, **kwargs)
        self.self_attention_norm = rms_norm(config, self.dtype_policy, "self_attention_norm")
        self.self_attention = self_attention(config, is_first, self.dtype_policy)
        self.feed_forward_norm = rms_norm(config, self.dtype_policy, "feed_forward_norm")
        self.feed_forward = feed_forward(config, self.dtype_policy)
        self.residual_dropout = residual_dropout(config, self.dtype_policy)

    def build(self, hidden_states_shape: Any) -> None:
        """Build every part."""
        for part in (self.self_attention_norm, self.self_attention, self.feed_forward_norm, self.feed_forward):
            part.build(hidden_states_shape)

    def call(
        self, hidden_states: Tensor, attention_mask: Tensor, biases: dict[str, Tensor], training: bool | None = None
    ) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        attended = self.self_attention(
            self.self_attention_norm(hidden_states), attention_mask=attention_mask, training=training, **biases
        )
        hidden_states = ops.add(hidden_states, self.residual_dropout(attended, training=training))
        forwarded = self.feed_forward(self.feed_forward_norm(hidden_states), training=training)
        return ops.add(hidden_states, self.residual_dropout(forwarded, training=training))


@keras.saving.register_keras_serializable("tfmodels")
class LongT5Encoder(keras.Model):
    """Encoder of LongT5 (Guo et al. 2022, section 3): token embeddings, blocks of local or transient-global attention.

    Args:
        config: a `LongT5Config`.
        embed_tokens: the embedding layer to share; None: one of its own.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, L).
        attention_mask: (B, L), 0 on padding; None: no padding.

    Returns:
        {"last_hidden_state": (B, L, E)}.

    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> encoder = LongT5Encoder(config)
    >>> ids = keras.Input((12,), dtype="int32")
    >>> encoder(ids)["last_hidden_state"].shape
    (None, 12, 8)
    """

    def __init__(self, config: LongT5Config, embed_tokens: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config_of(LongT5Config, config)
        policy = self.dtype_policy
        self.embed_tokens = embed_tokens or token_embedding(self.config, policy, "embed_tokens")
        self.blocks = [
            LongT5EncoderBlock(self.config, is_first=index == 0, dtype=policy, name=f"block_{index}")
            for index in range(self.config.num_layers)
        ]
        self.final_norm = rms_norm(self.config, policy, "final_norm")
        self.dropout = residual_dropout(self.config, policy)
        self.build()

    built: bool

    def build(self, input_shape: Any = None) -> None:
        """Create every weight: the config knows all sizes."""
        if self.built:  # also true when a saved file asks for it again
            return
        shape = (None, None, self.config.d_model)
        for part in (*self.blocks, self.final_norm):
            part.build(shape)
        self.built = True

    def call(
        self, input_ids: Any, attention_mask: Tensor | None = None, training: bool | None = None
    ) -> dict[str, Tensor]:
        """Encode; see the class docstring."""
        inputs = unpack_inputs(ENCODER_INPUTS, input_ids=input_ids, attention_mask=attention_mask)
        input_ids, attention_mask = inputs["input_ids"], inputs["attention_mask"]
        if attention_mask is None:
            attention_mask = ops.ones_like(input_ids)
        hidden_states = self.dropout(self.embed_tokens(input_ids), training=training)
        biases = self._shared_biases(attention_mask)
        for block in self.blocks:
            hidden_states = block(hidden_states, attention_mask=attention_mask, biases=biases, training=training)
        hidden_states = self.dropout(self.final_norm(hidden_states), training=training)
        return {"last_hidden_state": ops.cast(hidden_states, self.compute_dtype)}

    def _shared_biases(self, attention_mask: Tensor) -> dict[str, Tensor]:
        """The biases of the first layer, made once per call for all layers."""
        first = self.blocks[0].self_attention
        biases = {"window_bias": first.compute_window_bias()}
        if isinstance(first, LongT5TransientGlobalSelfAttention):
            biases["side_bias"] = first.compute_side_bias(attention_mask)
        return biases

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the model (with an embedding of its own)."""
        return {**super().get_config(), "config": self.config.to_dict()}
