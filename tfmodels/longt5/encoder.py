"""LongT5's encoder: blocks of local or transient-global self-attention."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.types import Tensor
from tfmodels.checkpoints.mapping import WeightMap
from tfmodels.layers.attention.longt5_transient_global_self_attention import LongT5TransientGlobalSelfAttention
from tfmodels.longt5.config import LongT5Config
from tfmodels.longt5.modules import feed_forward, residual_dropout, rms_norm, self_attention, token_embedding
from tfmodels.longt5.weights import encoder_map
from tfmodels.modeling.encoder import Encoder, EncoderBlock, EncoderContext
from tfmodels.modeling.inputs import ENCODER_OPTIONS, EncoderInputs

ENCODER_INPUTS = ("input_ids", "attention_mask")


class LongT5EncoderBlock(EncoderBlock):
    """Self-attention and feed-forward, each behind a norm and beside a residual connection."""

    def __init__(self, config: LongT5Config, layer: int, **kwargs: Any) -> None:
        # Sublayers cast their own inputs; autocasting here would round float32 biases and residuals.
        super().__init__(autocast=False, **kwargs)
        self.self_attention_norm = rms_norm(config, self.dtype_policy, "self_attention_norm")
        self.self_attention = self_attention(config, layer, self.dtype_policy)
        self.feed_forward_norm = rms_norm(config, self.dtype_policy, "feed_forward_norm")
        self.feed_forward = feed_forward(config, self.dtype_policy)
        self.residual_dropout = residual_dropout(config, self.dtype_policy)

    def build(self, hidden_states_shape: Any) -> None:
        """Build every sublayer."""
        for part in (self.self_attention_norm, self.self_attention, self.feed_forward_norm, self.feed_forward):
            part.build(hidden_states_shape)

    def call(
        self,
        hidden_states: Tensor,
        context: EncoderContext,
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        attended = self.self_attention(
            self.self_attention_norm(hidden_states),
            attention_mask=context.attention_mask,
            head_mask=head_mask,
            training=training,
            **_biases(context),
        )
        hidden_states = ops.add(hidden_states, self.residual_dropout(attended, training=training))
        forwarded = remat_layer(self.feed_forward, self.feed_forward_norm(hidden_states), training=training)
        return ops.add(hidden_states, self.residual_dropout(forwarded, training=training))

    def attention_probabilities(
        self, hidden_states: Tensor, context: EncoderContext, head_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `LongT5LocalSelfAttention.attention_probabilities`."""
        return self.self_attention.attention_probabilities(
            self.self_attention_norm(hidden_states),
            attention_mask=context.attention_mask,
            head_mask=head_mask,
            **_biases(context),
        )

    def prune_heads(self, heads: list[int]) -> None:
        """Remove attention heads for good."""
        self.self_attention.prune_heads(heads)


def _biases(context: EncoderContext) -> dict[str, Tensor]:
    """The biases as call arguments; local attention has no side bias."""
    side = {} if context.side_bias is None else {"side_bias": context.side_bias}
    return {"window_bias": context.window_bias, **side}


@keras.saving.register_keras_serializable("tfmodels")
class LongT5Encoder(Encoder):
    """LongT5's encoder (Guo et al. 2022, section 3): token embeddings, blocks of local or transient-global attention.

    Args:
        config: a `LongT5Config`.
        embed_tokens: the embedding layer to share; None: create one.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, L).
        attention_mask: (B, L), 0 on padding; None: no padding.
        head_mask: (layers, H) or (H,), 0 for masked attention heads.
        inputs_embeds: (B, L, E) in place of `input_ids`.
        output_attentions, output_hidden_states: return attentions, hidden states; None: the config's setting.

    Returns:
        {"last_hidden_state": (B, L, E)}; on request "hidden_states", the embeddings and each layer's (B, L, E), the
        last normed, and "attentions" (B, N, H, C, 3 * C) per layer, float32, in blocks of C = `local_radius` + 1
        tokens, with one further column per summary in transient-global attention.

    >>> config = LongT5Config(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2, local_radius=3)
    >>> encoder = LongT5Encoder(config)
    >>> ids = keras.Input((12,), dtype="int32")
    >>> encoder(ids)["last_hidden_state"].shape
    (None, 12, 8)
    """

    config_class: ClassVar[type] = LongT5Config
    reference_name: ClassVar[str | None] = "LongT5EncoderModel"
    input_names: ClassVar[tuple[str, ...]] = (*ENCODER_INPUTS, *ENCODER_OPTIONS)

    @classmethod
    def weight_map(cls, config: LongT5Config) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return encoder_map(config)

    def create_layers(self, embed_tokens: keras.layers.Layer | None, policy: keras.DTypePolicy) -> None:
        """Create the sublayers."""
        config = self.config
        self.num_heads = config.num_heads
        self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
        self.blocks = [
            LongT5EncoderBlock(config, layer, dtype=policy, name=f"block_{layer}") for layer in range(config.num_layers)
        ]
        self.final_norm = rms_norm(config, policy, "final_norm")
        self.dropout = residual_dropout(config, policy)

    def shard_multiple(self) -> int:
        """Whole blocks of every layer."""
        return math.lcm(*(block.self_attention.geometry.block_length for block in self.blocks))

    def layers_to_build(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        return [*self.blocks, self.final_norm]

    def embed(self, inputs: EncoderInputs, training: bool | None) -> Tensor:
        """Look up the token embeddings; T5 has no absolute positions."""
        embedded = inputs.inputs_embeds
        if embedded is None:
            embedded = self.embed_tokens(inputs.input_ids)
        return self.dropout(embedded, training=training)

    def context(self, hidden_states: Tensor, inputs: EncoderInputs) -> EncoderContext:
        """The mask, and the biases of the first layer, computed once per call for all layers."""
        attention_mask = inputs.attention_mask
        if attention_mask is None:
            attention_mask = ops.ones(ops.shape(hidden_states)[:2], "int32")
        first = self.blocks[0].self_attention
        is_global = isinstance(first, LongT5TransientGlobalSelfAttention)
        return EncoderContext(
            attention_mask,
            window_bias=first.compute_window_bias(),
            side_bias=first.compute_side_bias(attention_mask) if is_global else None,
        )

    def attention_context(self, context: EncoderContext) -> EncoderContext:
        """The context with the window bias of `reference_geometry`, the blocks of reported attentions."""
        first = self.blocks[0].self_attention
        return context._replace(window_bias=first.compute_window_bias(first.reference_geometry()))

    def finalize(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """Apply the final norm."""
        hidden_states = self.dropout(self.final_norm(hidden_states), training=training)
        return ops.cast(hidden_states, self.compute_dtype)


LongT5EncoderModel = LongT5Encoder
