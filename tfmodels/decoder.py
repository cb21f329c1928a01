"""What the decoders of both families share: one pass over a target, and one step with a static cache.

Shape letters: B documents, R rows (B times the number of beams), T target length, S source length, E model size.
"""

from typing import Any

import keras
from keras import ops

from tfmodels.layers.cached_attention import CachedAttention, KeysValues, write_step

Tensor = Any


class DecoderBlock(keras.layers.Layer):
    """Self-attention, cross-attention and feed-forward; a family says where its norms stand.

    Subclasses set `self_attention`, `cross_attention` (`CachedAttention`) and implement `call`, in which
    `self.attend_to_self` and `self.cross_attention.attend_per_document` do the attending.
    """

    self_attention: CachedAttention
    cross_attention: CachedAttention

    def attend_to_self(
        self,
        hidden_states: Tensor,
        mask: Tensor,
        position_bias: Tensor | None,
        cache: KeysValues | None,
        position: Tensor | None,
        training: bool | None,
    ) -> tuple[Tensor, KeysValues]:
        """Attention over the target, and its keys and values: those of `hidden_states`, or the cache with them written.

        Args:
            hidden_states: (R, T, E); one token when there is a cache.
            mask: bool, broadcastable to (R, H, T, keys).
            position_bias: float32, broadcastable likewise, or None.
            cache: keys and values of the tokens before, or None.
            position: int32 scalar, where in the cache the token goes.
            training: as in Keras.
        """
        keys_values = self.self_attention.project_keys_values(hidden_states)
        if cache is not None:
            keys_values = write_step(cache, keys_values, position)
        output = self.self_attention(
            hidden_states, keys_values=keys_values, attention_mask=mask, position_bias=position_bias, training=training
        )
        return output, keys_values


class Decoder(keras.layers.Layer):
    """Base of `LEDDecoder` and `LongT5Decoder`.

    Subclasses set `blocks` and implement `embed`, `position_bias` and `finish`.

    Call arguments:
        input_ids: int32 (B, T).
        encoder_hidden_states: (B, S, E).
        encoder_attention_mask: (B, S), 0 on padding; None: no padding.
        attention_mask: (B, T), 0 on padding; None: no padding.

    Returns:
        {"last_hidden_state": (B, T, E)}.
    """

    blocks: list[DecoderBlock]

    def embed(self, input_ids: Tensor, positions: Tensor, training: bool | None) -> Tensor:
        """Hidden states (R, T, E) of tokens at int32 `positions` (T,)."""
        raise NotImplementedError

    def position_bias(self, query_positions: Tensor, key_positions: Tensor) -> Tensor | None:
        """Float32 (H, T, keys) added to the self-attention scores, or None."""
        raise NotImplementedError

    def finish(self, hidden_states: Tensor, training: bool | None) -> Tensor:
        """What follows the last block."""
        raise NotImplementedError

    def call(
        self,
        input_ids: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        training: bool | None = None,
    ) -> dict[str, Tensor]:
        """Run over a whole target; see the class docstring."""
        positions = ops.arange(ops.shape(input_ids)[1], dtype="int32")
        mask = (positions[None, :] <= positions[:, None])[None, None]  # (1, 1, T, T)
        if attention_mask is not None:
            mask = ops.logical_and(mask, padding_mask(attention_mask))
        hidden_states = self.embed(input_ids, positions, training)
        cross = self.cross_keys_values(encoder_hidden_states)
        hidden_states, _ = self._run(
            hidden_states,
            mask,
            self.position_bias(positions, positions),
            cross,
            encoder_attention_mask,
            None,
            None,
            training,
        )
        return {"last_hidden_state": self.finish(hidden_states, training)}

    def cross_keys_values(self, encoder_hidden_states: Tensor) -> list[KeysValues]:
        """Keys and values of the documents for each block; they stay the same through a generation."""
        return [block.cross_attention.project_keys_values(encoder_hidden_states) for block in self.blocks]

    def init_cache(self, rows: int | Tensor, max_length: int) -> list[KeysValues]:
        """Empty self-attention caches for `rows` targets of `max_length` tokens, one per block."""
        caches = []
        for block in self.blocks:
            heads, size = block.self_attention.num_heads, block.self_attention.head_size
            keys = ops.zeros((rows, heads, size, max_length), self.compute_dtype)
            caches.append((keys, ops.zeros((rows, heads, max_length, size), self.compute_dtype)))
        return caches

    def step(
        self,
        input_ids: Tensor,
        position: Tensor,
        caches: list[KeysValues],
        cross: list[KeysValues],
        encoder_attention_mask: Tensor | None,
    ) -> tuple[Tensor, list[KeysValues]]:
        """One token for each row.

        Args:
            input_ids: int32 (R, 1), the rows of a document next to each other.
            position: int32 scalar.
            caches: from `init_cache`, with the tokens before `position` written.
            cross: from `cross_keys_values`, per document.
            encoder_attention_mask: (B, S), or None.

        Returns:
            Hidden states (R, 1, E), and the caches with this token written.
        """
        positions = ops.reshape(position, (1,))
        key_positions = ops.arange(caches[0][1].shape[2], dtype="int32")
        mask = (key_positions <= position)[None, None, None, :]
        bias = self.position_bias(positions, key_positions)
        hidden_states = self.embed(input_ids, positions, False)
        hidden_states, caches = self._run(
            hidden_states, mask, bias, cross, encoder_attention_mask, caches, position, False
        )
        return self.finish(hidden_states, False), caches

    def _run(
        self,
        hidden_states: Tensor,
        mask: Tensor,
        position_bias: Tensor | None,
        cross: list[KeysValues],
        encoder_attention_mask: Tensor | None,
        caches: list[KeysValues] | None,
        position: Tensor | None,
        training: bool | None,
    ) -> tuple[Tensor, list[KeysValues]]:
        cross_mask = None if encoder_attention_mask is None else padding_mask(encoder_attention_mask)
        keys_values = []
        for index, block in enumerate(self.blocks):
            hidden_states, block_keys_values = block(
                hidden_states,
                cross_keys_values=cross[index],
                self_mask=mask,
                cross_mask=cross_mask,
                position_bias=position_bias,
                cache=None if caches is None else caches[index],
                position=position,
                training=training,
            )
            keys_values.append(block_keys_values)
        return hidden_states, keys_values


def padding_mask(attention_mask: Tensor) -> Tensor:
    """(B, S), 0 on padding -> bool (B, 1, 1, S)."""
    return ops.not_equal(attention_mask, 0)[:, None, None, :]
