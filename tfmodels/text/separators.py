"""Texts whose parts are separated by a byte of no valid text, and tables, for the graph."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

# No valid UTF-8 text holds this byte and no RE2 class matches it, so it separates without ambiguity.
SEPARATOR = b"\xff"


def split_at_separators(texts: tf.Tensor, further: bytes = b"") -> tuple[tf.Tensor, tf.Tensor]:
    """Split texts (B,) at the separators and at the bytes of `further`.

    Returns:
        the non-empty pieces (P,) and the row (P,) each came from, int64.
    """
    parts = tf.raw_ops.StringSplit(input=texts, delimiter=SEPARATOR + further, skip_empty=True)
    return parts.values, parts.indices[:, 0]


def joined_with_separators(pieces: tf.Tensor, rows: tf.Tensor, row_count: tf.Tensor) -> tf.Tensor:
    """Texts (row_count,) of pieces (P,) and the row (P,) of each, ascending, for `split_at_separators`."""
    return tf.strings.unsorted_segment_join(pieces, rows, row_count, separator=SEPARATOR)


def regroup(pieces: tf.RaggedTensor, rows: tf.Tensor, row_count: tf.Tensor) -> tf.RaggedTensor:
    """Join the ids of pieces (P, None) that came from the same row (ascending) into ragged rows (row_count, None)."""
    piece_splits = tf.searchsorted(rows, tf.range(tf.cast(row_count, tf.int64) + 1))
    return tf.RaggedTensor.from_row_splits(pieces.values, tf.gather(pieces.row_splits, piece_splits), validate=False)


def static_table(
    keys: Sequence[Any], key_dtype: tf.DType, values: Sequence[int], default: int
) -> tf.lookup.StaticHashTable:
    """A table from keys to int32 values; without keys, of strings alone, every string has the default."""
    if not keys:
        # TensorFlow refuses an empty table, and no text is a separator.
        keys, values = [SEPARATOR], [default]
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(keys, key_dtype, shape=[len(keys)]), tf.constant(values, tf.int32, shape=[len(values)])
    )
    return tf.lookup.StaticHashTable(initializer, default)
