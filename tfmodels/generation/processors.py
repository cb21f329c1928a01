"""Rules on the next token, as pure functions over (tokens so far, position, log-probabilities).

Shape letters: R rows, T full length, V vocabulary, J places where an n-gram may start.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from tfmodels.generation.config import GenerationConfig

Tensor = Any
Processor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(tokens int32 (R, T), position int32 scalar, log-probabilities float32 (R, V)) -> log-probabilities.

`position` is the place of the token to be chosen: `tokens[:, :position]` are those so far.
"""

FORBIDDEN = float("-inf")


def processors(config: GenerationConfig) -> list[Processor]:
    """The rules that the settings ask for, in the reference's order."""
    rules: list[Processor] = []
    if config.no_repeat_ngram_size > 0:
        rules.append(no_repeat_ngram(config.no_repeat_ngram_size))
    if config.min_length > 0 and config.eos_token_id is not None:
        rules.append(min_length(config.min_length, config.eos_token_id))
    if config.forced_bos_token_id is not None:
        rules.append(force_at(1, config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        rules.append(force_at(config.total_length - 1, config.forced_eos_token_id))
    return rules


def no_repeat_ngram(size: int) -> Processor:
    """Forbid every token that would complete an n-gram seen before.

    >>> tokens = ops.array([[5, 6, 5, 0]])
    >>> scores = no_repeat_ngram(2)(tokens, ops.array(3), ops.zeros((1, 8)))
    >>> ops.convert_to_numpy(scores)[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -inf, 0.0]
    """

    def rule(tokens: Tensor, position: Tensor, log_probabilities: Tensor) -> Tensor:
        rows, vocabulary = ops.shape(log_probabilities)
        starts = tokens.shape[1] - size + 1
        if starts <= 0:
            return log_probabilities
        matches = ops.broadcast_to((ops.arange(starts) + size - 1 < position)[None, :], (rows, starts))
        for offset in range(size - 1):
            last = ops.take(tokens, ops.maximum(position - size + 1 + offset, 0), axis=1)  # (R,)
            matches = ops.logical_and(matches, ops.equal(tokens[:, offset : offset + starts], last[:, None]))
        # Places that do not match point to one column beyond the vocabulary, which is cut off.
        banned = ops.where(matches, tokens[:, size - 1 :], vocabulary)  # (R, J)
        row = ops.broadcast_to(ops.arange(rows, dtype="int32")[:, None], (rows, starts))
        indices = ops.reshape(ops.stack([row, ops.cast(banned, "int32")], axis=-1), (rows * starts, 2))
        is_banned = ops.scatter(indices, ops.ones((rows * starts,)), (rows, vocabulary + 1))[:, :vocabulary] > 0
        return ops.where(is_banned, FORBIDDEN, log_probabilities)

    return rule


def min_length(length: int, eos_token_id: int) -> Processor:
    """Forbid the end token while the sequence, start token included, is shorter than `length`."""

    def rule(tokens: Tensor, position: Tensor, log_probabilities: Tensor) -> Tensor:
        is_end = ops.arange(log_probabilities.shape[1]) == eos_token_id
        return ops.where(ops.logical_and(position < length, is_end)[None, :], FORBIDDEN, log_probabilities)

    return rule


def force_at(place: int, token_id: int) -> Processor:
    """At one place, allow one token only, at no cost."""

    def rule(tokens: Tensor, position: Tensor, log_probabilities: Tensor) -> Tensor:
        forced = ops.where(ops.arange(log_probabilities.shape[1]) == token_id, 0.0, FORBIDDEN)
        return ops.where(ops.equal(position, place), forced[None, :], log_probabilities)

    return rule
