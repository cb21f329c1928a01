"""Rules on the next token, as pure functions over (tokens so far, position, scores).

Shape letters: B documents, R rows, P prompt length, T full length, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.ngrams import no_bad_words, no_copied_ngram, no_repeat_ngram, occurring

Tensor = Any
Processor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens int32 (R, T), position int32 scalar, scores float32 (R, V)) -> scores.

`position` is the place of the token to be chosen: `tokens[:, :position]` are those so far. The scores are
log-probabilities in beam search and logits otherwise, as the reference has it; minus infinity forbids.
"""

FORBIDDEN = float("-inf")


def processors(
    config: GenerationConfig, prompt_length: int, source_ids: Tensor | None, allowed: Tensor | None
) -> list[Processor]:
    """The rules that the settings ask for, in the reference's order.

    Args:
        config: the settings.
        prompt_length: P.
        source_ids: int32 (B, S), for the rules that look at the document.
        allowed: see `allow`.
    """
    ends, rules = config.end_tokens, list[Processor]()
    if config.encoder_repetition_penalty != 1.0:
        rules.append(prefer_source(config.encoder_repetition_penalty, source_ids))
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
        rules.append(force_at(config.total_length(prompt_length) - 1, _ids(config.forced_eos_token_id)))
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


def prefer_source(penalty: float, source_ids: Tensor) -> Processor:
    """Raise the scores of the tokens of the document, as `penalize_repetition` lowers them."""

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        is_source = occurring(source_ids, ops.ones_like(source_ids, dtype="bool"), scores.shape[1])  # (B, V)
        beams = ops.shape(scores)[0] // ops.shape(source_ids)[0]
        return ops.where(ops.repeat(is_source, beams, axis=0), _penalized(scores, 1 / penalty), scores)

    return rule


def suppress(token_ids: Sequence[int], before: int | None = None, at: int | None = None) -> Processor:
    """Forbid tokens: everywhere, before a length, or at one place."""

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        forbidden = _marks(token_ids, scores.shape[1])
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


def force_at(place: int, token_ids: Sequence[int]) -> Processor:
    """At one place, allow some tokens only, at no cost."""

    def rule(tokens: Tensor, position: Tensor, scores: Tensor) -> Tensor:
        forced = ops.where(_marks(token_ids, scores.shape[1]), 0.0, FORBIDDEN)
        return ops.where(ops.equal(position, place), forced, scores)

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


def _marks(token_ids: Sequence[int], vocabulary: int) -> np.ndarray:
    """Bool (V,), known when the search is compiled."""
    return np.isin(np.arange(vocabulary), list(token_ids))


def _ids(value: int | Sequence[int]) -> Sequence[int]:
    return (value,) if isinstance(value, int) else value
