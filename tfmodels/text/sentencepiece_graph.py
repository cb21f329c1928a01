"""SentencePiece (Kudo and Richardson 2018) in TensorFlow ops, with T5's sentinels above its vocabulary."""

import dataclasses
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfmodels.text.added_tokens import AddedToken
from tfmodels.text.in_graph import InGraphTokenizer, strip_white_space
from tfmodels.text.sentencepiece_model import NO_PREFIX, SPACE_MARK
from tfmodels.text.separators import regroup, split_at_separators, static_table
from tfmodels.text.spec import TokenizerSpec

# The normalization makes a space of each of these.
_WHITE_SPACE = b" \t\r\n"
# The package adds the scores of pieces in float32 and begins at zero again where their sum falls below this.
_LOWEST_SUM = 1e5
# An unknown character costs so much more than the worst piece.
_UNKNOWN_PENALTY = 10.0


@dataclasses.dataclass(frozen=True)
class SentencePieceModel:
    """A serialized model, the score of each of its pieces by id, and the id of unknown characters."""

    proto: bytes
    scores: Sequence[float]
    unknown_id: int


@dataclasses.dataclass(frozen=True)
class Guard:
    """The reading of stretches that have no prefix but their own white space.

    Attributes:
        text: put in front of a stretch that begins with a space, so that the space stays, and taken out again.
        length: the number of its ids.
        adds_prefix_space: whether a text begins with a space of its own.
        vanishing: the characters that the model takes off the start of a text, as ranges for an RE2 class.
        shortened: the characters that it shortens there, with the rest.
    """

    text: str
    length: int
    adds_prefix_space: bool
    vanishing: str
    shortened: Mapping[str, str]


class SentencePieceGraph(InGraphTokenizer):
    """SentencePiece by tensorflow_text between the special tokens, which SentencePiece itself never sees.

    Between segmentations of equal likelihood rounding decides, so ids equal those of the sentencepiece package (0.2.3)
    only where scores are added up in the same precision and order. Both libraries add them in float32 along a text.
    Two differences are evened out here: the package begins at zero again after some 17,000 pieces, which
    `_cut` follows, and it charges once for an unknown character, tensorflow_text for each of its bytes, which
    `_with_free_bytes` amends.

    Measured: equal ids for all of 200,000 strings of random characters of all scripts, texts of a million characters
    and the 24,036 documents of the demo corpus (61 MB of source text). One case differs: a single word,
    without white space, of more than some 17,000 pieces, such as a megabyte of base64, is never cut; 0.4% of its ids
    were other pieces for the same characters, so that `decode` gives the same text.

    Args:
        spec: see `InGraphTokenizer`.
        tokens: the added tokens that are taken out of a text whole, by id.
        model: the SentencePiece model.
        words_stand_alone: see `InGraphTokenizer`.
        guard: the reading of stretches without a prefix of their own; `None` where each has one.
    """

    def __init__(
        self,
        spec: TokenizerSpec,
        tokens: Mapping[int, AddedToken],
        model: SentencePieceModel,
        words_stand_alone: bool,
        guard: Guard | None = None,
    ):
        import tensorflow_text

        super().__init__(spec, tokens, is_slow=True, words_stand_alone=words_stand_alone)
        self._guard = guard
        self._unknown_id = model.unknown_id
        self._piece_count = len(model.scores)
        costs: np.ndarray = np.concatenate([-np.array(model.scores), np.zeros(len(_LATER_BYTES))])
        self._unknown_cost = _UNKNOWN_PENALTY - min(model.scores)
        costs[model.unknown_id] = self._unknown_cost
        skipped = set(spec.skipped_ids)
        apart = {index: token.content for index, token in spec.added_tokens.items() if index not in skipped}
        with tf.init_scope():
            # Not `SentencepieceTokenizer`: it compares scores in double that it keeps in float, so that between equally
            # likely pieces ("aaa" + "a", "a" + "aaa") rounding decides otherwise than in the Python package.
            self._sentencepiece = tensorflow_text.FastSentencepieceTokenizer(_with_free_bytes(model.proto))
            self._unprefixed = self._sentencepiece
            if guard is not None:
                proto = _with_free_bytes(model.proto + NO_PREFIX)
                self._unprefixed = tensorflow_text.FastSentencepieceTokenizer(proto)
                # For a model without such characters: TensorFlow refuses an empty table.
                names, kept = list(guard.shortened) or [""], list(guard.shortened.values()) or [""]
                initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(names), tf.constant(kept))
                self._shortened = tf.lookup.StaticHashTable(initializer, "")
            self._piece_costs = tf.constant(costs, tf.float64)
            contents = [token.content for token in tokens.values()]
            self._added_ids = static_table(contents, tf.string, list(tokens), -1)
            # The texts of tokens that decoding keeps, by id.
            self._apart = (
                tf.constant([apart.get(index, "") for index in range(self.spec.vocab_size)]) if apart else None
            )

    def _prepared(self, texts: tf.Tensor) -> tf.Tensor:
        if self._guard is None:
            return texts
        spaced = tf.strings.regex_replace(texts, SPACE_MARK, " ")
        return tf.where(texts == "", texts, tf.strings.join([SPACE_MARK * self._guard.adds_prefix_space, spaced]))

    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        stretches, rows = split_at_separators(texts)
        added_ids = self._added_ids.lookup(stretches)
        is_added = added_ids >= 0
        ids = self._text_ids(tf.where(is_added, "", stretches))
        ids = tf.cond(
            tf.reduce_any(is_added),
            lambda: tf.concat([_single_ids(added_ids, is_added), ids], axis=1),
            lambda: ids,
        )
        return regroup(ids, rows, tf.size(texts))

    def _text_ids(self, stretches: tf.Tensor) -> tf.RaggedTensor:
        """Ids (S, None) of stretches of text (S,)."""
        guard = self._guard
        if guard is None:
            return self._whole_ids(stretches)
        is_guarded = (tf.strings.substr(stretches, 0, 1) == " ") | (tf.strings.substr(stretches, 0, 3) == SPACE_MARK)
        # tensorflow_text keeps white space at the start of a text where it adds no prefix.
        unguarded = self._without_space(tf.strings.regex_replace(stretches, f"^[{guard.vanishing}]+", ""))
        ids = self._whole_ids(tf.where(is_guarded, tf.strings.join([guard.text, stretches]), unguarded))
        first = is_guarded & (ids.row_lengths() >= guard.length)
        places = tf.range(tf.size(ids.values), dtype=tf.int64) - tf.gather(ids.row_splits, _rows_of(ids))
        return _kept(ids, ~tf.gather(first, _rows_of(ids)) | (places >= guard.length))

    def _without_space(self, stretches: tf.Tensor) -> tf.Tensor:
        """Stretches (S,) without the space that their first character is normalized to begin with."""
        first = tf.strings.substr(stretches, 0, 1, unit="UTF8_CHAR")
        rest = tf.strings.substr(stretches, tf.strings.length(first), tf.strings.length(stretches))
        kept = self._shortened.lookup(first)
        return tf.where(kept == "", stretches, tf.strings.join([kept, rest]))

    def _whole_ids(self, stretches: tf.Tensor) -> tf.RaggedTensor:
        """Ids (S, None) of stretches (S,), which have a prefix only where the model adds one before each."""
        ordinary = self._pieces(stretches, self._unprefixed)
        if self._words_stand_alone:
            # Nothing costs more than an unknown character.
            highest = tf.cast(ordinary.row_lengths(), tf.float64) * self._unknown_cost
            may_be_long = tf.reduce_any(highest > _LOWEST_SUM)
            ordinary = tf.cond(may_be_long, lambda: self._with_cuts(ordinary, stretches), lambda: ordinary)
        return tf.cond(
            tf.reduce_any(ordinary.values >= self._piece_count),
            lambda: self._with_merged_unknowns(ordinary),
            lambda: ordinary,
        )

    def _pieces(self, texts: tf.Tensor, model: Any) -> tf.RaggedTensor:
        """Ids (T, None) of texts (T,), each unknown character for itself and its further bytes with it."""
        return model.tokenize(texts).with_row_splits_dtype(tf.int64)

    def _with_cuts(self, ids: tf.RaggedTensor, stretches: tf.Tensor) -> tf.RaggedTensor:
        """The ids (S, None) of stretches (S,), the long ones encoded anew in parts."""
        is_long = self._costs(ids) > _LOWEST_SUM
        return tf.cond(tf.reduce_any(is_long), lambda: self._long_ones_anew(ids, stretches, is_long), lambda: ids)

    def _long_ones_anew(self, ids: tf.RaggedTensor, stretches: tf.Tensor, is_long: tf.Tensor) -> tf.RaggedTensor:
        short = _kept(ids, ~tf.gather(is_long, _rows_of(ids)))
        parts, rows = self._cut(tf.boolean_mask(stretches, is_long))
        pieces = self._pieces(parts, self._sentencepiece)
        if self._guard is not None:
            # The first part of a stretch has no prefix.
            is_first = _is_first(rows)
            later = self._pieces(tf.where(is_first, "", parts), self._sentencepiece)
            pieces = tf.concat([self._pieces(tf.where(is_first, parts, ""), self._unprefixed), later], axis=1)
        rows = tf.gather(tf.where(is_long)[:, 0], rows)
        return tf.concat([short, regroup(pieces, rows, tf.size(stretches))], axis=1)

    def _cut(self, stretches: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Parts (P,) of stretches (S,), from where the package begins to add up anew, and the stretch of each (P,)."""
        words, places = split_at_separators(stretches, _WHITE_SPACE)
        distinct, index = tf.unique(words)
        costs = tf.gather(self._costs(self._pieces(distinct, self._sentencepiece)), index)
        if self._guard is not None:
            first = tf.where(_is_first(places))
            first_costs = self._costs(self._pieces(tf.gather(words, first[:, 0]), self._unprefixed))
            costs = tf.tensor_scatter_nd_update(costs, first, first_costs)
        sums = tf.cumsum(costs, exclusive=True)
        starts = tf.gather(sums, tf.searchsorted(places, places))
        parts = tf.cast((sums - starts) / _LOWEST_SUM, tf.int64)
        is_first = tf.concat([[True], (parts[1:] != parts[:-1]) | (places[1:] != places[:-1])], axis=0)
        part_of_word = tf.cumsum(tf.cast(is_first, tf.int32)) - 1
        joined = tf.strings.unsorted_segment_join(words, part_of_word, part_of_word[-1] + 1, separator=" ")
        return joined, tf.boolean_mask(places, is_first)

    def _costs(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The costs of texts, float64 (T,), by their pieces (T, None)."""
        # `tf.reduce_sum` of a ragged tensor goes through a (rows, longest row) matrix.
        costs = tf.cumsum(tf.gather(self._piece_costs, ids.values))
        costs = tf.concat([tf.zeros([1], tf.float64), costs], axis=0)
        return tf.gather(costs, ids.row_splits[1:]) - tf.gather(costs, ids.row_splits[:-1])

    def _with_merged_unknowns(self, ids: tf.RaggedTensor) -> tf.RaggedTensor:
        """Ids (T, None) with one unknown token for each run of unknown characters, as the package gives."""
        ids = _kept(ids, ids.values < self._piece_count)
        is_unknown = ids.values == self._unknown_id
        is_start = tf.scatter_nd(ids.row_splits[:, tf.newaxis], tf.ones_like(ids.row_splits), ids.row_splits[-1:] + 1)
        follows = tf.concat([tf.zeros_like(is_unknown[:1]), is_unknown[:-1]], axis=0) & (is_start[:-1] == 0)
        return _kept(ids, ~(is_unknown & follows))

    def _detokenize(self, ids: tf.RaggedTensor) -> tf.Tensor:
        if self._apart is None:
            return self._plain_texts(ids)
        is_apart = tf.gather(self._apart, ids.values) != ""
        return tf.cond(
            tf.reduce_any(is_apart), lambda: self._texts_with_added(ids, is_apart), lambda: self._plain_texts(ids)
        )

    def _plain_texts(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Texts (T,) of ids (T, None) of pieces."""
        return strip_white_space(self._sentencepiece.detokenize(ids.with_row_splits_dtype(tf.int32)))

    def _texts_with_added(self, ids: tf.RaggedTensor, is_apart: tf.Tensor) -> tf.Tensor:
        """Texts (B,) of ids (B, None), with a space on either side of added tokens."""
        rows = _rows_of(ids)
        begins = _is_first(rows) | is_apart | tf.concat([[False], is_apart[:-1]], axis=0)
        starts = tf.where(begins)[:, 0]
        rows, is_added = tf.gather(rows, starts), tf.gather(is_apart, starts)
        splits = tf.concat([starts, tf.shape(ids.values, tf.int64)], axis=0)
        pieces = tf.RaggedTensor.from_row_splits(tf.where(is_apart, 0, ids.values), splits, validate=False)
        texts = tf.where(is_added, tf.gather(self._apart, tf.gather(ids.values, starts)), self._plain_texts(pieces))
        # The last piece of a row counts even without a text, as in transformers.
        is_last = tf.concat([rows[1:] != rows[:-1], [True]], axis=0)
        is_there = (texts != "") | is_last
        texts, rows = tf.boolean_mask(texts, is_there), tf.boolean_mask(rows, is_there)
        return tf.strings.unsorted_segment_join(texts, rows, ids.nrows(), separator=" ")


# The bytes of UTF-8 that begin no character.
_LATER_BYTES = range(0x80, 0xC0)


def _with_free_bytes(model_proto: bytes) -> bytes:
    """The model with a piece of score 0 for each byte that begins no character.

    The first byte of an unknown character is then unknown, and its further bytes cost nothing. Known characters keep
    their pieces: any piece with an unknown byte costs more.
    """
    # Serialized messages that follow each other are one, with the repeated fields of both. The fields of a piece are
    # its bytes (1) and its score (2).
    fields = [b"\x0a\x01" + bytes([value]) + b"\x15" + struct.pack("<f", 0.0) for value in _LATER_BYTES]
    return model_proto + b"".join(b"\x0a" + bytes([len(field)]) + field for field in fields)


def _single_ids(ids: tf.Tensor, is_there: tf.Tensor) -> tf.RaggedTensor:
    """Rows of one id, of ids (S,), where `is_there`; empty rows elsewhere."""
    return tf.RaggedTensor.from_row_lengths(tf.boolean_mask(ids, is_there), tf.cast(is_there, tf.int64))


def _rows_of(ids: tf.RaggedTensor) -> tf.Tensor:
    """The row of each id of ids (T, None), int64."""
    # Not `tf.searchsorted`, which looks for the row of each id anew.
    ends = ids.row_splits[1:, tf.newaxis]
    return tf.cumsum(tf.scatter_nd(ends, tf.ones_like(ends[:, 0]), ids.row_splits[-1:] + 1))[:-1]


def _is_first(rows: tf.Tensor) -> tf.Tensor:
    """Whether each of ascending rows (N,) is the first of its kind."""
    return tf.concat([tf.ones_like(rows[:1], tf.bool), rows[1:] != rows[:-1]], axis=0)


def _kept(ids: tf.RaggedTensor, is_kept: tf.Tensor) -> tf.RaggedTensor:
    """The ids of each row for which `is_kept`, a vector over all of them."""
    counts = tf.concat([tf.zeros([1], tf.int64), tf.cumsum(tf.cast(is_kept, tf.int64))], axis=0)
    return tf.RaggedTensor.from_row_splits(
        tf.boolean_mask(ids.values, tf.ensure_shape(is_kept, [None])), tf.gather(counts, ids.row_splits), validate=False
    )
