"""Log-probabilities of given targets, without the logits of a whole batch in memory.

Shape letters: R rows, T target length, N chunks, C positions of a chunk, E model size, V vocabulary.
"""

from collections.abc import Callable

from keras import ops

from tfmodels.backend.scan import scan
from tfmodels.backend.types import Tensor
from tfmodels.generation import GenerationConfig, is_among
from tfmodels.layers.blocks import split_into_blocks

CHUNK_LENGTH = 64
"""Target positions whose logits exist at one time."""


def log_probabilities(
    labels: Tensor, hidden_states: Tensor, logits: Callable[[Tensor], Tensor], settings: GenerationConfig
) -> tuple[Tensor, Tensor]:
    """The summed log-probability of each row's labels, and how many count: float32 (R,) both.

    Args:
        labels: int32 (R, T); negative ones, the pad id and what follows an end token do not count.
        hidden_states: (R, T, E), of the decoder.
        logits: (R, C, E) -> (R, C, V).
        settings: with special ids.
    """
    is_end = is_among(labels, settings.end_tokens)
    ended = ops.cumsum(ops.cast(is_end, "int32"), axis=1) - ops.cast(is_end, "int32")
    is_text = ops.logical_and(labels >= 0, ops.not_equal(labels, settings.pad_token_id))
    counts = ops.logical_and(ops.equal(ended, 0), ops.logical_or(is_text, is_end))
    weights = ops.cast(counts, "float32")
    chunks = [
        ops.moveaxis(split_into_blocks(x, CHUNK_LENGTH, axis=1), 1, 0)
        for x in (hidden_states, ops.where(counts, labels, 0), weights)
    ]

    def add(index: Tensor, sums: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        hidden, label, weight = (x[index] for x in chunks)
        found = ops.cast(logits(hidden), "float32")  # (R, C, V)
        chosen = ops.take_along_axis(found, label[..., None], axis=2)[..., 0] - ops.logsumexp(found, axis=2)
        return [sums[0] + ops.sum(chosen * weight, axis=1)], []

    (total,), _ = scan(add, [ops.zeros_like(weights[:, 0])], [], ops.shape(chunks[0])[0])
    return total, ops.sum(weights, axis=1)
