"""What the decoders of both families share: a pass over target tokens, with a static cache or without.

Shape letters: B documents, R rows (B times the number of beams), T new target tokens, M room in the cache, S source
length, E model size, H heads.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import check_mask, checked_ids, concrete_value
from tfmodels.layers.attention.cached_attention import CachedAttention, KeysValues, write_beams, write_step
from tfmodels.modeling.cache import StaticCache
from tfmodels.modeling.encoder import per_layer
from tfmodels.modeling.stack import Stack
from tfmodels.utils.checks import check_shape


class DecoderContext(NamedTuple):
    """What all blocks get alike. self_mask: bool, broadcastable to (R, H, T, M). cross_mask: bool (B, 1, 1, S) or None.
    position_bias: float32, broadcastable as self_mask, or None. position: int32 scalar, where in the cache the first
    token goes, or None."""

    self_mask: Tensor
    cross_mask: Tensor | None
    position_bias: Tensor | None
    position: Tensor | None


class BlockOutputs(NamedTuple):
    """hidden_states: (R, T, E). keys_values: those of the self-attention. attentions, cross_attentions: float32
    (R, H, T, M) and (R, H, T, S), or None where not asked for."""

    hidden_states: Tensor
    keys_values: KeysValues
    attentions: Tensor | None
    cross_attentions: Tensor | None


class DecoderBlock(keras.layers.Layer):
    """Self-attention, cross-attention and feed-forward; a family says where its norms stand.

    Subclasses set `self_attention`, `cross_attention` (`CachedAttention`), `self_attention_norm`,
    `cross_attention_norm`, and implement `before`, `after` and `forward`.
    """

    self_attention: CachedAttention
    cross_attention: CachedAttention
    self_attention_norm: keras.layers.Layer
    cross_attention_norm: keras.layers.Layer
    # By tracing the call, which returns more than hidden states.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, hidden_states_shape: Any) -> tuple[Any, ...]:
        """(R, T, E) of the hidden states, for `summary`."""
        return tuple(hidden_states_shape)

    def before(self, hidden_states: Tensor, norm: keras.layers.Layer) -> Tensor:
        """What an attention gets."""
        raise NotImplementedError

    def after(self, hidden_states: Tensor, attended: Tensor, norm: keras.layers.Layer, training: Any) -> Tensor:
        """What an attention's output and the hidden states before it become."""
        raise NotImplementedError

    def forward(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """The feed-forward part with its residual connection."""
        raise NotImplementedError

    def call(
        self,
        hidden_states: Tensor,
        cross_keys_values: KeysValues | None,
        context: DecoderContext,
        cache: KeysValues | None = None,
        self_head_mask: Tensor | None = None,
        cross_head_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        one_per_beam: bool = False,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> BlockOutputs:
        """(R, T, E) -> (R, T, E), with the keys and values: of these tokens, or the cache with them written.

        The documents' keys and values are `cross_keys_values`; None: those of `encoder_hidden_states` (B, S, E).
        With `one_per_beam` the tokens are one of each beam of a document, and the cache that of its beams together.
        """
        queries = self.before(hidden_states, self.self_attention_norm)
        keys_values = self.self_attention.project_keys_values(queries)
        if cache is not None:
            write = write_beams if one_per_beam else write_step
            keys_values = write(cache, keys_values, context.position)
        seen = (queries, keys_values, context.self_mask, context.position_bias, self_head_mask)
        attentions = self.self_attention.probabilities(*seen) if output_attentions else None
        attended = self.self_attention(*seen, training=training)
        hidden_states = self.after(hidden_states, attended, self.self_attention_norm, training)
        queries = self.before(hidden_states, self.cross_attention_norm)
        document = (queries, cross_keys_values, context.cross_mask, cross_head_mask, encoder_hidden_states)
        cross_attentions = self.cross_attention.probabilities_per_document(*document) if output_attentions else None
        attended = self.cross_attention.attend_per_document(*document, training=training)
        hidden_states = self.after(hidden_states, attended, self.cross_attention_norm, training)
        hidden_states = self.forward(hidden_states, training)
        return BlockOutputs(hidden_states, keys_values, attentions, cross_attentions)


class Decoder(keras.layers.Layer, Stack):
    """Base of `LEDDecoder` and `LongT5Decoder`.

    Subclasses set `blocks` and `num_heads` and implement `embed`, `position_bias` and `finish`.

    Call arguments:
        input_ids: int32 (R, T), the rows of a document next to each other; or
        inputs_embeds: (R, T, E) in their place.
        encoder_hidden_states: (B, S, E); not needed with a cache.
        encoder_attention_mask: (B, S), 0 on padding; None: no padding.
        attention_mask: (R, tokens so far), 0 on padding; None: no padding.
        head_mask, cross_attn_head_mask: (layers, H) or (H,), 0 where a head is left out.
        cache: the tokens before these; None: there are none.
        use_cache: return a cache that holds these tokens too.

    Returns:
        {"last_hidden_state": (R, T, E)}, and on request "cache", "hidden_states", "attentions", "cross_attentions".
    """

    blocks: list[DecoderBlock]
    num_heads: int
    config: Any

    # By tracing the call, whose outputs depend on its arguments.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, input_shape: Any) -> dict[str, tuple[Any, ...]]:
        """Of the last hidden states, for `summary`."""
        return {"last_hidden_state": (*tuple(input_shape)[:2], self.config.d_model)}

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the decoder (with an embedding of its own)."""
        return {**super().get_config(), "config": self.config.to_dict()}

    def embed(
        self, input_ids: Tensor | None, inputs_embeds: Tensor | None, positions: Tensor, training: bool | None
    ) -> Tensor:
        """Hidden states (R, T, E) of tokens or embeddings at int32 `positions` (T,)."""
        raise NotImplementedError

    def position_bias(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        """Float32 (H, T, M) added to the self-attention scores, or None."""
        raise NotImplementedError

    def finish(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """What follows the last block."""
        raise NotImplementedError

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
        target = input_ids if inputs_embeds is None else inputs_embeds
        if encoder_hidden_states is None and cache is None:
            raise ValueError("encoder_hidden_states or a cache must be given. Received: neither")
        _check_target(target, inputs_embeds is not None, encoder_hidden_states, encoder_attention_mask)
        if inputs_embeds is None:
            input_ids = checked_ids("decoder_input_ids", input_ids, self.config.vocab_size)
        for name, mask in (("decoder_attention_mask", attention_mask), ("attention_mask", encoder_attention_mask)):
            if mask is not None:
                check_mask(name, mask)
        _check_room(target, attention_mask, cache, len(self.blocks))
        length = ops.shape(target)[1]
        position, caches = (None, None) if cache is None else (cache.position, cache.keys_values)
        cross = cache.cross if cache is not None else self._cross(encoder_hidden_states, use_cache or not training)
        positions = ops.arange(length, dtype="int32") + (0 if position is None else position)
        context = self._context(positions, position, caches, encoder_attention_mask, attention_mask)
        hidden_states, states, blocks = self._run(
            self.embed(input_ids, inputs_embeds, positions, training),
            context,
            cross,
            caches,
            *self._head_masks(head_mask, cross_attn_head_mask),
            encoder_hidden_states,
            output_attentions=output_attentions,
            training=training,
        )
        outputs: dict[str, Any] = {"last_hidden_state": self.finish(hidden_states, training)}
        if use_cache:
            written = ops.cast(length, "int32") + (0 if position is None else position)
            outputs["cache"] = StaticCache(tuple(block.keys_values for block in blocks), tuple(cross), written)
        if output_hidden_states:
            outputs["hidden_states"] = (*states, outputs["last_hidden_state"])
        if output_attentions:
            outputs["attentions"] = tuple(block.attentions for block in blocks)
            outputs["cross_attentions"] = tuple(block.cross_attentions for block in blocks)
        return outputs

    def _head_masks(self, own: Tensor | None, cross: Tensor | None) -> tuple[list[Tensor | None], list[Tensor | None]]:
        sizes = len(self.blocks), self.num_heads
        return per_layer("decoder_head_mask", own, *sizes), per_layer("cross_attn_head_mask", cross, *sizes)

    def _cross(self, encoder_hidden_states: Tensor, wants_keys: bool) -> Any:
        """The documents' keys and values for each block; None where each block makes them, again for the gradient."""
        return self.cross_keys_values(encoder_hidden_states) if wants_keys else [None] * len(self.blocks)

    def cross_keys_values(self, encoder_hidden_states: Tensor) -> list[KeysValues]:
        """Keys and values of the documents for each block; they stay the same through a generation."""
        return [block.cross_attention.project_keys_values(encoder_hidden_states) for block in self.blocks]

    def init_cache(self, rows: int | Tensor, max_length: int) -> list[KeysValues]:
        """Empty self-attention caches for `rows` targets of `max_length` tokens, one per block."""
        caches = []
        for block in self.blocks:
            attention = block.self_attention
            heads, size = attention.num_heads, attention.head_size
            keys = ops.zeros((rows, heads, size, max_length), attention.k_proj.compute_dtype)
            caches.append((keys, ops.zeros((rows, heads, max_length, size), attention.v_proj.compute_dtype)))
        return caches

    def step(
        self,
        input_ids: Tensor,
        position: Tensor,
        caches: list[KeysValues],
        cross: list[KeysValues],
        encoder_attention_mask: Tensor | None,
        ancestors: Tensor | None = None,
        head_mask: Tensor | None = None,
        cross_attn_head_mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeysValues]]:
        """Some tokens of each row, or one of each beam, as generation takes them.

        Args:
            input_ids: int32 (R, n), tokens that follow each other, the rows of a document next to each other; with
                ancestors (B, K), one token of each beam.
            position: int32 scalar, the place of the first token.
            caches: from `init_cache`, with the tokens before `position` written: for R rows of M tokens, or with
                ancestors for B rows of K * M.
            cross: from `cross_keys_values`, per document.
            encoder_attention_mask: (B, S), or None.
            ancestors: int32 (B, K, M): which beam wrote the token that a beam sees at each place.
            head_mask, cross_attn_head_mask: as in the call.

        Returns:
            Hidden states (R, n, E) or (B, K, E), and the caches with the tokens written.
        """
        if ancestors is None:
            positions = ops.arange(input_ids.shape[1], dtype="int32") + position
            context = self._context(positions, position, caches, encoder_attention_mask, None)
        else:
            positions = ops.broadcast_to(position, (input_ids.shape[1],))
            context = self._beam_context(position, ancestors, encoder_attention_mask)
        hidden_states = self.embed(input_ids, None, positions, False)
        masks = self._head_masks(head_mask, cross_attn_head_mask)
        hidden_states, _, blocks = self._run(
            hidden_states, context, cross, caches, *masks, one_per_beam=ancestors is not None
        )
        return self.finish(hidden_states, False), [block.keys_values for block in blocks]

    def _beam_context(self, position: Tensor, ancestors: Tensor, encoder_attention_mask: Any) -> DecoderContext:
        """Each beam sees, at each place up to `position`, the keys of the beam that it descends from."""
        _, beams, places = ancestors.shape
        key_positions = ops.arange(places, dtype="int32")
        is_own = ops.equal(ancestors[:, :, None], ops.arange(beams, dtype="int32")[:, None])  # (B, K, K, M)
        self_mask = ops.reshape(ops.logical_and(is_own, key_positions <= position), (-1, 1, beams, beams * places))
        cross_mask = None if encoder_attention_mask is None else padding_mask(encoder_attention_mask)
        bias = self.position_bias(ops.reshape(position, (1,)), key_positions)  # (H, 1, M), alike for all beams
        bias = None if bias is None else ops.tile(bias, (1, 1, beams))
        return DecoderContext(self_mask, cross_mask, bias, position)

    def _context(
        self, positions: Tensor, position: Tensor | None, caches: Any, encoder_attention_mask: Any, attention_mask: Any
    ) -> DecoderContext:
        key_positions = positions if caches is None else ops.arange(caches[0][1].shape[2], dtype="int32")
        self_mask = (key_positions[None, :] <= positions[:, None])[None, None]  # (1, 1, T, M)
        if attention_mask is not None:
            # A mask that ends with the newest token needs no more: what follows in the cache is not seen anyway.
            missing = ops.shape(key_positions)[0] - ops.shape(attention_mask)[1]
            padded = ops.pad(ops.not_equal(attention_mask, 0), [[0, 0], [0, missing]])
            self_mask = ops.logical_and(self_mask, padded[:, None, None, :])
        cross_mask = None if encoder_attention_mask is None else padding_mask(encoder_attention_mask)
        return DecoderContext(self_mask, cross_mask, self.position_bias(positions, key_positions), position)

    def _run(
        self,
        hidden_states: Tensor,
        context: DecoderContext,
        cross: Any,
        caches: Any,
        head_masks: list[Tensor | None],
        cross_head_masks: list[Tensor | None],
        documents: Tensor | None = None,
        one_per_beam: bool = False,
        output_attentions: bool = False,
        training: bool | None = False,
    ) -> tuple[Tensor, list[Tensor], list[BlockOutputs]]:
        """All blocks: the last hidden states, those before each block, and what each block returned."""
        states, found = [], []
        for index, block in enumerate(self.blocks):
            states.append(hidden_states)
            outputs = self.runner(block, training)(
                hidden_states,
                cross_keys_values=cross[index],
                context=context,
                cache=None if caches is None else caches[index],
                self_head_mask=head_masks[index],
                cross_head_mask=cross_head_masks[index],
                encoder_hidden_states=documents,
                one_per_beam=one_per_beam,
                output_attentions=output_attentions,
                training=training,
            )
            hidden_states = self.keep_or_drop(outputs.hidden_states, hidden_states, training)
            found.append(outputs)
        return hidden_states, states, found


def _check_target(target: Tensor, is_embedded: bool, documents: Tensor | None, mask: Tensor | None) -> None:
    """Ranks, and rows that are those of the documents or a multiple of them."""
    if is_embedded:
        check_shape("decoder_inputs_embeds", target, (None, None, None), "rows, tokens, d_model")
    else:
        check_shape("decoder_input_ids", target, (None, None), "rows, tokens")
    if documents is None:
        return
    check_shape("encoder_outputs", documents, (None, None, None), "documents, tokens, d_model")
    if mask is not None:
        check_shape("encoder_attention_mask", mask, tuple(documents.shape)[:2], "documents, tokens")
    rows, count = target.shape[0], documents.shape[0]
    if None not in (rows, count) and (count == 0 or rows % count):
        raise ValueError(f"the target must have a multiple of the {count} documents' rows. Received: {rows} rows")


def _check_room(target: Tensor, attention_mask: Tensor | None, cache: StaticCache | None, layers: int) -> None:
    """A cache with a place for every new token, and a mask of the tokens so far."""
    rows, new_tokens = target.shape[0], target.shape[1]
    room, so_far = new_tokens, None
    if cache is not None:
        if len(cache.keys_values) != layers:
            raise ValueError(f"past_key_values must have {layers} layers. Received: {len(cache.keys_values)}")
        room, position = cache.keys_values[0][1].shape[2], concrete_value(cache.position)
        if None not in (room, new_tokens):
            so_far = new_tokens + (0 if position is None else int(position))
            if so_far > room:
                raise ValueError(f"past_key_values has room for {room} tokens. Received: token {so_far}")
            so_far = None if position is None else so_far
    if attention_mask is not None and attention_mask.shape[1:2] != (so_far,):
        check_shape("decoder_attention_mask", attention_mask, (rows, room), "rows, tokens so far or room in the cache")


def padding_mask(attention_mask: Tensor) -> Tensor:
    """(B, S), 0 on padding -> bool (B, 1, 1, S)."""
    return ops.not_equal(attention_mask, 0)[:, None, None, :]
