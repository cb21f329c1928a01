"""Base class of the decoders: a pass over target tokens, with a static cache or without.

A decoder is a layer: it is loaded, saved and trained with its model.
"""

from typing import Any, ClassVar

import keras
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_mask, checked_ids, concrete_value
from tfmodels.layers.attention.cached_attention import KeysValues
from tfmodels.modeling.cache import StaticCache
from tfmodels.modeling.config import ModelConfig, config_of
from tfmodels.modeling.decoder_block import BlockOutputs, DecoderBlock, DecoderContext, LayerInputs
from tfmodels.modeling.inputs import DecoderInputs
from tfmodels.modeling.stack import block_calls, keep_or_drop, per_layer
from tfmodels.utils.checks import check_shape


class Decoder(keras.layers.Layer):
    """Base class of the decoders.

    Subclasses set `config_class`, `blocks` and `num_heads` and implement `create_layers`, `layers_to_build`, `embed`,
    `position_bias` and `finalize`.

    Args:
        config: the family's config.
        embed_tokens: the embedding layer shared with the encoder; None: create one.

    Call arguments:
        input_ids, ..., cache: see `DecoderInputs`.
        use_cache: return a cache with these tokens added.
        output_attentions, output_hidden_states: return attentions, hidden states.

    Returns:
        {"last_hidden_state": (R, T, E)}, and on request "cache", "hidden_states", "attentions", "cross_attentions".
    """

    config_class: ClassVar[type[ModelConfig]]
    blocks: list[DecoderBlock]
    num_heads: int
    config: Any
    layerdrop: float = 0.0
    layerdrop_seed: keras.random.SeedGenerator | None = None

    def __init__(self, config: Any, embed_tokens: keras.layers.Layer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.config = config_of(self.config_class, config)
        self.gradient_checkpointing = self.config.gradient_checkpointing
        with keras.name_scope(self.name, caller=self):  # for the paths of layers that are built at once
            self.create_layers(embed_tokens, self.dtype_policy)

    def create_layers(self, embed_tokens: keras.layers.Layer | None, policy: keras.DTypePolicy) -> None:
        """Create the sublayers: `embed_tokens`, `blocks` and the layers before and after them."""
        raise NotImplementedError

    def layers_to_build(self) -> list[keras.layers.Layer]:
        """The sublayers to build from the shape of the hidden states."""
        raise NotImplementedError

    def embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, positions: Tensor, training: bool | None
    ) -> Tensor:
        """The hidden states (R, T, E) of tokens or embeddings at int32 `positions` (T,)."""
        raise NotImplementedError

    def position_bias(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        """The bias of the self-attention scores, float32 (H, T, M), or None."""
        raise NotImplementedError

    def finalize(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """The last hidden states, from the last block's output."""
        raise NotImplementedError

    def build(self, input_shape: Any = None) -> None:
        """Create every weight; the config determines all shapes."""
        for layer in self.layers_to_build():
            layer.build((None, None, self.config.d_model))
        self.built = True

    # Trace the call, whose outputs depend on its arguments.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[Any, ...]]:
        """The shape of the last hidden states, for `summary`."""
        return {"last_hidden_state": (*tuple(input_shape)[:2], self.config.d_model)}

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the decoder (with a separate embedding)."""
        return {**super().get_config(), "config": self.config.to_dict()}

    def call(
        self,
        input_ids: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        head_mask: Tensor | None = None,
        cross_attn_head_mask: Tensor | None = None,
        cache: StaticCache | None = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        training: bool | None = None,
    ) -> dict[str, Any]:
        """Run over target tokens; see the class docstring."""
        inputs = self._checked(
            DecoderInputs(
                input_ids,
                inputs_embeds,
                attention_mask,
                head_mask,
                cross_attn_head_mask,
                encoder_hidden_states,
                encoder_attention_mask,
                cache,
            )
        )
        target = inputs.input_ids if inputs.inputs_embeds is None else inputs.inputs_embeds
        length, written = ops.shape(target)[1], 0 if cache is None else cache.position
        positions = ops.arange(length, dtype="int32") + written
        cross: list[Any]
        if cache is not None:
            cross = list(cache.cross)
        elif use_cache or not training:
            cross = self.cross_keys_values(inputs.encoder_hidden_states)
        else:
            cross = [None] * len(self.blocks)  # each block projects them, and again for its gradient
        hidden_states, states, blocks = self._run(
            self.embed(inputs.input_ids, inputs.inputs_embeds, positions, training),
            self._context(inputs, positions),
            self._layer_inputs(inputs, cross),
            output_attentions=output_attentions,
            training=training,
        )
        outputs: dict[str, Any] = {"last_hidden_state": self.finalize(hidden_states, training)}
        if use_cache:
            keys_values = tuple(block.keys_values for block in blocks)
            outputs["cache"] = StaticCache(keys_values, tuple(cross), ops.cast(length, "int32") + written)
        if output_hidden_states:
            outputs["hidden_states"] = (*states, outputs["last_hidden_state"])
        if output_attentions:
            outputs["attentions"] = tuple(block.attentions for block in blocks)
            outputs["cross_attentions"] = tuple(block.cross_attentions for block in blocks)
        return outputs

    def cross_keys_values(self, encoder_hidden_states: Tensor) -> list[KeysValues]:
        """Project the documents (B, S, E) to keys and values for each block, constant through a generation."""
        return [block.cross_attention.project_keys_values(encoder_hidden_states) for block in self.blocks]

    def init_cache(self, rows: int | Tensor, max_length: int) -> list[KeysValues]:
        """Create empty self-attention caches, one per block.

        Args:
            rows: R.
            max_length: M.

        Returns:
            Zeros for keys (R, H, D, M) and values (R, H, M, D) of each block, in the projections' compute dtypes.
        """
        caches = []
        for block in self.blocks:
            attention = block.self_attention
            heads, size = attention.num_heads, attention.head_size
            keys = ops.zeros((rows, heads, size, max_length), attention.k_proj.compute_dtype)
            caches.append((keys, ops.zeros((rows, heads, max_length, size), attention.v_proj.compute_dtype)))
        return caches

    def step(self, inputs: DecoderInputs, ancestors: Tensor | None = None) -> tuple[Tensor, list[KeysValues]]:
        """Run over some tokens of each row, or over one token of each beam, for generation.

        Args:
            inputs: with `input_ids` int32 (R, T), consecutive tokens, and a `cache` for R rows of M tokens with the
                tokens before its `position` written; or, with ancestors, with one token of each beam (B, K) and a
                cache for B rows of K * M tokens.
            ancestors: int32 (B, K, M), the beam that wrote the token that a beam sees at each place.

        Returns:
            The hidden states (R, T, E) or (B, K, E), and the caches with the tokens written.

        Raises:
            ValueError: inputs without `input_ids` or a cache.
        """
        cache, tokens = inputs.cache, inputs.input_ids
        if cache is None or tokens is None:
            raise ValueError("inputs must have input_ids and a cache. Received: not both")
        if ancestors is None:
            positions = ops.arange(tokens.shape[1], dtype="int32") + cache.position
            context = self._context(inputs, positions)
        else:
            positions = ops.broadcast_to(cache.position, (tokens.shape[1],))
            context = self._beam_context(inputs, cache.position, ancestors)
        hidden_states, _, blocks = self._run(
            self.embed(tokens, None, positions, False),
            context,
            self._layer_inputs(inputs, list(cache.cross)),
            one_per_beam=ancestors is not None,
        )
        return self.finalize(hidden_states, False), [block.keys_values for block in blocks]

    def _context(self, inputs: DecoderInputs, positions: Tensor) -> DecoderContext:
        """The context in which each token sees the earlier tokens and itself."""
        cache = inputs.cache
        room = None if cache is None else ops.shape(cache.keys_values[0][1])[2]
        key_positions = positions if cache is None else ops.arange(room, dtype="int32")
        self_mask = (key_positions[None, :] <= positions[:, None])[None, None]  # (1, 1, T, M)
        if inputs.attention_mask is not None:
            # A mask may end with the newest token: no token sees the rest of the cache anyway.
            missing = ops.shape(key_positions)[0] - ops.shape(inputs.attention_mask)[1]
            padded = ops.pad(ops.not_equal(inputs.attention_mask, 0), [[0, 0], [0, missing]])
            self_mask = ops.logical_and(self_mask, padded[:, None, None, :])
        return DecoderContext(
            self_mask,
            _cross_mask(inputs),
            self.position_bias(positions, key_positions),
            None if cache is None else cache.position,
            inputs.encoder_hidden_states,
        )

    def _beam_context(self, inputs: DecoderInputs, position: Tensor, ancestors: Tensor) -> DecoderContext:
        """The context in which each beam sees, at each place up to `position`, the keys of its ancestor."""
        _, beams, places = ancestors.shape
        key_positions = ops.arange(places, dtype="int32")
        is_ancestor = ops.equal(ancestors[:, :, None], ops.arange(beams, dtype="int32")[:, None])  # (B, K, K, M)
        is_visible = ops.logical_and(is_ancestor, key_positions <= position)
        self_mask = ops.reshape(is_visible, (-1, 1, beams, beams * places))  # (B, 1, K, K * M)
        bias = self.position_bias(ops.reshape(position, (1,)), key_positions)  # (H, 1, M), equal for all beams
        bias = None if bias is None else ops.tile(bias, (1, 1, beams))  # (H, 1, K * M)
        return DecoderContext(self_mask, _cross_mask(inputs), bias, position)

    def _layer_inputs(self, inputs: DecoderInputs, cross: list[Any]) -> list[LayerInputs]:
        layers = len(self.blocks)
        caches: list[Any] = [None] * layers if inputs.cache is None else list(inputs.cache.keys_values)
        head_masks = per_layer("decoder_head_mask", inputs.head_mask, layers, self.num_heads)
        cross_head_masks = per_layer("cross_attn_head_mask", inputs.cross_attn_head_mask, layers, self.num_heads)
        return [LayerInputs(*each) for each in zip(caches, cross, head_masks, cross_head_masks, strict=True)]

    def _run(
        self,
        hidden_states: Tensor,
        context: DecoderContext,
        layers: list[LayerInputs],
        one_per_beam: bool = False,
        output_attentions: bool = False,
        training: bool | None = False,
    ) -> tuple[Tensor, list[Tensor], list[BlockOutputs]]:
        """Run all blocks: the last hidden states, the states before each block, and the outputs of each block."""
        states, outputs = [], []
        call = block_calls(self.blocks, bool(self.gradient_checkpointing and training))
        for block, layer in zip(self.blocks, layers, strict=True):
            states.append(hidden_states)
            after = call(
                block,
                hidden_states,
                context=context,
                layer=layer,
                one_per_beam=one_per_beam,
                output_attentions=output_attentions,
                training=training,
            )
            hidden_states = keep_or_drop(
                after.hidden_states, hidden_states, self.layerdrop, self.layerdrop_seed, training
            )
            outputs.append(after)
        return hidden_states, states, outputs

    def _checked(self, inputs: DecoderInputs) -> DecoderInputs:
        """The inputs, after checks of ranks, rows, ids, masks and the cache."""
        if inputs.encoder_hidden_states is None and inputs.cache is None:
            raise ValueError("encoder_hidden_states or a cache must be given. Received: neither")
        _check_target(inputs)
        if inputs.inputs_embeds is None:
            ids = checked_ids("decoder_input_ids", inputs.input_ids, self.config.vocab_size)
            inputs = inputs._replace(input_ids=ids)
        if inputs.attention_mask is not None:
            check_mask("decoder_attention_mask", inputs.attention_mask)
        if inputs.encoder_attention_mask is not None:
            check_mask("attention_mask", inputs.encoder_attention_mask)
        _check_room(inputs, len(self.blocks))
        return inputs


def _check_target(inputs: DecoderInputs) -> None:
    """Raise `ValueError` for wrong ranks, and for a number of rows that the documents do not divide."""
    target = inputs.input_ids if inputs.inputs_embeds is None else inputs.inputs_embeds
    if inputs.inputs_embeds is None:
        check_shape("decoder_input_ids", target, (None, None), "rows, tokens")
    else:
        check_shape("decoder_inputs_embeds", target, (None, None, None), "rows, tokens, d_model")
    documents = inputs.encoder_hidden_states
    if documents is None:
        return
    check_shape("encoder_outputs", documents, (None, None, None), "documents, tokens, d_model")
    if inputs.encoder_attention_mask is not None:
        shape = tuple(documents.shape)[:2]
        check_shape("encoder_attention_mask", inputs.encoder_attention_mask, shape, "documents, tokens")
    rows, count = target.shape[0], documents.shape[0]  # type: ignore[union-attr]
    if None not in (rows, count) and (count == 0 or rows % count):
        raise ValueError(f"the target must have a multiple of the {count} documents' rows. Received: {rows} rows")


def _check_room(inputs: DecoderInputs, layers: int) -> None:
    """Raise `ValueError` for a cache without room for the new tokens, or a mask of the wrong shape."""
    target = inputs.input_ids if inputs.inputs_embeds is None else inputs.inputs_embeds
    rows, new_tokens = target.shape[:2]  # type: ignore[union-attr]
    room, so_far, cache, mask = new_tokens, None, inputs.cache, inputs.attention_mask
    if cache is not None:
        if len(cache.keys_values) != layers:
            raise ValueError(f"past_key_values must have {layers} layers. Received: {len(cache.keys_values)}")
        room, position = cache.keys_values[0][1].shape[2], concrete_value(cache.position)
        if None not in (room, new_tokens):
            so_far = new_tokens + (0 if position is None else int(position))
            if so_far > room:
                raise ValueError(f"past_key_values has room for {room} tokens. Received: token {so_far}")
            so_far = None if position is None else so_far
    if mask is not None and mask.shape[1:2] != (so_far,):
        check_shape("decoder_attention_mask", mask, (rows, room), "rows, tokens so far or room in the cache")


def _cross_mask(inputs: DecoderInputs) -> Tensor | None:
    """(B, S), 0 on padding -> bool (B, 1, 1, S); None without a mask."""
    mask = inputs.encoder_attention_mask
    return None if mask is None else ops.not_equal(mask, 0)[:, None, None, :]
