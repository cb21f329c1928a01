"""Loss and log-probabilities without the logits of a whole batch.

At 50,000 tokens of vocabulary the logits, and the gradient that is as large, can be the largest tensors of a step. Here
only the logits of a chunk of target positions exist at one time.

C are here the positions of a chunk, and N the chunks.
"""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from tfmodels.backend.autocast import scope_of_values, stored_values
from tfmodels.backend.batch_parts import batch_parts, of_each_part, total_of_parts, zero_of_each_part
from tfmodels.backend.gradients import Gradient, custom_gradient, gradients
from tfmodels.backend.scan import scan
from tfmodels.backend.types import Tensor
from tfmodels.generation.config import GenerationConfig
from tfmodels.generation.search import is_among
from tfmodels.layers.blocks import merge_blocks, split_into_blocks
from tfmodels.modeling.losses import summed_cross_entropy
from tfmodels.utils.checks import check_shape
from tfmodels.utils.labels import IGNORED_LABEL

CHUNK_LENGTH = 64
"""The number of target positions whose logits exist at one time."""


def chunked_cross_entropy(
    labels: Tensor,
    hidden_states: Tensor,
    logits: Callable[[Tensor], Tensor],
    trainable: Sequence[keras.Variable],
    frozen: Sequence[keras.Variable] = (),
    chunk_length: int = CHUNK_LENGTH,
    smoothing: float = 0.0,
) -> Tensor:
    """The mean cross-entropy of `logits(hidden_states)` over all labels except -100; 0 without labels.

    The loss is summed chunk by chunk over the target positions, and its gradient recomputes each chunk's logits.

    Args:
        labels: int32 (B, T).
        hidden_states: (B, T, E).
        logits: (B, C, E) -> (B, C, V), for each position by itself.
        trainable: the trainable variables of `logits`; gradients reach them and `hidden_states`.
        frozen: the frozen variables of `logits`.
        chunk_length: C.
        smoothing: see `summed_cross_entropy`.

    Raises:
        ValueError: labels and hidden states of different shapes.

    >>> layer = keras.layers.Dense(5)
    >>> layer.build((None, None, 4))
    >>> labels, hidden_states = ops.array([[1, 2, -100]]), ops.zeros((1, 3, 4))
    >>> round(float(chunked_cross_entropy(labels, hidden_states, layer, layer.variables, chunk_length=2)), 3)
    1.609
    """
    check_shape("labels", labels, tuple(hidden_states.shape)[:2], "rows, tokens")
    labels = ops.cast(labels, "int32")
    count = ops.sum(ops.cast(ops.not_equal(labels, IGNORED_LABEL), "float32"))
    # Shifted, so that the padding of the last chunk is ignored.
    shifted = split_into_blocks(labels - IGNORED_LABEL, chunk_length, axis=1)  # (B, N, C)
    label_chunks = ops.transpose(shifted + IGNORED_LABEL, (1, 0, 2))
    # Every variable is read here: inside, a backend would watch it, or miss the value that a trainer holds elsewhere.
    trainable_values, frozen_values = stored_values(trainable), stored_values(frozen)

    def chunk_loss(labels: Tensor, chunk: Tensor, *values: Tensor) -> Tensor:
        with scope_of_values([*trainable, *frozen], values):
            return summed_cross_entropy(labels, logits(chunk), smoothing=smoothing)

    total = _sum_over_chunks(chunk_loss, label_chunks, hidden_states, trainable_values, frozen_values, chunk_length)
    return total / ops.maximum(count, 1.0)


def _sum_over_chunks(
    chunk_loss: Callable[..., Tensor],
    label_chunks: Tensor,
    hidden_states: Tensor,
    trainable_values: list[Tensor],
    frozen_values: list[Tensor],
    chunk_length: int,
) -> Tensor:
    """The sum of `chunk_loss(labels (B, C), chunk (B, C, E), *trainable_values, *frozen_values)` over the chunks.

    The gradient recomputes each chunk. Where devices share a batch, each sums the weights' gradients of its own rows,
    and the sums meet after the last chunk: the table of a large vocabulary crosses the devices once.
    """

    def total(hidden_states: Tensor, *values: Tensor) -> tuple[Tensor, Gradient]:
        trained, frozen = values[: len(trainable_values)], values[len(trainable_values) :]
        blocks = split_into_blocks(hidden_states, chunk_length, axis=1)
        chunks = ops.transpose(blocks, (1, 0, 2, 3))  # (N, B, C, E)
        count, parts = ops.shape(chunks)[0], batch_parts(chunks.shape[1])
        chunk_spec = (tuple(chunks.shape)[1:], keras.backend.standardize_dtype(chunks.dtype))

        def add(index: Tensor, sums: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            return [sums[0] + chunk_loss(label_chunks[index], chunks[index], *values)], []

        def gradient(upstream: Tensor) -> list[Tensor]:
            def of_rows(labels: Tensor, chunk: Tensor) -> list[Tensor]:
                # Scaled before differentiation: a loss scale must reach the 16-bit products.
                return gradients(lambda *x: upstream * chunk_loss(labels, *x, *frozen), [chunk, *trained])

            def step(index: Tensor, sums: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
                d_chunk, shares = of_each_part(of_rows, parts, [label_chunks[index], chunks[index]])
                return [total + ops.cast(x, "float32") for total, x in zip(sums, shares, strict=True)], [d_chunk]

            # Zeros that depend on the upstream: XLA creates constants at the start of a step, and keeps them.
            zero = ops.cast(upstream, "float32") * 0
            start = [zero_of_each_part(zero, parts, ops.shape(value)) for value in trained]
            sums, (d_chunks,) = scan(step, start, [chunk_spec], count)
            sums = [total_of_parts(x, parts) for x in sums]
            d_blocks = ops.transpose(d_chunks, (1, 0, 2, 3))  # (B, N, C, E)
            d_hidden = merge_blocks(d_blocks, ops.shape(hidden_states)[1], axis=1)  # (B, T, E)
            return [d_hidden, *(ops.cast(x, value.dtype) for x, value in zip(sums, trained, strict=True))]

        (loss,), _ = scan(add, [ops.zeros((), "float32")], [], count)
        return loss, gradient

    return custom_gradient(total, [hidden_states, *trainable_values], frozen_values)


def log_probabilities(
    labels: Tensor, hidden_states: Tensor, logits: Callable[[Tensor], Tensor], settings: GenerationConfig
) -> tuple[Tensor, Tensor]:
    """The summed log-probability of each row's labels, and their number: float32 (R,) both.

    Args:
        labels: int32 (R, T); negative labels, the pad id and labels after an end token are ignored.
        hidden_states: the decoder's (R, T, E).
        logits: (R, C, E) -> (R, C, V).
        settings: settings with special ids.
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
        scores = ops.cast(logits(hidden), "float32")  # (R, C, V)
        chosen = ops.take_along_axis(scores, label[..., None], axis=2)[..., 0] - ops.logsumexp(scores, axis=2)
        return [sums[0] + ops.sum(chosen * weight, axis=1)], []

    (total,), _ = scan(add, [ops.zeros_like(weights[:, 0])], [], ops.shape(chunks[0])[0])
    return total, ops.sum(weights, axis=1)
