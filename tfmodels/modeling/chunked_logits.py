"""The language model's loss without the logits of a whole batch.

At 50,000 tokens of vocabulary the logits, and the gradient that is as large, can be the largest tensors of a step.

Shape letters: B rows, T target length, N chunks, C positions of a chunk, E model size, V vocabulary.
"""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from tfmodels.backend.autocast import scope_of_values, stored_values
from tfmodels.backend.gradients import Gradient, custom_gradient, gradients
from tfmodels.backend.scan import scan
from tfmodels.backend.types import Tensor
from tfmodels.layers.blocks import merge_blocks, split_into_blocks
from tfmodels.modeling.losses import summed_cross_entropy
from tfmodels.utils.checks import check_shape
from tfmodels.utils.labels import IGNORED_LABEL

CHUNK_LENGTH = 64
"""Target positions whose logits exist at one time."""


def chunked_cross_entropy(
    labels: Tensor,
    hidden_states: Tensor,
    logits: Callable[[Tensor], Tensor],
    trainable: Sequence[keras.Variable],
    frozen: Sequence[keras.Variable] = (),
    chunk_length: int = CHUNK_LENGTH,
) -> Tensor:
    """Mean cross-entropy of `logits(hidden_states)` over the labels that are not -100; 0 where there are none.

    The loss is summed chunk by chunk over the target positions, and its gradient computes each chunk's logits again.

    Args:
        labels: int32 (B, T).
        hidden_states: (B, T, E).
        logits: (B, C, E) -> (B, C, V); of each position by itself.
        trainable: variables that `logits` uses; gradients reach them and `hidden_states`.
        frozen: all others that it uses.
        chunk_length: C.

    Raises:
        ValueError: labels of another shape than the hidden states'.

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
    # Every variable, read here: inside, a backend would watch it, or find that a trainer holds its value elsewhere.
    values, others = stored_values(trainable), stored_values(frozen)

    def chunk_loss(index: Tensor, chunk: Tensor, *values: Tensor) -> Tensor:
        with scope_of_values([*trainable, *frozen], values):
            return summed_cross_entropy(label_chunks[index], logits(chunk))

    total = _sum_over_chunks(chunk_loss, hidden_states, values, others, chunk_length)
    return total / ops.maximum(count, 1.0)


def _sum_over_chunks(
    chunk_loss: Callable[..., Tensor],
    hidden_states: Tensor,
    values: list[Tensor],
    others: list[Tensor],
    chunk_length: int,
) -> Tensor:
    """Sum of `chunk_loss(index, chunk (B, C, E), *values, *others)`; its gradient computes each chunk again."""

    def total(hidden_states: Tensor, *given: Tensor) -> tuple[Tensor, Gradient]:
        trained, fixed = given[: len(values)], given[len(values) :]
        blocks = split_into_blocks(hidden_states, chunk_length, axis=1)
        chunks = ops.transpose(blocks, (1, 0, 2, 3))  # (N, B, C, E)
        count = ops.shape(chunks)[0]
        made = (tuple(chunks.shape)[1:], keras.backend.standardize_dtype(chunks.dtype))

        def add(index: Tensor, sums: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            return [sums[0] + chunk_loss(index, chunks[index], *given)], []

        def gradient(upstream: Tensor) -> list[Tensor]:
            def step(index: Tensor, sums: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
                # Scaled before it is differentiated: a loss scale must reach the 16-bit products.
                found = gradients(lambda *x: upstream * chunk_loss(index, *x, *fixed), [chunks[index], *trained])
                return [total + ops.cast(x, "float32") for total, x in zip(sums, found[1:], strict=True)], found[:1]

            # Zeros that wait for the upstream: XLA makes constants when a step begins, and keeps them all along.
            zero = ops.cast(upstream, "float32") * 0
            start = [ops.broadcast_to(zero, ops.shape(value)) for value in trained]
            sums, (found,) = scan(step, start, [made], count)
            found = merge_blocks(ops.transpose(found, (1, 0, 2, 3)), ops.shape(hidden_states)[1], axis=1)
            return [found, *(ops.cast(x, value.dtype) for x, value in zip(sums, trained, strict=True))]

        (loss,), _ = scan(add, [ops.zeros((), "float32")], [], count)
        return loss, gradient

    return custom_gradient(total, [hidden_states, *values], others)
