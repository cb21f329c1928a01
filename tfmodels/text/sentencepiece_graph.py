"""SentencePiece (Kudo and Richardson 2018) in TensorFlow ops, with T5's sentinels above its vocabulary."""

import struct

import numpy as np
import tensorflow as tf
import tensorflow_text

from tfmodels.text.base import Tokenizer
from tfmodels.text.in_graph import InGraphTokenizer, regroup, split_at_separators, strip_white_space

# The normalization makes a space of each of these.
_WHITE_SPACE = b" \t\r\n"
# The package adds the scores of pieces in float32 and begins at zero again where their sum falls below this.
_LOWEST_SUM = 1e5
# What an unknown character costs more than the worst piece.
_UNKNOWN_PENALTY = 10.0


class SentencePieceGraph(InGraphTokenizer):
    """SentencePiece by tensorflow_text between the special tokens, which SentencePiece itself never sees.

    Between segmentations of equal likelihood rounding decides, so ids equal those of the sentencepiece package (0.2.3)
    only where scores are added up in the same precision and order. Both libraries add them in float32 along a text.
    What differs between them is made alike here: the package begins at zero again after some 17,000 pieces, which
    `_cut` follows, and it charges once for an unknown character, tensorflow_text for each of its bytes, which
    `_with_free_bytes` amends.

    Measured: equal ids for all of 200,000 strings of random characters of all scripts, texts of a million characters
    and the 24,036 documents of the demo corpus (61 MB of source text). Not in one case: within a single word, without
    white space, of more than some 17,000 pieces, such as a megabyte of base64, nothing is cut; 0.4% of its ids were
    other pieces for the same characters, which `decode` gives back alike.

    Args:
        tokenizer: The Python tokenizer whose ids this module gives.
        special_token_pattern: See `InGraphTokenizer`.
        model_proto: The serialized SentencePiece model.
        piece_scores: The score of each piece of the model, by id.
        words_stand_alone: See `InGraphTokenizer`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        special_token_pattern: str,
        model_proto: bytes,
        piece_scores: list[float],
        words_stand_alone: bool,
    ):
        super().__init__(tokenizer, special_token_pattern, words_stand_alone)
        names = list(tokenizer.special_tokens)
        self._piece_count = len(piece_scores)
        costs: np.ndarray = np.concatenate([-np.array(piece_scores), np.zeros(len(_LATER_BYTES))])
        self._unknown_cost = _UNKNOWN_PENALTY - min(piece_scores)
        costs[tokenizer.unk_token_id] = self._unknown_cost
        with tf.init_scope():
            # Not `SentencepieceTokenizer`: it compares scores in double that it keeps in float, so that between equally
            # likely pieces ("aaa" + "a", "a" + "aaa") rounding decides otherwise than in the Python package.
            self._sentencepiece = tensorflow_text.FastSentencepieceTokenizer(_with_free_bytes(model_proto))
            self._piece_costs = tf.constant(costs, tf.float64)
            self._special_ids = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(names), tf.constant(list(tokenizer.special_tokens.values()), tf.int32)
                ),
                -1,
            )

    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        stretches, rows = split_at_separators(texts)
        special_ids = self._special_ids.lookup(stretches)
        is_special = special_ids >= 0
        ordinary = self._pieces(tf.where(is_special, "", stretches))
        if self._words_stand_alone:
            # Nothing costs more than an unknown character.
            highest = tf.cast(ordinary.row_lengths(), tf.float64) * self._unknown_cost
            may_be_long = tf.reduce_any(highest > _LOWEST_SUM)
            ordinary = tf.cond(may_be_long, lambda: self._with_cuts(ordinary, stretches), lambda: ordinary)
        ids = tf.cond(
            tf.reduce_any(ordinary.values >= self._piece_count),
            lambda: self._with_merged_unknowns(ordinary),
            lambda: ordinary,
        )
        ids = tf.cond(
            tf.reduce_any(is_special),
            lambda: tf.concat([_single_ids(special_ids, is_special), ids], axis=1),
            lambda: ids,
        )
        return regroup(ids, rows, tf.size(texts))

    def _pieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Ids (T, None) of texts (T,), each unknown character for itself and its further bytes with it."""
        return self._sentencepiece.tokenize(texts).with_row_splits_dtype(tf.int64)

    def _with_cuts(self, ids: tf.RaggedTensor, stretches: tf.Tensor) -> tf.RaggedTensor:
        """The ids (S, None) of stretches (S,), where the long ones are encoded anew in parts."""
        is_long = self._costs(ids) > _LOWEST_SUM
        return tf.cond(tf.reduce_any(is_long), lambda: self._long_ones_anew(ids, stretches, is_long), lambda: ids)

    def _long_ones_anew(self, ids: tf.RaggedTensor, stretches: tf.Tensor, is_long: tf.Tensor) -> tf.RaggedTensor:
        # Not `tf.searchsorted`, which looks for the row of each id anew.
        ends = ids.row_splits[1:, tf.newaxis]
        row_of_id = tf.cumsum(tf.scatter_nd(ends, tf.ones_like(ends[:, 0]), ids.row_splits[-1:] + 1))[:-1]
        short = _kept(ids, ~tf.gather(is_long, row_of_id))
        parts, rows = self._cut(tf.boolean_mask(stretches, is_long))
        rows = tf.gather(tf.where(is_long)[:, 0], rows)
        return tf.concat([short, regroup(self._pieces(parts), rows, tf.size(stretches))], axis=1)

    def _cut(self, stretches: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Parts (P,) of stretches (S,), from where the package begins to add up anew, and the stretch of each (P,)."""
        words, places = split_at_separators(stretches, _WHITE_SPACE)
        distinct, index = tf.unique(words)
        costs = tf.gather(self._costs(self._pieces(distinct)), index)
        sums = tf.cumsum(costs, exclusive=True)
        starts = tf.gather(sums, tf.searchsorted(places, places))
        parts = tf.cast((sums - starts) / _LOWEST_SUM, tf.int64)
        is_first = tf.concat([[True], (parts[1:] != parts[:-1]) | (places[1:] != places[:-1])], axis=0)
        part_of_word = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
        joined = tf.strings.unsorted_segment_join(words, part_of_word, part_of_word[-1] + 1, separator=" ")
        return joined, tf.boolean_mask(places, is_first)

    def _costs(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """What the pieces (T, None) of texts cost, float64 (T,)."""
        # `tf.reduce_sum` of a ragged tensor goes through a (rows, longest row) matrix.
        costs = tf.cumsum(tf.gather(self._piece_costs, ids.values))
        costs = tf.concat([tf.zeros([1], tf.float64), costs], axis=0)
        return tf.gather(costs, ids.row_splits[1:]) - tf.gather(costs, ids.row_splits[:-1])

    def _with_merged_unknowns(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """Ids (T, None) with one unknown token for each run of unknown characters, as the package has it."""
        ids = _kept(ids, ids.values < self._piece_count)
        is_unknown = ids.values == self.unk_token_id
        is_start = tf.scatter_nd(ids.row_splits[:, tf.newaxis], tf.ones_like(ids.row_splits), ids.row_splits[-1:] + 1)
        follows = tf.concat([tf.zeros_like(is_unknown[:1]), is_unknown[:-1]], axis=0) & (is_start[:-1] == 0)
        return _kept(ids, ~(is_unknown & follows))

    def _detokenize(self, ids: tf.RaggedTensor) -> tf.Tensor:
        return strip_white_space(self._sentencepiece.detokenize(ids.with_row_splits_dtype(tf.int32)))


# The bytes of UTF-8 that begin no character.
_LATER_BYTES = range(0x80, 0xC0)


def _with_free_bytes(model_proto: bytes) -> bytes:
    """The model with a piece of score 0 for each byte that begins no character.

    Of an unknown character the first byte is then unknown, and the others cost nothing. Known characters keep their
    pieces: whatever holds an unknown byte costs more.
    """
    # Serialized messages that follow each other are one, with the repeated fields of both. The fields of a piece are
    # its bytes (1) and its score (2).
    fields = [b"\x0a\x01" + bytes([value]) + b"\x15" + struct.pack("<f", 0.0) for value in _LATER_BYTES]
    return model_proto + b"".join(b"\x0a" + bytes([len(field)]) + field for field in fields)


def _single_ids(ids: tf.Tensor, is_there: tf.Tensor) -> tf.RaggedTensor:
    """One id, of ids (S,), in each row for which `is_there`, and none in the others."""
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(ids, is_there), tf.cast(is_there, tf.int64))


def _kept(ids: tf.RaggedTensor, is_kept: tf.Tensor) -> tf.RaggedTensor:
    """The ids of each row for which `is_kept`, a vector over all of them."""
    counts = tf.concat([tf.zeros([1], tf.int64), tf.cumsum(tf.cast(is_kept, tf.int64))], axis=0)
    return tf.RaggedTensor.from_row_splits(
        tf.boolean_mask(ids.values, tf.ensure_shape(is_kept, [None])), tf.gather(counts, ids.row_splits), validate=False
    )
