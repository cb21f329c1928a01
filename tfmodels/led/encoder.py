"""LED's encoder: Longformer self-attention over learned positions.

Shape letters: B batch, L length, E model size.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightRule
from tfmodels.layers.attention.longformer_self_attention import LongformerSelfAttention
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.feed_forward import FeedForward
from tfmodels.layers.projection import projection
from tfmodels.layers.resizing import keep_inputs
from tfmodels.led.config import LEDConfig
from tfmodels.led.positions import POSITION_FIELDS, resize_positions
from tfmodels.led.weights import (
    DECODER_PREFIXES,
    HARMLESS_TENSORS,
    HEAD_PREFIXES,
    TOKEN_TABLES,
    encoder_rows,
    landmarks,
)
from tfmodels.modeling.encoder import OPTIONAL_INPUTS, Encoder, EncoderBlock
from tfmodels.utils.checks import check_length

ENCODER_INPUTS = ("input_ids", "attention_mask", "global_attention_mask")
LAYER_NORM_EPSILON = 1e-5


def layer_norm(policy: Any, name: str) -> keras.layers.LayerNormalization:
    """BART's norm."""
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, dtype=policy, name=name)


def initializer(config: LEDConfig) -> keras.initializers.Initializer:
    """Distribution of every initial kernel and table."""
    return keras.initializers.RandomNormal(stddev=config.init_std)


@keras.saving.register_keras_serializable("tfmodels")
class PaddedNormal(keras.initializers.RandomNormal):
    """As `RandomNormal`, with zeros for the padding token."""

    def __init__(self, stddev: float, pad_token_id: int) -> None:
        super().__init__(stddev=stddev)
        self.pad_token_id = pad_token_id

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the initializer."""
        return {"stddev": self.stddev, "pad_token_id": self.pad_token_id}

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """A table (V, E)."""
        table = super().__call__(shape, dtype)
        return ops.where(ops.arange(shape[0])[:, None] == self.pad_token_id, ops.zeros_like(table), table)


def token_embedding(config: LEDConfig, policy: Any, name: str) -> keras.layers.ReversibleEmbedding:
    """The table of token embeddings, which is also the head where the two are tied."""
    start = PaddedNormal(config.init_std, config.pad_token_id)
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size, config.d_model, embeddings_initializer=start, dtype=policy, name=name
    )
    embedding.build((None, None))
    embedding.output_shape = (None, None, config.d_model)  # for `summary`: Keras' own needs another name of the input's
    return embedding


def embed_ids(embedding: keras.layers.Layer, input_ids: Tensor, pad_token_id: int) -> Tensor:
    """Token embeddings (B, L, E); the padding token's is never trained by being looked up, as in the reference."""
    embedded = embedding(input_ids)
    is_padding = ops.equal(input_ids, pad_token_id)[..., None]
    return ops.where(is_padding, ops.stop_gradient(embedded), embedded)


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


class LEDEncoderBlock(EncoderBlock):
    """Longformer self-attention and feed-forward, each beside a residual connection and before a norm."""

    def __init__(self, config: LEDConfig, layer: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.self_attention = LongformerSelfAttention(
            config.encoder_attention_heads,
            config.attention_windows[layer],
            max_global_tokens=config.max_global_tokens,
            dropout=config.attention_dropout,
            initializer_range=config.init_std,
            pruned_heads=config.pruned_heads.get(layer, ()),
            dtype=policy,
            name="self_attention",
        )
        self.attention_output = projection("attention_output", config.d_model, config.init_std, True, policy)
        self.self_attention_norm = layer_norm(policy, "self_attention_norm")
        self.feed_forward = feed_forward(config, config.encoder_ffn_dim, policy)
        self.final_norm = layer_norm(policy, "final_norm")
        self.residual_dropout = Dropout(config.dropout, dtype=policy, name="residual_dropout")

    def build(self, hidden_states_shape: Any) -> None:
        """Build every part."""
        for part in (self.self_attention, self.self_attention_norm, self.feed_forward, self.final_norm):
            part.build(hidden_states_shape)
        units = len(self.self_attention.heads) * self.self_attention.head_size
        self.attention_output.build((*hidden_states_shape[:-1], units))

    def call(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        attended = self.self_attention(
            hidden_states,
            attention_mask=attention_mask,
            global_attention_mask=global_attention_mask,
            head_mask=head_mask,
            training=training,
        )
        attended = self.residual_dropout(self.attention_output(attended), training=training)
        hidden_states = self.self_attention_norm(hidden_states + attended)
        forwarded = remat_layer(self.feed_forward, hidden_states, training=training)
        forwarded = self.residual_dropout(forwarded, training=training)
        return self.final_norm(hidden_states + forwarded)

    def attention_probabilities(
        self, hidden_states: Tensor, head_mask: Tensor | None = None, **context: Any
    ) -> dict[str, Tensor]:
        """See `LongformerSelfAttention.attention_probabilities`."""
        return self.self_attention.attention_probabilities(hidden_states, head_mask=head_mask, **context)

    def prune_heads(self, heads: list[int]) -> None:
        """Remove attention heads for good."""
        keep_inputs(self.attention_output, self.self_attention.prune_heads(heads))


@keras.saving.register_keras_serializable("tfmodels")
class LEDEncoder(Encoder):
    """Encoder of LED (Beltagy et al. 2020, section 7).

    Args:
        config: an `LEDConfig`.
        embed_tokens: the embedding layer to share; None: one of its own.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, L), L at most `max_encoder_position_embeddings`.
        attention_mask: (B, L), 0 on padding; None: no padding.
        global_attention_mask: (B, L), non-zero on global tokens; None: no global tokens.
        head_mask: (layers, H) or (H,), 0 where an attention head is left out.
        inputs_embeds: (B, L, E) in place of `input_ids`.
        output_attentions, output_hidden_states: return those too; None: as the config says.

    Returns:
        {"last_hidden_state": (B, L, E)}; on request "hidden_states", the embeddings and each layer's (B, L, E), and
        "attentions" (B, H, L, G + window + 1) and "global_attentions" (B, H, L, G) per layer, float32, with
        G = `max_global_tokens`; see `LongformerSelfAttention.attention_probabilities`.

    Raises:
        ValueError: too long an input, or more global tokens than `max_global_tokens` (eager calls).

    >>> config = LEDConfig(vocab_size=50, d_model=8, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2,
    ...                    decoder_attention_heads=2, max_encoder_position_embeddings=32, attention_window=4)
    >>> ids = keras.Input((12,), dtype="int32")
    >>> LEDEncoder(config)(ids)["last_hidden_state"].shape
    (None, 12, 8)
    """

    config_class: ClassVar[type] = LEDConfig
    reference_name: ClassVar[str] = "LEDEncoder"
    left_out: ClassVar[tuple[str, ...]] = (*HEAD_PREFIXES, *DECODER_PREFIXES)
    input_names: ClassVar[tuple[str, ...]] = (*ENCODER_INPUTS, *OPTIONAL_INPUTS)
    has_decoder: ClassVar[bool] = False
    token_tables: ClassVar[tuple[str, ...]] = TOKEN_TABLES
    landmarks = staticmethod(landmarks)
    harmless_tensors: ClassVar[tuple[str, ...]] = HARMLESS_TENSORS
    position_fields: ClassVar[tuple[str, ...]] = POSITION_FIELDS[:1]

    @classmethod
    def weight_rows(cls, config: LEDConfig) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return encoder_rows("")

    def make_parts(self, embed_tokens: keras.layers.Layer | None, policy: Any) -> None:
        """Create the sublayers."""
        config = self.config
        self.num_heads = config.encoder_attention_heads
        self.set_layerdrop(config.encoder_layerdrop)
        self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
        self.embed_positions = position_embedding(config, config.max_encoder_position_embeddings, policy)
        self.embedding_norm = layer_norm(policy, "embedding_norm")
        self.blocks = [
            LEDEncoderBlock(config, layer, dtype=policy, name=f"block_{layer}")
            for layer in range(config.encoder_layers)
        ]
        self.dropout = Dropout(config.dropout, dtype=policy, name="dropout")

    def resize_position_embeddings(self, **positions: int) -> None:
        """Repeat or cut the learnt positions; see `LEDParts.resize_position_embeddings`."""
        if self.owner() is not None:
            self.owner().resize_position_embeddings(**positions)
            return
        self.config = resize_positions(self, {POSITION_FIELDS[0]: self.embed_positions}, positions)
        self.forget_compiled()

    def parts(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        return [self.embedding_norm, *self.blocks]

    def embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, training: bool | None) -> Tensor:
        """Token and position embeddings, normed."""
        limit = self.config.max_encoder_position_embeddings
        if inputs_embeds is None:
            check_length("input_ids", input_ids, "max_encoder_position_embeddings", limit)
            inputs_embeds = embed_ids(self.embed_tokens, input_ids, self.config.pad_token_id)
        check_length("inputs_embeds", inputs_embeds, "max_encoder_position_embeddings", limit)
        positions = ops.arange(ops.shape(inputs_embeds)[1], dtype="int32")
        hidden_states = inputs_embeds + self.embed_positions(positions)
        return self.dropout(self.embedding_norm(hidden_states), training=training)

    def context(self, hidden_states: Tensor, masks: Mapping[str, Tensor | None]) -> dict[str, Any]:
        """The two masks."""
        return {name: masks[name] for name in ("attention_mask", "global_attention_mask")}

    def finish(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """Nothing follows the last block, which ends in a norm."""
        return hidden_states
