"""Byte-level byte-pair encoding (Sennrich et al. 2016; the byte alphabet of GPT-2, 2019) in TensorFlow ops.

A batch is cut into words by regular expressions, each distinct word is encoded once, and all of them together: the
symbols of all words lie in one flat vector, and each step of a loop applies the best merge of every word at once.
A word that has no merge left leaves the vector, so one very long word costs its own length only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfmodels.text.added_tokens import AddedToken
from tfmodels.text.added_tokens_graph import re2_literal
from tfmodels.text.in_graph import InGraphTokenizer
from tfmodels.text.separators import SEPARATOR, regroup, split_at_separators, static_table
from tfmodels.text.spec import TokenizerSpec
from tfmodels.text.unicode_classes import WHITE_SPACE, class_ranges

NO_MERGE = np.iinfo(np.int32).max
_NO_SYMBOL = -1


class ByteLevelBPEGraph(InGraphTokenizer):
    """Byte-level BPE with GPT-2's word pattern, equal to the tokenizers library id for id.

    Args:
        spec: see `InGraphTokenizer`.
        tokens: see `InGraphTokenizer`.
        token_bytes: the bytes each token stands for, by id; ids that are missing stand for none.
        symbols: the id of each byte value's symbol, `None` for a byte without one.
        merges: pairs of ids and the id of what they merge into, best first.
        whole_words: words that the merges turn into a single token. They skip the loop.
        add_prefix_space: whether each stretch between added tokens begins with a space.
        unknown_id: the id of a byte without a symbol; `None` leaves such bytes out.
        lowers: whether texts are put into lower case.
    """

    def __init__(
        self,
        spec: TokenizerSpec,
        tokens: Mapping[int, AddedToken],
        token_bytes: Mapping[int, bytes],
        symbols: Sequence[int | None],
        merges: Sequence[tuple[int, int, int]],
        whole_words: Mapping[bytes, int],
        add_prefix_space: bool,
        unknown_id: int | None,
        lowers: bool = False,
    ):
        super().__init__(spec, tokens, is_slow=False, words_stand_alone=True, lowers=lowers)
        bytes_by_id = [token_bytes.get(index, b"") for index in range(self.spec.vocab_size)]
        unknown = _NO_SYMBOL if unknown_id is None else unknown_id
        ids_by_byte = [unknown if index is None else index for index in symbols]
        self._lacks_symbols = _NO_SYMBOL in ids_by_byte
        self._add_prefix_space = add_prefix_space
        self._splits_first = add_prefix_space or bool(self.marker.mark)
        merge_table = _MergeTable(merges, self.spec.vocab_size)
        with tf.init_scope():
            self._bytes_by_id = tf.constant(bytes_by_id)
            self._ids_by_byte = tf.constant(ids_by_byte, tf.int32)
            self._merge_ranks = static_table(merge_table.keys, tf.int64, merge_table.ranks, NO_MERGE)
            self._merge_results = tf.constant(merge_table.results, tf.int32)
            self._merges_at_once = None if merge_table.at_once.all() else tf.constant(merge_table.at_once)
            added = dict(self.marker.ids)
            if self._splits_first:
                self._added_ids = static_table(list(added), tf.string, list(added.values()), -1)
            words = {**whole_words, **added}
            self._whole_words = static_table(list(words), tf.string, list(words.values()), -1)
        letters, numbers = class_ranges(r"\p{L}"), class_ranges(r"\p{N}")
        whole = [] if self._splits_first else [re2_literal(name) for name in self.marker.contents]
        others = rf" ?[{letters}]+| ?[{numbers}]+| ?[^{WHITE_SPACE}{letters}{numbers}]+|[{WHITE_SPACE}]+"
        self._word_pattern = "|".join([*whole, "'s|'t|'re|'ve|'m|'ll|'d", others])

    def _tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        count = tf.size(texts)
        if self._splits_first:
            words, rows = self._words_of_stretches(texts)
        else:
            words, rows = split_at_separators(self._separate_words(texts))
        distinct, distinct_index = tf.unique(words)
        return regroup(tf.gather(self._encode_words(distinct), distinct_index), rows, count)

    def _words_of_stretches(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Added tokens and the words between them, with the row of each."""
        stretches, rows = split_at_separators(texts)
        is_added = self._added_ids.lookup(stretches) >= 0
        plain = tf.where(is_added, "", stretches)
        if self._add_prefix_space:
            lacks_space = ~is_added & (tf.strings.substr(stretches, 0, 1) != " ")
            plain = tf.where(lacks_space, tf.strings.join([" ", stretches]), plain)
        words, places = split_at_separators(tf.where(is_added, stretches, self._separate_words(plain)))
        return words, tf.gather(rows, places)

    def _separate_words(self, texts: tf.Tensor) -> tf.Tensor:
        # RE2 has no look-ahead for GPT-2's `\s+(?!\S)`. Its meaning: white space before a word leaves its last
        # character to that word. So the run is cut there first, and then a plain `\s+` finds both halves. At the end
        # of a text, or before a special token, nothing is cut and the run stays whole, as with the look-ahead.
        space = WHITE_SPACE
        texts = tf.strings.regex_replace(texts, rf"([{space}]+)([{space}][^{space}])", rb"\1" + SEPARATOR + rb"\2")
        return tf.strings.regex_replace(texts, self._word_pattern, rb"\0" + SEPARATOR)

    def _encode_words(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Ids (W, None) of words (W,), added tokens among them."""
        whole_ids = self._whole_words.lookup(words)
        is_whole = whole_ids >= 0
        merged = self._merge(tf.boolean_mask(words, ~is_whole))
        whole = tf.RaggedTensor.from_tensor(tf.boolean_mask(whole_ids, is_whole)[:, tf.newaxis])
        whole_count = tf.cumsum(tf.cast(is_whole, tf.int32))
        merged_count = tf.cumsum(tf.cast(~is_whole, tf.int32))
        place = tf.where(is_whole, whole_count - 1, merged_count - 1 + tf.cast(whole.nrows(), tf.int32))
        return tf.gather(tf.concat([whole, merged], axis=0), place)

    def _merge(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Ids (W, None) of words (W,) by merging bytes, best pair first and leftmost first."""
        byte_values = tf.cast(tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8), tf.int32)
        byte_values = tf.ensure_shape(byte_values, [None])
        symbols = tf.gather(self._ids_by_byte, byte_values)
        byte_splits = tf.concat([[0], tf.cumsum(tf.strings.length(words))], axis=0)
        byte_words = _row_ids(byte_splits)
        places = tf.range(tf.size(symbols))
        symbol_words = byte_words
        if self._lacks_symbols:
            symbols, symbol_words, places = (
                tf.boolean_mask(vector, symbols != _NO_SYMBOL) for vector in (symbols, byte_words, places)
            )
            symbol_words = _without_gaps(symbol_words)
        ranks = self._pair_ranks(symbols, symbol_words, tf.range(tf.size(symbols)))
        done = tf.TensorArray(tf.int32, size=0, dynamic_size=True, infer_shape=False, element_shape=[None, 2])

        vector = tf.TensorShape([None])
        *_, done = tf.while_loop(
            lambda step, symbols, words, places, ranks, done: tf.size(symbols) > 0,
            self._merge_step,
            [tf.constant(0), symbols, symbol_words, places, ranks, done],
            shape_invariants=[tf.TensorShape([]), vector, vector, vector, vector, None],
            parallel_iterations=1,
        )
        # Words finish in any order; the place of a symbol's first byte puts it back.
        places, symbols = tf.unstack(tf.ensure_shape(done.concat(), [None, 2]), axis=1)
        by_byte = tf.ensure_shape(tf.scatter_nd(places[:, tf.newaxis], symbols + 1, tf.shape(byte_words)), [None])
        symbol_counts = tf.concat([[0], tf.cumsum(tf.cast(by_byte > 0, tf.int32))], axis=0)
        splits = tf.cast(tf.gather(symbol_counts, byte_splits), tf.int64)
        return tf.RaggedTensor.from_row_splits(tf.boolean_mask(by_byte, by_byte > 0) - 1, splits, validate=False)

    def _merge_step(
        self,
        step: tf.Tensor,
        symbols: tf.Tensor,
        words: tf.Tensor,
        places: tf.Tensor,
        ranks: tf.Tensor,
        done: tf.TensorArray,
    ) -> tuple[Any, ...]:
        """Apply the best merge of every word, and hand over the finished words.

        All vectors run over the symbols of the unfinished words: the symbol, its word (ascending from 0 without
        gaps), the place of its first byte, and the rank of the pair that it begins.
        """
        best = tf.gather(tf.math.segment_min(ranks, words), words)
        is_done = best == NO_MERGE
        done = done.write(step, tf.boolean_mask(tf.stack([places, symbols], axis=1), is_done))

        is_left = self._pairs_to_merge((ranks == best) & ~is_done, ranks, words)
        results = tf.gather(self._merge_results, tf.where(is_left, ranks, 0))
        symbols = tf.where(is_left, results, symbols)
        is_right = tf.concat([[False], is_left[:-1]], axis=0)
        kept = tf.where(~(is_right | is_done))[:, 0]

        symbols, words, places, ranks, is_merged = (
            tf.gather(vector, kept) for vector in (symbols, words, places, ranks, is_left)
        )
        words = _without_gaps(words)
        # Only the pairs on either side of a merged symbol are new.
        is_new_pair = is_merged | tf.concat([is_merged[1:], tf.zeros_like(is_merged[:1])], axis=0)
        changed = tf.cast(tf.where(is_new_pair)[:, 0], tf.int32)
        ranks = tf.tensor_scatter_nd_update(ranks, changed[:, tf.newaxis], self._pair_ranks(symbols, words, changed))
        return step + 1, symbols, words, places, ranks, done

    def _pairs_to_merge(self, is_candidate: tf.Tensor, ranks: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        """Mark the pairs that are merged now: of their word's best rank, and before any other rank's turn."""
        index = tf.range(tf.size(is_candidate))
        if self._merges_at_once is not None:
            first = tf.gather(tf.math.segment_min(tf.where(is_candidate, index, NO_MERGE), words), words)
            at_once = tf.gather(self._merges_at_once, tf.where(is_candidate, ranks, 0))
            is_candidate &= at_once | (index == first)
        # In a run such as "aaaa" the pairs overlap; from the left, every other one is merged.
        is_start = is_candidate & ~tf.concat([[False], is_candidate[:-1]], axis=0)
        starts = tf.concat([tf.where(is_start)[:, 0], [0]], axis=0)
        run = tf.maximum(tf.cumsum(tf.cast(is_start, tf.int32)) - 1, 0)
        return is_candidate & ((index - tf.cast(tf.gather(starts, run), tf.int32)) % 2 == 0)

    def _pair_ranks(self, symbols: tf.Tensor, words: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Ranks of the pairs that begin at the given indices; `NO_MERGE` at the end of a word."""
        following = tf.minimum(index + 1, tf.size(symbols) - 1)
        left, right = tf.gather(symbols, index), tf.gather(symbols, following)
        keys = tf.cast(left, tf.int64) * self.spec.vocab_size + tf.cast(right, tf.int64)
        is_pair = (following > index) & (tf.gather(words, index) == tf.gather(words, following))
        return tf.where(is_pair, self._merge_ranks.lookup(keys), NO_MERGE)

    def _detokenize(self, ids: tf.RaggedTensor) -> tf.Tensor:
        contents = tf.strings.reduce_join(tf.gather(self._bytes_by_id, ids), axis=1)
        return tf.strings.unicode_transcode(contents, "UTF-8", "UTF-8", errors="replace")


class _MergeTable:
    """Merges as arrays: `keys` and `ranks` for the table, and by rank `results` and `at_once`.

    A merge may be applied to all its occurrences in a word at once unless its result takes part in a better merge,
    which then comes before the next occurrence. Trained vocabularies rarely hold such merges.
    """

    def __init__(self, merges: Sequence[tuple[int, int, int]], vocab_size: int):
        # A pair that is listed twice counts where it is listed last, as in the tokenizers library.
        ranks = {left * vocab_size + right: rank for rank, (left, right, _) in enumerate(merges)}
        # For a vocabulary without merges: TensorFlow refuses an empty table, and no pair has this key.
        self.keys = list(ranks) or [-1]
        self.ranks = list(ranks.values()) or [0]
        self.results = np.array([result for _, _, result in merges] or [0], np.int32)
        best_use: np.ndarray = np.full(vocab_size, NO_MERGE, np.int64)
        for rank, (left, right, _) in reversed(list(enumerate(merges))):
            best_use[[left, right]] = rank
        self.at_once = np.arange(len(self.results)) < best_use[self.results]


def _without_gaps(words: tf.Tensor) -> tf.Tensor:
    """Ascending numbers (N,), counted anew from 0."""
    is_next = tf.concat([tf.zeros_like(words[:1]), tf.cast(words[1:] != words[:-1], tf.int32)], axis=0)
    return tf.cumsum(is_next)


def _row_ids(splits: tf.Tensor) -> tf.Tensor:
    """The row of every value, for row splits of non-empty rows."""
    # `tf.repeat` and `value_rowids` go through a (rows, longest row) matrix: gigabytes for one long word.
    starts = tf.scatter_nd(splits[1:, tf.newaxis], tf.ones_like(splits[1:]), splits[-1:] + 1)
    return tf.ensure_shape(tf.cumsum(starts[:-1]), [None])
