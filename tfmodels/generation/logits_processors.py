"""Logits processors: pure functions over (tokens so far, position, scores) that change the scores of the next token.

No processor creates a table of vocabulary by steps: against n-grams, each row has a list of banned ids.

T is here the full length. Further shape letters: P prompt tokens, J positions of an n-gram, U words.
"""

from collections.abc import Callable, Sequence

import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.validation import token_ids

Processor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens int32 (R, T), position int32 scalar, scores float32 (R, V)) -> scores.

`position` is the position of the next token: `tokens[:, :position]` are the tokens so far. The scores are
log-probabilities in beam search and logits otherwise, as in transformers; minus infinity forbids a token.
"""

FORBIDDEN = float("-inf")


def logits_processors(
    config: GenerationConfig,
    prompt_length: int,
    lengths: int | Tensor,
    vocabulary: int,
    source_ids: Tensor | None,
    allowed: Tensor | None,
) -> list[Processor]:
    """The processors of the settings, in the order of transformers.

    Args:
        config: the settings.
        prompt_length: P.
        lengths: T, or int32 (B, 1), the full length of each document.
        vocabulary: V.
        source_ids: int32 (B, S), for processors that read the document.
        allowed: see `allow`.
    """
    ends, chosen = config.end_tokens, list[Processor]()
    if source_ids is not None:
        source_ids = ops.repeat(source_ids, config.rows_per_document, axis=0)  # (R, S)
    if config.encoder_repetition_penalty != 1.0:
        chosen.append(prefer_source(config.encoder_repetition_penalty, source_ids, vocabulary))
    if config.repetition_penalty != 1.0:
        chosen.append(penalize_repetition(config.repetition_penalty))
    if config.no_repeat_ngram_size > 0:
        chosen.append(no_repeat_ngram(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size > 0:
        chosen.append(no_copied_ngram(config.encoder_no_repeat_ngram_size, source_ids))
    # Without bad words that are one end token, which would forbid every end.
    bad_words = [word for word in config.bad_words_ids or () if word not in {(end,) for end in ends}]
    if bad_words:
        chosen.append(no_bad_words(bad_words))
    if ends and config.least_length(prompt_length) > 0:
        chosen.append(suppress(ends, before=config.least_length(prompt_length)))
    if allowed is not None:
        chosen.append(allow(allowed, prompt_length))
    if config.forced_bos_token_id is not None:
        chosen.append(force_at(1, (config.forced_bos_token_id,)))
    if config.forced_eos_token_id is not None:
        last = lengths if isinstance(lengths, int) else ops.repeat(lengths, config.rows_per_document, axis=0)
        chosen.append(force_at(last - 1, token_ids("forced_eos_token_id", config.forced_eos_token_id)))
    if config.exponential_decay_length_penalty is not None:
        start, factor = config.exponential_decay_length_penalty
        chosen.append(favor_end(prompt_length + start, factor, ends))
    if config.suppress_tokens:
        chosen.append(suppress(config.suppress_tokens))
    if config.begin_suppress_tokens:
        # After a forced first token, the beginning is one position later.
        begin = prompt_length + (prompt_length == 1 and config.forced_bos_token_id is not None)
        chosen.append(suppress(config.begin_suppress_tokens, at=begin))
    return chosen


def penalize_repetition(penalty: float) -> Processor:
    """Lower the scores of the tokens so far: divide positive scores, multiply negative ones (Keskar et al. 2019).

    >>> scores = penalize_repetition(2.0)(ops.array([[1, 2, 0]]), ops.array(2), ops.array([[-3.0, -3.0, 5.0, 5.0]]))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [-3.0, -6.0, 2.5, 5.0]
    """

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        is_written = ops.broadcast_to(ops.arange(tokens.shape[1]) < position, ops.shape(tokens))
        return ops.where(occurring(tokens, is_written, scores.shape[1]), _penalized(scores, penalty), scores)

    return process


def prefer_source(penalty: float, source_ids: Tensor, vocabulary: int) -> Processor:
    """Raise the scores of the tokens of each row's document (R, S), as `penalize_repetition` lowers them."""
    is_source = occurring(source_ids, ops.ones_like(source_ids, dtype="bool"), vocabulary)  # (R, V)

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        return ops.where(is_source, _penalized(scores, 1 / penalty), scores)

    return process


def suppress(tokens_to_forbid: Sequence[int], before: int | None = None, at: int | None = None) -> Processor:
    """Forbid tokens: everywhere, before a length, or at one position."""

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        forbidden = _marks(tokens_to_forbid, scores.shape[1])
        if before is not None:
            forbidden = ops.logical_and(forbidden, position < before)
        if at is not None:
            forbidden = ops.logical_and(forbidden, ops.equal(position, at))
        return ops.where(forbidden, FORBIDDEN, scores)

    return process


def allow(allowed: Tensor, prompt_length: int) -> Processor:
    """Forbid all tokens except the allowed ones.

    Args:
        allowed: bool (V,): at every position; (J, V): at the first J positions after the prompt; (B, J, V): of each
            document.
        prompt_length: P.
    """

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        if len(allowed.shape) == 1:
            return ops.where(allowed, scores, FORBIDDEN)
        positions = allowed.shape[-2]
        here = ops.take(allowed, ops.minimum(position - prompt_length, positions - 1), axis=-2)  # (V,) or (B, V)
        if len(allowed.shape) == 3:
            here = ops.repeat(here, ops.shape(scores)[0] // ops.shape(allowed)[0], axis=0)  # (R, V)
        return ops.where(ops.logical_or(here, position - prompt_length >= positions), scores, FORBIDDEN)

    return process


def force_at(forced_position: int | Tensor, forced: Sequence[int]) -> Processor:
    """At one position, or one for each row (R, 1), allow the forced tokens alone, with scores of 0."""

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        forced_scores = ops.where(_marks(forced, scores.shape[1]), 0.0, FORBIDDEN)
        return ops.where(ops.equal(position, forced_position), forced_scores, scores)

    return process


def favor_end(start: int, factor: float, end_tokens: Sequence[int]) -> Processor:
    """Beyond `start` tokens, raise the end tokens' scores by |score| * (factor ** (tokens beyond) - 1)."""

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        beyond = ops.cast(ops.maximum(position - start, 0), "float32")
        raised = scores + ops.abs(scores) * (ops.power(np.float32(factor), beyond) - 1.0)
        # A forbidden token stays forbidden: minus infinity plus infinity would be NaN.
        is_end = ops.logical_and(_marks(end_tokens, scores.shape[1]), scores > FORBIDDEN)
        return ops.where(is_end, raised, scores)

    return process


def no_repeat_ngram(size: int) -> Processor:
    """Forbid every token that would complete an n-gram seen before (Paulus et al. 2018, section 2.5).

    >>> tokens = ops.array([[5, 6, 5, 0]])
    >>> scores = no_repeat_ngram(2)(tokens, ops.array(3), ops.zeros((1, 8)))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -inf, 0.0]
    """

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        positions = tokens.shape[1] - size + 1
        if positions <= 0:
            return scores
        last = _last(tokens, position, size - 1)
        is_whole = ops.arange(positions) + size - 1 < position
        matches = ops.logical_and(_matches(tokens, last, positions), is_whole)  # (R, J)
        return _banned(scores, tokens[:, size - 1 :], matches)

    return process


def no_copied_ngram(size: int, source_ids: Tensor) -> Processor:
    """Forbid every token that would complete an n-gram of the document.

    Args:
        size: tokens of an n-gram.
        source_ids: int32 (R, S), each row's document, padding included as in transformers.
    """

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        positions = source_ids.shape[1] - size + 1
        if positions <= 0 or tokens.shape[1] < size:
            return scores
        matches = _matches(source_ids, _last(tokens, position, size - 1), positions)
        return _banned(scores, source_ids[:, size - 1 :], ops.logical_and(matches, position >= size - 1))

    return process


def no_bad_words(bad_words: Sequence[Sequence[int]]) -> Processor:
    """Forbid every token that would complete one of the words after the start token.

    >>> process = no_bad_words([[3], [1, 2]])
    >>> scores = process(ops.array([[0, 1, 0]]), ops.array(2), ops.zeros((1, 4)))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [0.0, 0.0, -inf, -inf]
    """
    by_length: dict[int, list[Sequence[int]]] = {}
    for word in bad_words:
        by_length.setdefault(len(word), []).append(word)

    def process(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        rows = ops.shape(scores)[0]
        for size, words in by_length.items():
            if tokens.shape[1] < size:
                continue
            table = np.asarray(words, "int32")  # (U, size)
            last = _last(tokens, position, size - 1)
            matches = ops.broadcast_to(ops.logical_or(position >= size, size == 1), (rows, len(words)))
            for column, token in enumerate(last):
                matches = ops.logical_and(matches, ops.equal(token[:, None], table[:, column]))  # (R, U)
            scores = _banned(scores, ops.broadcast_to(table[:, -1], (rows, len(words))), matches)
        return scores

    return process


def occurring(token_ids: Tensor, is_counted: Tensor, vocabulary: int) -> Tensor:
    """True for the tokens of the vocabulary that occur in each row: bool (R, V).

    Args:
        token_ids: int32 (R, J).
        is_counted: bool (R, J), False for ids to ignore.
        vocabulary: V.

    >>> is_there = occurring(ops.array([[2, 0]]), ops.array([[True, False]]), 3)
    >>> ops.convert_to_numpy(is_there)[0].tolist()
    [False, False, True]
    """
    rows, positions = ops.shape(token_ids)
    # An ignored id becomes a column beyond the vocabulary, which is cut off.
    columns = ops.cast(ops.where(is_counted, token_ids, vocabulary), "int32")
    row = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, positions))
    indices = ops.reshape(ops.stack([row, columns], axis=-1), (rows * positions, 2))
    return ops.scatter(indices, ops.ones((rows * positions,), "float32"), (rows, vocabulary + 1))[:, :vocabulary] > 0


def _penalized(scores: Tensor, penalty: float) -> Tensor:
    return ops.where(scores < 0, scores * penalty, scores / penalty)


def _marks(marked: Sequence[int], vocabulary: int) -> np.ndarray:
    """True for the marked tokens: bool (V,), a constant of the compiled search."""
    return np.isin(np.arange(vocabulary), list(marked))


def _last(tokens: Tensor, position: Tensor, count: int) -> list[Tensor]:
    """The last `count` tokens so far, oldest first, each (R,)."""
    return [ops.take(tokens, ops.maximum(position - count + offset, 0), axis=1) for offset in range(count)]


def _matches(sequences: Tensor, last: Sequence[Tensor], positions: int) -> Tensor:
    """True for the first J positions of `sequences` (R, S) at which the tokens `last` begin: bool (R, J)."""
    matches = ops.ones_like(sequences[:, :positions], dtype="bool")
    for offset, token in enumerate(last):
        matches = ops.logical_and(matches, ops.equal(sequences[:, offset : offset + positions], token[:, None]))
    return matches


def _banned(scores: Tensor, token_ids: Tensor, matches: Tensor) -> Tensor:
    """The scores with each row's `token_ids` (R, J) forbidden where they match."""
    return ops.where(occurring(token_ids, matches, scores.shape[1]), FORBIDDEN, scores)
