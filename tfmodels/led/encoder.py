"""LED's encoder: Longformer self-attention over learned positions."""

import math
from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.document import current_document
from tfmodels.backend.remat_layer import remat_layer
from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import checked_ids
from tfmodels.checkpoints.mapping import WeightMap
from tfmodels.layers.attention.longformer_self_attention import LongformerSelfAttention
from tfmodels.layers.dropout import Dropout
from tfmodels.layers.projection import projection
from tfmodels.layers.resizing import keep_inputs
from tfmodels.led.config import LEDConfig
from tfmodels.led.modules import embed_ids, feed_forward, layer_norm, position_embedding, token_embedding
from tfmodels.led.positions import POSITION_FIELDS, resize_positions
from tfmodels.led.weights import encoder_map
from tfmodels.modeling.encoder import Encoder, EncoderBlock, EncoderContext
from tfmodels.modeling.inputs import ENCODER_OPTIONS, EncoderInputs
from tfmodels.modeling.stack import layerdrop_seeds
from tfmodels.utils.checks import check_length

ENCODER_INPUTS = ("input_ids", "attention_mask", "global_attention_mask")


class LEDEncoderBlock(EncoderBlock):
    """Longformer self-attention and feed-forward, each beside a residual connection and before a norm."""

    summing_projections: ClassVar[tuple[str, ...]] = ("attention_output",)

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
        """Build every sublayer."""
        for part in (self.self_attention, self.self_attention_norm, self.feed_forward, self.final_norm):
            part.build(hidden_states_shape)
        units = len(self.self_attention.heads) * self.self_attention.head_size
        self.attention_output.build((*hidden_states_shape[:-1], units))

    def call(
        self,
        hidden_states: Tensor,
        context: EncoderContext,
        head_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> Tensor:
        """(B, L, E) -> (B, L, E)."""
        attended = self.self_attention(
            hidden_states,
            attention_mask=context.attention_mask,
            global_attention_mask=context.global_attention_mask,
            head_mask=head_mask,
            training=training,
        )
        attended = self.residual_dropout(self.attention_output(attended), training=training)
        hidden_states = self.self_attention_norm(hidden_states + attended)
        forwarded = remat_layer(self.feed_forward, hidden_states, training=training)
        forwarded = self.residual_dropout(forwarded, training=training)
        return self.final_norm(hidden_states + forwarded)

    def attention_probabilities(
        self, hidden_states: Tensor, context: EncoderContext, head_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `LongformerSelfAttention.attention_probabilities`."""
        return self.self_attention.attention_probabilities(
            hidden_states, context.attention_mask, context.global_attention_mask, head_mask
        )

    def prune_heads(self, heads: list[int]) -> None:
        """Remove attention heads for good."""
        keep_inputs(self.attention_output, self.self_attention.prune_heads(heads))


@keras.saving.register_keras_serializable("tfmodels")
class LEDEncoder(Encoder):
    """LED's encoder (Beltagy et al. 2020, section 7).

    Args:
        config: an `LEDConfig`.
        embed_tokens: the embedding layer to share; None: create one.

    Call arguments (keywords, one dict, or a list in this order):
        input_ids: int32 (B, L), L at most `max_encoder_position_embeddings`.
        attention_mask: (B, L), 0 on padding; None: no padding.
        global_attention_mask: (B, L), non-zero on global tokens; None: no global tokens.
        head_mask: (layers, H) or (H,), 0 for masked attention heads.
        inputs_embeds: (B, L, E) in place of `input_ids`.
        output_attentions, output_hidden_states: return attentions, hidden states; None: the config's setting.

    Returns:
        {"last_hidden_state": (B, L, E)}; on request "hidden_states", the embeddings and each layer's (B, L, E), and
        "attentions" (B, H, L, G + 2 * W + 1) and "global_attentions" (B, H, L, G) per layer, float32, with
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
    input_names: ClassVar[tuple[str, ...]] = (*ENCODER_INPUTS, *ENCODER_OPTIONS)

    @classmethod
    def position_fields(cls) -> tuple[str, ...]:
        """The config fields that `resize_position_embeddings` changes."""
        return POSITION_FIELDS[:1]

    @classmethod
    def weight_map(cls, config: LEDConfig) -> WeightMap:
        """The map from the tensors of a checkpoint to this class's weights."""
        return encoder_map(config)

    def create_layers(self, embed_tokens: keras.layers.Layer | None, policy: keras.DTypePolicy) -> None:
        """Create the sublayers."""
        config = self.config
        self.num_heads = config.encoder_attention_heads
        self.layerdrop, self.layerdrop_seed = config.encoder_layerdrop, layerdrop_seeds(config.encoder_layerdrop)
        self.embed_tokens = embed_tokens or token_embedding(config, policy, "embed_tokens")
        self.embed_positions = position_embedding(config, config.max_encoder_position_embeddings, policy)
        self.embedding_norm = layer_norm(policy, "embedding_norm")
        self.blocks = [
            LEDEncoderBlock(config, layer, dtype=policy, name=f"block_{layer}")
            for layer in range(config.encoder_layers)
        ]
        self.dropout = Dropout(config.dropout, dtype=policy, name="dropout")

    def resize_position_embeddings(self, **positions: int) -> None:
        """Repeat or cut the learned positions; see `LEDModel.resize_position_embeddings`."""
        if self.owner() is not None:
            self.owner().resize_position_embeddings(**positions)
            return
        self.config = resize_positions(self, {POSITION_FIELDS[0]: self.embed_positions}, positions)
        self.forget_compiled()

    def shard_multiple(self) -> int:
        """Whole blocks of every layer."""
        return math.lcm(*(block.self_attention.geometry.block_length for block in self.blocks))

    def layers_to_build(self) -> list[keras.layers.Layer]:
        """The sublayers that are built from the shape of the hidden states."""
        return [self.embedding_norm, *self.blocks]

    def embed(self, inputs: EncoderInputs, training: bool | None) -> Tensor:
        """Token and position embeddings, normed."""
        document, embedded = current_document(), inputs.inputs_embeds
        name = "input_ids" if embedded is None else "inputs_embeds"
        limit = self.config.max_encoder_position_embeddings
        if embedded is None:
            embedded = embed_ids(self.embed_tokens, inputs.input_ids, self.config.pad_token_id)
        tokens = document.length(embedded.shape[1])
        check_length(name, tokens, "max_encoder_position_embeddings", limit)
        positions = document.positions(ops.shape(embedded)[1])
        if tokens is None:
            positions = checked_ids(f"{name}'s positions (max_encoder_position_embeddings)", positions, limit)
        if document.is_divided:
            positions = ops.minimum(positions, tokens - 1)  # padding of the last shards has none
        hidden_states = embedded + self.embed_positions(positions)
        return self.dropout(self.embedding_norm(hidden_states), training=training)

    def context(self, hidden_states: Tensor, inputs: EncoderInputs) -> EncoderContext:
        """The two masks as the blocks' context."""
        return EncoderContext(inputs.attention_mask, inputs.global_attention_mask)

    def finalize(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """Return the last block's output, which ends in a norm."""
        return hidden_states
