"""Rules on the next token, as pure functions over (tokens so far, position, scores).

Shape letters: B documents, R rows, P prompt length, T full length, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.ngrams import no_bad_words, no_copied_ngram, no_repeat_ngram, occurring
from tfmodels.generation.rule import FORBIDDEN, Processor
from tfmodels.generation.validation import token_ids


def processors(
    config: GenerationConfig,
    prompt_length: int,
    lengths: int | Tensor,
    vocabulary: int,
    source_ids: Tensor | None,
    allowed: Tensor | None,
) -> list[Processor]:
    """The rules that the settings ask for, in the reference's order.

    Args:
        config: the settings.
        prompt_length: P.
        lengths: T, or where documents have their own int32 (B, 1).
        vocabulary: V.
        source_ids: int32 (B, S), for the rules that look at the document.
        allowed: see `allow`.
    """
    ends, rules = config.end_tokens, list[Processor]()
    if source_ids is not None:
        source_ids = ops.repeat(source_ids, config.rows_per_document, axis=0)  # (R, S)
    if config.encoder_repetition_penalty != 1.0:
        rules.append(prefer_source(config.encoder_repetition_penalty, source_ids, vocabulary))
    if config.repetition_penalty != 1.0:
        rules.append(penalize_repetition(config.repetition_penalty))
    if config.no_repeat_ngram_size > 0:
        rules.append(no_repeat_ngram(config.no_repeat_ngram_size))
    if config.encoder_no_repeat_ngram_size > 0:
        rules.append(no_copied_ngram(config.encoder_no_repeat_ngram_size, source_ids))
    # A bad word that is an end token alone would forbid every end.
    bad_words = [word for word in config.bad_words_ids or () if word not in {(end,) for end in ends}]
    if bad_words:
        rules.append(no_bad_words(bad_words))
    if ends and config.least_length(prompt_length) > 0:
        rules.append(suppress(ends, before=config.least_length(prompt_length)))
    if allowed is not None:
        rules.append(allow(allowed, prompt_length))
    if config.forced_bos_token_id is not None:
        rules.append(force_at(1, (config.forced_bos_token_id,)))
    if config.forced_eos_token_id is not None:
        last = lengths if isinstance(lengths, int) else ops.repeat(lengths, config.rows_per_document, axis=0)
        rules.append(force_at(last - 1, token_ids("forced_eos_token_id", config.forced_eos_token_id)))
    if config.exponential_decay_length_penalty is not None:
        start, factor = config.exponential_decay_length_penalty
        rules.append(favor_end(prompt_length + start, factor, ends))
    if config.suppress_tokens:
        rules.append(suppress(config.suppress_tokens))
    if config.begin_suppress_tokens:
        # A forced first token pushes the beginning one place on.
        begin = prompt_length + (prompt_length == 1 and config.forced_bos_token_id is not None)
        rules.append(suppress(config.begin_suppress_tokens, at=begin))
    return rules


def penalize_repetition(penalty: float) -> Processor:
    """Lower the scores of the tokens so far: divide the positive ones, multiply the others (Keskar et al. 2019).

    >>> scores = penalize_repetition(2.0)(ops.array([[1, 2, 0]]), ops.array(2), ops.array([[-3.0, -3.0, 5.0, 5.0]]))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [-3.0, -6.0, 2.5, 5.0]
    """

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        is_written = ops.broadcast_to(ops.arange(tokens.shape[1]) < position, ops.shape(tokens))
        return ops.where(occurring(tokens, is_written, scores.shape[1]), _penalized(scores, penalty), scores)

    return rule


def prefer_source(penalty: float, source_ids: Tensor, vocabulary: int) -> Processor:
    """Raise the scores of the tokens of each row's document (R, S), as `penalize_repetition` lowers them."""
    is_source = occurring(source_ids, ops.ones_like(source_ids, dtype="bool"), vocabulary)  # (R, V)

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        return ops.where(is_source, _penalized(scores, 1 / penalty), scores)

    return rule


def suppress(tokens_to_forbid: Sequence[int], before: int | None = None, at: int | None = None) -> Processor:
    """Forbid tokens: everywhere, before a length, or at one place."""

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        forbidden = _marks(tokens_to_forbid, scores.shape[1])
        if before is not None:
            forbidden = ops.logical_and(forbidden, position < before)
        if at is not None:
            forbidden = ops.logical_and(forbidden, ops.equal(position, at))
        return ops.where(forbidden, FORBIDDEN, scores)

    return rule


def allow(allowed: Tensor, prompt_length: int) -> Processor:
    """Forbid all tokens but some.

    Args:
        allowed: bool (V,): at every place; (N, V): at the first N places after the prompt; (B, N, V): of each document.
        prompt_length: P.
    """

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        if len(allowed.shape) == 1:
            return ops.where(allowed, scores, FORBIDDEN)
        places = allowed.shape[-2]
        here = ops.take(allowed, ops.minimum(position - prompt_length, places - 1), axis=-2)  # (V,) or (B, V)
        if len(allowed.shape) == 3:
            here = ops.repeat(here, ops.shape(scores)[0] // ops.shape(allowed)[0], axis=0)
        return ops.where(ops.logical_or(here, position - prompt_length >= places), scores, FORBIDDEN)

    return rule


def force_at(place: int | Tensor, forced: Sequence[int]) -> Processor:
    """At one place, or one of each row (R, 1), allow some tokens only, at no cost."""

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        at_no_cost = ops.where(_marks(forced, scores.shape[1]), 0.0, FORBIDDEN)
        return ops.where(ops.equal(position, place), at_no_cost, scores)

    return rule


def favor_end(start: int, factor: float, end_tokens: Sequence[int]) -> Processor:
    """Beyond `start` tokens, raise the end tokens' scores by their size times factor ** (tokens beyond) - 1."""

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        beyond = ops.cast(ops.maximum(position - start, 0), "float32")
        raised = scores + ops.abs(scores) * (ops.power(np.float32(factor), beyond) - 1.0)
        # What is forbidden stays so: minus infinity plus its size is no number.
        is_end = ops.logical_and(_marks(end_tokens, scores.shape[1]), scores > FORBIDDEN)
        return ops.where(is_end, raised, scores)

    return rule


def _penalized(scores: Tensor, penalty: float) -> Tensor:
    return ops.where(scores < 0, scores * penalty, scores / penalty)


def _marks(marked: Sequence[int], vocabulary: int) -> np.ndarray:
    """Bool (V,), known when the search is compiled."""
    return np.isin(np.arange(vocabulary), list(marked))
