"""LongT5's encoder.

Shape letters: B batch, L length, E model size.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.precision import overflow_safe_dtype
from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightRule
from tfmodels.layers.attention.longt5_local_self_attention import LongT5LocalSelfAttention
from tfmodels.layers.attention.longt5_transient_global_self_attention import LongT5TransientGlobalSelfAttention
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.feed_forward import FeedForward
from tfmodels.layers.normalization import ScaledRMSNormalization
from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.weights import (
    DECODER_PREFIXES,
    HARMLESS_TENSORS,
    HEAD_PREFIXES,
    TOKEN_TABLES,
    encoder_rows,
    landmarks,
)
from tfmodels.modeling.encoder import OPTIONAL_INPUTS, Encoder, EncoderBlock

ENCODER_INPUTS = ("input_ids", "attention_mask")


def rms_norm(config: LongT5Config, policy: Any, name: str) -> keras.layers.Layer:
    """T5's norm: no mean, no bias; float32 under float16, where the residual stream passes that type's range."""
    return ScaledRMSNormalization(
        config.initializer_factor, epsilon=config.layer_norm_epsilon, dtype=overflow_safe_dtype(policy), name=name
    )


def residual_dropout(config: LongT5Config, policy: Any) -> Dropout:
    """Dropout on the residual stream, in its dtype."""
    return Dropout(config.dropout_rate, dtype=overflow_safe_dtype(policy), name="residual_dropout")


def token_embedding(config: LongT5Config, policy: Any, name: str) -> keras.layers.ReversibleEmbedding:
    """The table of token embeddings, which is also the head where the two are tied."""
    initializer = keras.initializers.RandomNormal(stddev=config.initializer_factor)
    embedding = keras.layers.ReversibleEmbedding(
        config.vocab_size, config.d_model, embeddings_initializer=initializer, dtype=policy, name=name
    )
    embedding.build((None, None))
    embedding.output_shape = (None, None, config.d_model)  # for `summary`: Keras' own needs another name of the input's
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


def self_attention(config: LongT5Config, layer: int, policy: Any) -> LongT5LocalSelfAttention:
    """The self-attention that the config names; the first layer owns the biases that all share."""
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


class LongT5EncoderBlock(EncoderBlock):
    """Self-attention and feed-forward, each behind a norm and beside a residual connection."""

    def __init__(self, config: LongT5Config, layer: int, **kwargs: Any) -> None:
        # Not cast on entry: under float16 the residual stream is float32.
        super().__init__(autocast=False, **kwargs)
        self.self_attention_norm = rms_norm(config, self.dtype_policy, "self_attention_norm")
        self.self_attention = self_attention(config, layer, self.dtype_policy)
        self.feed_forward_norm = rms_norm(config, self.dtype_policy, "feed_forward_norm")
        self.feed_forward = feed_forward(config, self.dtype_policy)
        self.residual_dropout = residual_dropout(config, self.dtype_policy)

    def build(self, hidden_states_shape: Any) -> None:
        """Build every part."""
        for part in (self.self_attention_norm, self.self_attention, self.feed_forward_norm, self.feed_forward):
            part.build(hidden_states_shape)

    def call(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        biases: dict[str, Tensor],
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        attended = self.self_attention(
            self.self_attention_norm(hidden_states),
            attention_mask=attention_mask,
            head_mask=head_mask,
            training=training,
            **biases,
        )
        hidden_states = ops.add(hidden_states, self.residual_dropout(attended, training=training))
        forwarded = remat_layer(self.feed_forward, self.feed_forward_norm(hidden_states), training=training)
        return ops.add(hidden_states, self.residual_dropout(forwarded, training=training))

    def attention_probabilities(
        self, hidden_states: Tensor, head_mask: Tensor | None = None, **context: Any
    ) -> dict[str, Tensor]:
        """See `LongT5LocalSelfAttention.attention_probabilities`."""
        normed = self.self_attention_norm(hidden_states)
        mask, biases = context["attention_mask"], context["biases"]
        return self.self_attention.attention_probabilities(normed, attention_mask=mask, head_mask=head_mask, **biases)

    def prune_heads(self, heads: list[int]) -> None:
        """Remove attention heads for good."""
        self.self_attention.prune_heads(heads)


@keras.saving.register_keras_serializable("tfmodels")
class LongT5Encoder(Encoder):
    """Encoder of LongT5 (Guo et al. 2022, section 3): token embeddings, blocks of local or transient-global attention.

    Args:
        config: a `LongT5Config`.
        embed_tokens: the embedding layer to share; None: one of its own.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, L).
        attention_mask: (B, L), 0 on padding; None: no padding.
        head_mask: (layers, H) or (H,), 0 where an attention head is left out.
        inputs_embeds: (B, L, E) in place of `input_ids`.
        output_attentions, output_hidden_states: return those too; None: as the config says.

    Returns:
        {"last_hidden_state": (B, L, E)}; on request "hidden_states", the embeddings and each layer's (B, L, E), the
        last normed, and "attentions" (B, N, H, C, 3 * C) per layer, float32, in blocks of C = `local_radius` + 1
        tokens, with one more column per summary where the attention is transient-global.

    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> encoder = LongT5Encoder(config)
    >>> ids = keras.Input((12,), dtype="int32")
    >>> encoder(ids)["last_hidden_state"].shape
    (None, 12, 8)
    """

    config_class: ClassVar[type] = LongT5Config
    reference_name: ClassVar[str] = "LongT5EncoderModel"
    left_out: ClassVar[tuple[str, ...]] = (*HEAD_PREFIXES, *DECODER_PREFIXES)
    input_names: ClassVar[tuple[str, ...]] = (*ENCODER_INPUTS, *OPTIONAL_INPUTS)
    has_decoder: ClassVar[bool] = False
    token_tables: ClassVar[tuple[str, ...]] = TOKEN_TABLES
    landmarks = staticmethod(landmarks)
    harmless_tensors: ClassVar[tuple[str, ...]] = HARMLESS_TENSORS

    @classmethod
    def weight_rows(cls, config: LongT5Config) -> list[WeightRule]:
        """Where each of the reference's tensors lives."""
        return encoder_rows(config, "")

    def make_parts(self, embed_tokens: keras.layers.Layer | None, policy: Any) -> None:
        """Create the sublayers."""
        config = self.config
        self.num_heads = config.num_heads
        self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
        self.blocks = [
            LongT5EncoderBlock(config, layer, dtype=policy, name=f"block_{layer}") for layer in range(config.num_layers)
        ]
        self.final_norm = rms_norm(config, policy, "final_norm")
        self.dropout = residual_dropout(config, policy)

    def parts(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        return [*self.blocks, self.final_norm]

    def embed(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, training: bool | None) -> Tensor:
        """Token embeddings; T5 has no absolute positions."""
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        return self.dropout(embedded, training=training)

    def context(self, hidden_states: Tensor, masks: Mapping[str, Tensor | None]) -> dict[str, Any]:
        """The mask, and the biases of the first layer, made once per call for all layers."""
        attention_mask = masks["attention_mask"]
        if attention_mask is None:
            attention_mask = ops.ones(ops.shape(hidden_states)[:2], "int32")
        first = self.blocks[0].self_attention
        biases = {"window_bias": first.compute_window_bias()}
        if isinstance(first, LongT5TransientGlobalSelfAttention):
            biases["side_bias"] = first.compute_side_bias(attention_mask)
        return {"attention_mask": attention_mask, "biases": biases}

    def attention_context(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The same with the window's bias for the blocks in which attentions are reported."""
        first = self.blocks[0].self_attention
        window_bias = first.compute_window_bias(first.reference_geometry())
        return {**context, "biases": {**context["biases"], "window_bias": window_bias}}

    def finish(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """The final norm."""
        hidden_states = self.dropout(self.final_norm(hidden_states), training=training)
        return ops.cast(hidden_states, self.compute_dtype)


LongT5EncoderModel = LongT5Encoder
