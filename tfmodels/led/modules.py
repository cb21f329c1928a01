"""LED's small layers: norms, embeddings, feed-forward."""

from typing import Any

import keras
from keras import ops

from tfmodels.backend.initializers import Normal
from tfmodels.backend.types import Tensor
from tfmodels.layers.feed_forward import FeedForward
from tfmodels.led.config import LEDConfig

LAYER_NORM_EPSILON = 1e-5


def layer_norm(policy: keras.DTypePolicy, name: str) -> keras.layers.LayerNormalization:
    """BART's norm."""
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, dtype=policy, name=name)


def initializer(config: LEDConfig) -> keras.initializers.Initializer:
    """The distribution of every initial kernel and table."""
    return Normal(stddev=config.init_std)


@keras.saving.register_keras_serializable("tfmodels")
class PaddedNormal(Normal):
    """`RandomNormal` with zeros for the padding token."""

    def __init__(self, stddev: float, pad_token_id: int) -> None:
        super().__init__(stddev=stddev)
        self.pad_token_id = pad_token_id

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the initializer."""
        return {"stddev": self.stddev, "pad_token_id": self.pad_token_id}

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """Draw a table (V, E)."""
        table = super().__call__(shape, dtype)
        return ops.where(ops.arange(shape[0])[:, None] == self.pad_token_id, ops.zeros_like(table), table)


def token_embedding(config: LEDConfig, policy: keras.DTypePolicy, name: str) -> keras.layers.ReversibleEmbedding:
    """The table of token embeddings, which is also the tied head."""
    start = PaddedNormal(config.init_std, config.pad_token_id)
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size, config.d_model, embeddings_initializer=start, dtype=policy, name=name
    )
    embedding.build((None, None))
    embedding.output_shape = (None, None, config.d_model)  # for `summary`: Keras' method requires another argument name
    return embedding


def embed_ids(embedding: keras.layers.Layer, input_ids: Tensor, pad_token_id: int) -> Tensor:
    """Look up token embeddings (B, L, E).

    No gradient reaches the padding token's embedding through the lookup (as in transformers).
    """
    embedded = embedding(input_ids)
    is_padding = ops.equal(input_ids, pad_token_id)[..., None]
    return ops.where(is_padding, ops.stop_gradient(embedded), embedded)


def position_embedding(config: LEDConfig, positions: int, policy: keras.DTypePolicy) -> keras.layers.Embedding:
    """The table of position embeddings, without BART's offset of 2."""
    embedding = keras.layers.Embedding(
        positions, config.d_model, embeddings_initializer=initializer(config), dtype=policy, name="embed_positions"
    )
    embedding.build()
    return embedding


def feed_forward(config: LEDConfig, hidden_size: int, policy: keras.DTypePolicy) -> FeedForward:
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
