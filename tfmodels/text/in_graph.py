"""The base class of the in-graph tokenizers: repair of UTF-8, special tokens, truncation and padding."""

import abc
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfmodels.text.added_tokens import AddedToken
from tfmodels.text.added_tokens_graph import TokenMarker, re2_literal
from tfmodels.text.arguments import check_length
from tfmodels.text.cleanup import REPLACEMENTS
from tfmodels.text.global_attention import check_global_attention
from tfmodels.text.prefixes import WINDOW, word_prefixes
from tfmodels.text.spec import TokenizerSpec
from tfmodels.text.template import kept_tokens
from tfmodels.text.unicode_classes import PYTHON_SPACE

# Bytes read at first for each requested token: few texts have more.
_BYTES_PER_TOKEN = 8


class InGraphTokenizer(tf.Module, abc.ABC):
    """A tokenizer in TensorFlow ops, equal to its Python tokenizer id for id and string for string.

    `encode` and `decode` are `tf.function`s with fixed signatures, so a SavedModel of this module offers them. All
    tables are attributes: whatever tracks the module exports them.

    Args:
        spec: the facts of the Python tokenizer, whose ids this module gives.
        tokens: the added tokens that are taken out of a text whole, by id.
        is_slow, lowers: see `TokenMarker`.
        words_stand_alone: whether a text's ids up to a space depend on nothing behind it. Otherwise long texts are
            always read whole.
    """

    def __init__(
        self,
        spec: TokenizerSpec,
        tokens: Mapping[int, AddedToken],
        is_slow: bool,
        words_stand_alone: bool,
        lowers: bool = False,
    ):
        super().__init__()
        self.spec = spec
        self._template = spec.template
        self.marker = TokenMarker(tokens, is_slow, lowers)
        has_spaces = any(" " in token.content for token in tokens.values())
        self._words_stand_alone = words_stand_alone and not has_spaces
        is_text: np.ndarray = np.ones(spec.vocab_size, dtype=bool)
        is_text[list(spec.skipped_ids)] = False
        with tf.init_scope():
            self._is_text = tf.constant(is_text)

    def _prepared(self, texts: tf.Tensor) -> tf.Tensor:
        """Texts (B,) in the form in which added tokens are looked for."""
        return texts

    @abc.abstractmethod
    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids (B, None) of texts whose added tokens stand between separators, behind the marker's mark."""

    @abc.abstractmethod
    def _detokenize(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Texts (B,) of ids (B, None) without special tokens."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def _contents(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids (B, None) of texts, no special tokens around them."""
        return self._tokenize(self.marker(self._prepared(_valid_utf8(texts))))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids of a batch of texts, special tokens added, nothing truncated.

        Args:
            texts: string (B,). Bytes that are not UTF-8 become U+FFFD, as Python's `"replace"` does.

        Returns:
            ragged int32 (B, None).
        """
        return self._with_special_tokens(self._contents(texts))

    def encode_up_to(self, texts: tf.Tensor, max_length: int) -> tf.RaggedTensor:
        """Ids as `encode` gives them, for `pad_batch` to at most `max_length`: long texts are read no further.

        Args:
            texts: string (B,), as in `encode`.
            max_length: the most requested tokens of a row.

        Returns:
            ragged int32 (B, None). A row that is longer than `max_length` stays longer, but only its first
            `max_length - 1` ids are those of the whole text.
        """
        return self._with_special_tokens(self._contents_up_to(texts, max_length))

    def _contents_up_to(self, texts: tf.Tensor, max_length: int) -> tf.RaggedTensor:
        requested = check_length(max_length, "max_length")
        if not self._words_stand_alone:
            return self._contents(texts)
        prefixes = word_prefixes(texts, _BYTES_PER_TOKEN * requested + WINDOW)
        ids = self._contents(prefixes)
        is_cut = tf.strings.length(prefixes) < tf.strings.length(texts)
        # More than requested, not as many: the last id may be an eos, and the next id another eos.
        is_short = is_cut & (ids.row_lengths() <= requested)
        return tf.cond(
            tf.reduce_any(is_short), lambda: self._contents(tf.where(is_short, texts, prefixes)), lambda: ids
        )

    def encode_pair(
        self, texts: tf.Tensor, text_pair: tf.Tensor, max_length: int
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
        """Ids of the first and of the second texts, no special tokens around them, long texts as in `encode_up_to`.

        Args:
            texts, text_pair: string (B,), as in `encode`.
            max_length: the most requested tokens of a pair.

        Returns:
            two ragged int32 (B, None), for `pair_counts` and `pad_pair_batch` to at most `max_length`.
        """
        count = tf.shape(texts)[0]
        same = tf.debugging.assert_equal(count, tf.shape(text_pair)[0], "text_pair must hold as many texts as texts")
        with tf.control_dependencies([same] if same is not None else []):
            ids = self._contents_up_to(tf.concat([texts, text_pair], axis=0), max_length)
        return ids[:count], ids[count:]

    def pair_counts(self, first: tf.RaggedTensor, second: tf.RaggedTensor) -> tf.Tensor:
        """Tokens of whole pairs with their special tokens, int32 (B,): a length of that many truncates nothing."""
        lengths = first.row_lengths() + second.row_lengths()
        return tf.cast(lengths, tf.int32) + self._template.special_count(is_pair=True)

    def _with_special_tokens(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """The rows with special tokens around them."""
        starts = tf.fill([ids.nrows()], tf.constant(self._template.start, tf.int64))
        ends = self._eos_counts(ids)
        splits = tf.concat([tf.zeros([1], tf.int64), tf.cumsum(ids.row_lengths() + starts + ends)], axis=0)
        eos_places = tf.boolean_mask(splits[1:] - 1, ends > 0)
        bos_places = tf.boolean_mask(splits[:-1], starts > 0)
        # Ragged concatenation would take as long as the tokenization.
        places = tf.concat([bos_places, eos_places], axis=0)
        is_special = tf.scatter_nd(places[:, tf.newaxis], tf.ones_like(places), splits[-1:])
        text_places = tf.where(tf.ensure_shape(is_special, [None]) == 0)[:, 0]
        special = [
            tf.fill(tf.shape(bos_places), self._template.bos_token_id or 0),
            tf.fill(tf.shape(eos_places), self._template.eos_token_id),
        ]
        values = tf.dynamic_stitch(
            [tf.cast(index, tf.int32) for index in (text_places, places)], [ids.values, tf.concat(special, axis=0)]
        )
        return tf.RaggedTensor.from_row_splits(tf.ensure_shape(values, [None]), splits, validate=False)

    def _eos_counts(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """How many eos tokens, int64 (B,), stand after each row."""
        if self._template.repeats_final_eos:
            return tf.ones_like(ids.row_lengths())
        # A leading sentinel value keeps the gather in range for a batch of empty texts.
        last = tf.gather(tf.concat([[-1], ids.values], axis=0), ids.row_splits[1:])
        return tf.cast((ids.row_lengths() == 0) | (last != self._template.eos_token_id), tf.int64)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Texts of a batch of ids, special tokens and ids outside the vocabulary (such as -100) skipped.

        Args:
            ids: int32 (B, T).

        Returns:
            string (B,), valid UTF-8.
        """
        in_range = (ids >= 0) & (ids < self.spec.vocab_size)
        is_text = in_range & tf.gather(self._is_text, tf.where(in_range, ids, 0))
        texts = self._detokenize(tf.ragged.boolean_mask(ids, is_text))
        # Joined pieces have lost it, and a server's signature must have it.
        texts.set_shape([None])
        if self.spec.cleans_up_spaces:
            for old, new in REPLACEMENTS:
                texts = tf.strings.regex_replace(texts, re2_literal(old), new)
        return texts

    def pad_batch(
        self, ragged_ids: tf.RaggedTensor, max_length: int, global_attention: str | None = None
    ) -> dict[str, tf.Tensor]:
        """Pad or truncate encoded rows to one static length; a truncated row keeps its final eos.

        Args:
            ragged_ids: ragged int32 (B, None), as `encode` gives it.
            max_length: the length L of every row, at least 2.
            global_attention: as in the tokenizer's call; "question" needs pairs.

        Returns:
            a dict of int32 (B, L): `input_ids`, `attention_mask` and, of a tokenizer that marks global tokens,
            `global_attention_mask`.
        """
        name = check_global_attention(global_attention, self.spec.marks_global_token, is_pair=False)
        check_length(max_length, "max_length")
        lengths = tf.cast(ragged_ids.row_lengths(), tf.int32)
        ids = ragged_ids.to_tensor(default_value=self.spec.pad_token_id, shape=(None, max_length))
        is_full = lengths >= max_length
        kept = tf.minimum(lengths, max_length)
        if not self._template.repeats_final_eos:
            kept -= tf.cast(is_full & (ids[:, max_length - 2] == self._template.eos_token_id), tf.int32)
        column = tf.range(max_length)[tf.newaxis, :]
        is_final_eos = is_full[:, tf.newaxis] & (column == kept[:, tf.newaxis] - 1)
        is_kept = column < kept[:, tf.newaxis]
        ids = tf.where(is_final_eos, self._template.eos_token_id, tf.where(is_kept, ids, self.spec.pad_token_id))
        is_global = (column == 0) & tf.fill(tf.shape(is_kept), name == "first")
        return self._batch(max_length, ids, is_kept, is_global)

    def pad_pair_batch(
        self,
        first: tf.RaggedTensor,
        second: tf.RaggedTensor,
        max_length: int,
        global_attention: str | None = None,
        return_segment_mask: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Put special tokens around encoded pairs and pad or truncate them to one static length.

        The second text is cut first; the first one loses only what is more than half.

        Args:
            first, second: ragged int32 (B, None), as `encode_pair` gives them.
            max_length: the length L of every row, at least 2 and the special tokens of a pair.
            global_attention: as in the tokenizer's call.
            return_segment_mask: adds `segment_mask`.

        Returns:
            a dict of int32 (B, L): the arrays of `pad_batch`, and on request `segment_mask`, 1 on the tokens of the
            second text.
        """
        template = self._template
        name = check_global_attention(global_attention, self.spec.marks_global_token, is_pair=True)
        check_length(max_length, "max_length", template.shortest(is_pair=True))
        room = max_length - template.special_count(is_pair=True)
        counts = [tf.cast(ids.row_lengths(), tf.int32) for ids in (first, second)]
        first_kept, second_kept = kept_tokens(counts[0], counts[1], room, tf.minimum, tf.maximum)
        dense = [ids.to_tensor(default_value=0, shape=(None, max_length)) for ids in (first, second)]
        first_end = template.start + first_kept
        second_start = first_end + self._added_eos(dense[0], first_kept) + template.separators
        second_end = second_start + second_kept
        row_end = second_end + self._added_eos(dense[1], second_kept)

        column = tf.range(max_length)[tf.newaxis, :]
        is_first = (column >= template.start) & (column < first_end[:, tf.newaxis])
        is_second = (column >= second_start[:, tf.newaxis]) & (column < second_end[:, tf.newaxis])
        is_kept = column < row_end[:, tf.newaxis]
        # Between, around and behind the texts there is nothing but eos and padding.
        ids = tf.where(is_kept, self._template.eos_token_id, self.spec.pad_token_id)
        ids = tf.where(is_first, tf.roll(dense[0], template.start, axis=1), ids)
        ids = tf.where(is_second, _shifted(dense[1], column - second_start[:, tf.newaxis]), ids)
        if self._template.bos_token_id is not None:
            ids = tf.where(column == 0, self._template.bos_token_id, ids)
        is_global = (is_first & (name == "question")) | ((column == 0) & (name != "none"))
        batch = self._batch(max_length, ids, is_kept, is_global)
        if return_segment_mask:
            batch["segment_mask"] = tf.ensure_shape(tf.cast(is_second, tf.int32), (None, max_length))
        return batch

    def _added_eos(self, ids: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
        """How many eos tokens, int32 (B,), stand after the first `kept` (B,) of ids (B, L)."""
        if self._template.repeats_final_eos:
            return tf.ones_like(kept)
        last = tf.gather(ids, tf.maximum(kept - 1, 0), batch_dims=1)
        return tf.cast((kept == 0) | (last != self._template.eos_token_id), tf.int32)

    def _batch(self, max_length: int, ids: tf.Tensor, is_kept: tf.Tensor, is_global: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = {"input_ids": ids, "attention_mask": tf.cast(is_kept, tf.int32)}
        if self.spec.marks_global_token:
            batch["global_attention_mask"] = tf.cast(is_global, tf.int32)
        for tensor in batch.values():
            tensor.set_shape((None, max_length))
        return batch


def _shifted(ids: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """The ids (B, L) at positions (B, L); any id where a position is outside."""
    return tf.gather(ids, tf.clip_by_value(positions, 0, tf.shape(ids)[1] - 1), batch_dims=1)


def _valid_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Texts (B,), with U+FFFD for bytes that are not UTF-8, as Python's `"replace"` does."""
    # Looking costs a fraction of transcoding, and most texts are valid.
    is_valid = tf.strings.regex_full_match(texts, r"[\x{0}-\x{d7ff}\x{e000}-\x{10ffff}]*")
    return tf.cond(
        tf.reduce_all(is_valid),
        lambda: texts,
        lambda: tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace"),
    )


def strip_white_space(texts: tf.Tensor) -> tf.Tensor:
    """Texts (B,) without white space at both ends, as Python's `str.strip`."""
    return tf.strings.regex_replace(texts, rf"^[{PYTHON_SPACE}]+|[{PYTHON_SPACE}]+$", "")
