"""Rules against sequences of tokens. None makes a table of vocabulary by steps: each row has a list of banned ids.

Shape letters: B documents, K beams, R rows, S source length, T full length, V vocabulary, J places of an
n-gram, W words.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.rule import FORBIDDEN, Processor


def no_repeat_ngram(size: int) -> Processor:
    """Forbid every token that would complete an n-gram seen before (Paulus et al. 2018, section 2.5).

    >>> tokens = ops.array([[5, 6, 5, 0]])
    >>> scores = no_repeat_ngram(2)(tokens, ops.array(3), ops.zeros((1, 8)))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -inf, 0.0]
    """

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        places = tokens.shape[1] - size + 1
        if places <= 0:
            return scores
        last = _last(tokens, position, size - 1)
        is_whole = ops.arange(places) + size - 1 < position
        matches = ops.logical_and(_matches(tokens, last, places), is_whole)  # (R, J)
        return _banned(scores, tokens[:, size - 1 :], matches)

    return rule


def no_copied_ngram(size: int, source_ids: Tensor) -> Processor:
    """Forbid every token that would complete an n-gram of the document.

    Args:
        size: of the n-grams.
        source_ids: int32 (R, S), each row's document, padding included as in the reference.
    """

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        places = source_ids.shape[1] - size + 1
        if places <= 0 or tokens.shape[1] < size:
            return scores
        matches = _matches(source_ids, _last(tokens, position, size - 1), places)
        return _banned(scores, source_ids[:, size - 1 :], ops.logical_and(matches, position >= size - 1))

    return rule


def no_bad_words(bad_words: Sequence[Sequence[int]]) -> Processor:
    """Forbid every token that would complete one of the words after the start token.

    >>> rule = no_bad_words([[3], [1, 2]])
    >>> scores = rule(ops.array([[0, 1, 0]]), ops.array(2), ops.zeros((1, 4)))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [0.0, 0.0, -inf, -inf]
    """
    by_length: dict[int, list[Sequence[int]]] = {}
    for word in bad_words:
        by_length.setdefault(len(word), []).append(word)

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        rows = ops.shape(scores)[0]
        for size, found in by_length.items():
            if tokens.shape[1] < size:
                continue
            table = np.asarray(found, "int32")  # (W, size)
            last = _last(tokens, position, size - 1)
            matches = ops.broadcast_to(ops.logical_or(position >= size, size == 1), (rows, len(found)))
            for place, token in enumerate(last):
                matches = ops.logical_and(matches, ops.equal(token[:, None], table[:, place]))
            scores = _banned(scores, ops.broadcast_to(table[:, -1], (rows, len(found))), matches)
        return scores

    return rule


def occurring(token_ids: Tensor, is_counted: Tensor, vocabulary: int) -> Tensor:
    """Which tokens of the vocabulary occur in each row: bool (R, V).

    Args:
        token_ids: int32 (R, J).
        is_counted: bool (R, J), which of them count.
        vocabulary: V.

    >>> found = occurring(ops.array([[2, 0]]), ops.array([[True, False]]), 3)
    >>> ops.convert_to_numpy(found)[0].tolist()
    [False, False, True]
    """
    rows, places = ops.shape(token_ids)
    # What does not count points to one column beyond the vocabulary, which is cut off.
    columns = ops.cast(ops.where(is_counted, token_ids, vocabulary), "int32")
    row = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, places))
    indices = ops.reshape(ops.stack([row, columns], axis=-1), (rows * places, 2))
    return ops.scatter(indices, ops.ones((rows * places,), "float32"), (rows, vocabulary + 1))[:, :vocabulary] > 0


def _last(tokens: Tensor, position: Tensor, count: int) -> list[Tensor]:
    """The last `count` tokens so far, oldest first, each (R,)."""
    return [ops.take(tokens, ops.maximum(position - count + offset, 0), axis=1) for offset in range(count)]


def _matches(sequences: Tensor, last: Sequence[Tensor], places: int) -> Tensor:
    """At which places of `sequences` (R, S) the tokens `last` stand: bool (R, J)."""
    matches = ops.ones_like(sequences[:, :places], dtype="bool")
    for offset, token in enumerate(last):
        matches = ops.logical_and(matches, ops.equal(sequences[:, offset : offset + places], token[:, None]))
    return matches


def _banned(scores: Tensor, token_ids: Tensor, matches: Tensor) -> Tensor:
    """The scores with each row's `token_ids` (R, J) forbidden where they match."""
    return ops.where(occurring(token_ids, matches, scores.shape[1]), FORBIDDEN, scores)
