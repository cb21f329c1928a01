"""LongT5's small layers: norms, embeddings, feed-forward, and the choice of self-attention."""

from typing import Any

import keras

from tfmodels.backend.initializers import Normal
from tfmodels.backend.precision import overflow_safe_dtype
from tfmodels.layers.attention.longt5_local_self_attention import LongT5LocalSelfAttention
from tfmodels.layers.attention.longt5_transient_global_self_attention import LongT5TransientGlobalSelfAttention
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.feed_forward import FeedForward
from tfmodels.layers.normalization import ScaledRMSNormalization
from tfmodels.longt5.config import LongT5Config


def rms_norm(config: LongT5Config, policy: keras.DTypePolicy, name: str) -> keras.layers.Layer:
    """T5's norm: no mean, no bias; float32 under float16, as the residual stream exceeds float16's range."""
    return ScaledRMSNormalization(
        config.initializer_factor, epsilon=config.layer_norm_epsilon, dtype=overflow_safe_dtype(policy), name=name
    )


def residual_dropout(config: LongT5Config, policy: keras.DTypePolicy) -> Dropout:
    """Dropout on the residual stream, in the stream's dtype."""
    return Dropout(config.dropout_rate, dtype=overflow_safe_dtype(policy), name="residual_dropout")


def token_embedding(config: LongT5Config, policy: keras.DTypePolicy, name: str) -> keras.layers.ReversibleEmbedding:
    """The table of token embeddings, which is also the tied head."""
    initializer = Normal(stddev=config.initializer_factor)
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size, config.d_model, embeddings_initializer=initializer, dtype=policy, name=name
    )
    embedding.build((None, None))
    embedding.output_shape = (None, None, config.d_model)  # for `summary`: Keras' method requires another argument name
    return embedding


def feed_forward(config: LongT5Config, policy: keras.DTypePolicy) -> FeedForward:
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


def self_attention(config: LongT5Config, layer: int, policy: keras.DTypePolicy) -> LongT5LocalSelfAttention:
    """The self-attention of the config's type; the first layer owns the biases that all layers share."""
    arguments: dict[str, Any] = {
        "num_heads": config.num_heads,
        "head_size": config.d_kv,
        "local_radius": config.local_radius,
        "has_relative_attention_bias": layer == 0,
        "num_buckets": config.relative_attention_num_buckets,
        "max_distance": config.relative_attention_max_distance,
        "dropout": config.dropout_rate,
        "initializer_factor": config.initializer_factor,
        "pruned_heads": config.pruned_heads.get(layer, ()),
        "dtype": policy,
        "name": "self_attention",
    }
    if config.encoder_attention_type == "local":
        return LongT5LocalSelfAttention(**arguments)
    return LongT5TransientGlobalSelfAttention(
        **arguments, global_block_size=config.global_block_size, layer_norm_epsilon=config.layer_norm_epsilon
    )
