"""What the in-graph tokenizers of both families share: repair of UTF-8, special tokens, truncation and padding."""

import abc

import numpy as np
import tensorflow as tf

from tfmodels.text.base import Tokenizer

# No valid UTF-8 text holds this byte and no RE2 class matches it, so it separates without ambiguity.
SEPARATOR = b"\xff"


class InGraphTokenizer(tf.Module, abc.ABC):
    """A tokenizer in TensorFlow ops, equal to its Python tokenizer id for id and string for string.

    `encode` and `decode` are `tf.function`s with fixed signatures, so a SavedModel of this module offers them. All
    tables are attributes: whatever tracks the module exports them.

    Args:
        tokenizer: The Python tokenizer whose ids this module gives.
        special_token_pattern: RE2 pattern of a special token in text, with the white space that it takes along. The
            token itself is in group 1 or in group 2.
    """

    def __init__(self, tokenizer: Tokenizer, special_token_pattern: str):
        super().__init__()
        self.vocab_size = tokenizer.vocab_size
        self.pad_token_id = tokenizer.pad_token_id
        self.eos_token_id = tokenizer.eos_token_id
        self.bos_token_id = tokenizer.bos_token_id
        self.marks_global_token = tokenizer.marks_global_token
        self.repeats_final_eos = tokenizer.repeats_final_eos
        self._special_token_pattern = special_token_pattern
        is_text: np.ndarray = np.ones(tokenizer.vocab_size, dtype=bool)
        is_text[tokenizer.all_special_ids] = False
        with tf.init_scope():
            self._is_text = tf.constant(is_text)

    @abc.abstractmethod
    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids (B, None) of texts whose special tokens stand between separators."""

    @abc.abstractmethod
    def _detokenize(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Texts (B,) of ids (B, None) without special tokens."""

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids of a batch of texts, special tokens added, nothing truncated.

        Args:
            texts: string (B,). Bytes that are not UTF-8 become U+FFFD, as Python's `"replace"` does.

        Returns:
            Ragged int32 (B, None).
        """
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        marked = tf.strings.regex_replace(
            texts, self._special_token_pattern, SEPARATOR + rb"\1\2" + SEPARATOR, replace_global=True
        )
        ids = self._tokenize(marked)
        lengths = ids.row_lengths()
        pieces = [ids, self._eos_column(ids, lengths)]
        if self.bos_token_id is not None:
            pieces.insert(0, tf.RaggedTensor.from_tensor(tf.fill([ids.nrows(), 1], self.bos_token_id)))
        return tf.concat(pieces, axis=1)

    def _eos_column(self, ids: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
        if self.repeats_final_eos:
            counts = tf.ones_like(lengths)
        else:
            # A leading sentinel value keeps the gather in range for a batch of empty texts.
            last = tf.gather(tf.concat([[-1], ids.values], axis=0), ids.row_splits[1:])
            counts = tf.cast((lengths == 0) | (last != self.eos_token_id), tf.int64)
        return tf.RaggedTensor.from_row_lengths(tf.fill([tf.reduce_sum(counts)], self.eos_token_id), counts)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def decode(self, ids: tf.Tensor) -> tf.Tensor:
        """Texts of a batch of ids, special tokens and ids outside the vocabulary (such as -100) skipped.

        Args:
            ids: int32 (B, T).

        Returns:
            string (B,), valid UTF-8.
        """
        in_range = (ids >= 0) & (ids < self.vocab_size)
        is_text = in_range & tf.gather(self._is_text, tf.where(in_range, ids, 0))
        return self._detokenize(tf.ragged.boolean_mask(ids, is_text))

    def pad_batch(self, ragged_ids: tf.RaggedTensor, max_length: int) -> dict[str, tf.Tensor]:
        """Pads or truncates encoded rows to one static length; a truncated row keeps its final eos.

        Args:
            ragged_ids: Ragged int32 (B, None), as `encode` gives it.
            max_length: The length L of every row, at least 2.

        Returns:
            A dict of int32 (B, L): `input_ids`, `attention_mask` and, for LED, `global_attention_mask`.
        """
        lengths = tf.cast(ragged_ids.row_lengths(), tf.int32)
        ids = ragged_ids.to_tensor(default_value=self.pad_token_id, shape=(None, max_length))
        is_long = lengths > max_length
        kept = tf.minimum(lengths, max_length)
        if not self.repeats_final_eos:
            kept -= tf.cast(is_long & (ids[:, max_length - 2] == self.eos_token_id), tf.int32)
        column = tf.range(max_length)[tf.newaxis, :]
        is_final_eos = is_long[:, tf.newaxis] & (column == kept[:, tf.newaxis] - 1)
        is_kept = column < kept[:, tf.newaxis]
        ids = tf.where(is_final_eos, self.eos_token_id, tf.where(is_kept, ids, self.pad_token_id))
        batch = {"input_ids": ids, "attention_mask": tf.cast(is_kept, tf.int32)}
        if self.marks_global_token:
            batch["global_attention_mask"] = tf.cast((column == 0) & tf.ones_like(is_kept), tf.int32)
        for tensor in batch.values():
            tensor.set_shape((None, max_length))
        return batch


def split_at_separators(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits texts (B,) at the separators. Returns the non-empty pieces (P,) and the row (P,) each came from, int64."""
    parts = tf.raw_ops.StringSplit(input=texts, delimiter=SEPARATOR, skip_empty=True)
    return parts.values, parts.indices[:, 0]


def regroup(pieces: tf.RaggedTensor, rows: tf.Tensor, row_count: tf.Tensor) -> tf.RaggedTensor:
    """Joins the ids of pieces (P, None) that came from the same row (ascending) into ragged rows (row_count, None)."""
    piece_splits = tf.searchsorted(rows, tf.range(tf.cast(row_count, tf.int64) + 1))
    return tf.RaggedTensor.from_row_splits(pieces.values, tf.gather(pieces.row_splits, piece_splits), validate=False)
