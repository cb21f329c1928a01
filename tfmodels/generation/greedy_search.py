"""Greedy search: the most probable token at each place."""

from typing import Any

from keras import ops

from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.processors import processors
from tfmodels.generation.tokens import write_token

Tensor = Any


def greedy_search(step: Any, caches: Any, documents: int | Tensor, config: GenerationConfig) -> dict[str, Tensor]:
    """See `generate`; one `while_loop` with a state of fixed size, left as soon as every row has ended."""
    rules = processors(config)
    length = config.total_length
    start = ops.full((documents, 1), config.decoder_start_token_id, dtype="int32")
    tokens = ops.concatenate([start, ops.full((documents, length - 1), config.pad_token_id, dtype="int32")], axis=1)
    state = (
        ops.convert_to_tensor(1, "int32"),
        tokens,
        start[:, 0],
        ops.zeros_like(start[:, 0], dtype="float32"),
        ops.zeros_like(start[:, 0]),
        caches,
    )

    def is_running(
        position: Tensor, tokens: Tensor, last: Tensor, score: Tensor, ended_at: Tensor, caches: Any
    ) -> Tensor:
        return ops.logical_and(position < length, ops.any(ops.equal(ended_at, 0)))

    def advance(position: Tensor, tokens: Tensor, last: Tensor, score: Tensor, ended_at: Tensor, caches: Any) -> tuple:
        logits, caches = step(last, position - 1, caches)
        log_probabilities = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        for rule in rules:
            log_probabilities = rule(tokens, position, log_probabilities)
        has_ended = ended_at > 0
        chosen = ops.cast(ops.argmax(log_probabilities, axis=-1), "int32")
        score = score + ops.where(has_ended, 0.0, ops.max(log_probabilities, axis=-1))
        chosen = ops.where(has_ended, config.pad_token_id, chosen)
        is_end = ops.logical_and(ops.equal(chosen, config.eos_token_id), ops.logical_not(has_ended))
        ended_at = ops.where(is_end, position, ended_at)
        tokens = write_token(tokens, position, chosen)
        return position + 1, tokens, chosen, score, ended_at, caches

    _, tokens, _, score, ended_at, _ = ops.while_loop(is_running, advance, state)
    lengths = ops.cast(ops.where(ended_at > 0, ended_at, length - 1), "float32")
    return {"sequences": tokens, "sequences_scores": score / lengths**config.length_penalty}
