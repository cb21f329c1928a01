"""The language model's loss without the logits of a whole batch.

At 50,000 tokens of vocabulary the logits, and the gradient that is as large, can be the largest tensors of a step.

Shape letters: B rows, T target length, N chunks, C positions of a chunk, E model size, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

# Keras keeps the autocast dtype of the layers around a call in a thread-local scope. No public name reads or sets it.
from keras.src.backend.common.variables import AutocastScope

from tfmodels.labels import IGNORED_LABEL
from tfmodels.layers.blocks import merge_blocks, split_into_blocks
from tfmodels.layers.checks import check_shape
from tfmodels.layers.gradients import gradients
from tfmodels.layers.loops import scan
from tfmodels.losses import summed_cross_entropy

Tensor = Any

CHUNK_LENGTH = 64
"""Target positions whose logits exist at one time."""


def chunked_cross_entropy(
    labels: Tensor,
    hidden_states: Tensor,
    logits: Callable[[Tensor], Tensor],
    variables: Sequence[keras.Variable],
    chunk_length: int = CHUNK_LENGTH,
) -> Tensor:
    """Mean cross-entropy of `logits(hidden_states)` over the labels that are not -100; 0 where there are none.

    The loss is summed chunk by chunk over the target positions, and its gradient computes each chunk's logits again.

    Args:
        labels: int32 (B, T).
        hidden_states: (B, T, E).
        logits: (B, C, E) -> (B, C, V); of each position by itself.
        variables: the trainable variables that `logits` uses; gradients reach them and `hidden_states`.
        chunk_length: C.

    Raises:
        ValueError: labels of another shape than the hidden states'.

    >>> layer = keras.layers.Dense(5)
    >>> layer.build((None, None, 4))
    >>> labels, hidden_states = ops.array([[1, 2, -100]]), ops.zeros((1, 3, 4))
    >>> round(float(chunked_cross_entropy(labels, hidden_states, layer, layer.trainable_variables, 2)), 3)
    1.609
    """
    check_shape("labels", labels, tuple(hidden_states.shape)[:2], "rows, tokens")
    count = ops.sum(ops.cast(ops.not_equal(labels, IGNORED_LABEL), "float32"))
    # Shifted, so that the padding of the last chunk is ignored.
    shifted = split_into_blocks(labels - IGNORED_LABEL, chunk_length, axis=1)  # (B, N, C)
    label_chunks = ops.transpose(shifted + IGNORED_LABEL, (1, 0, 2))
    with AutocastScope(None):  # the values as they are, not rounded to the compute dtype
        values = [ops.convert_to_tensor(variable.value) for variable in variables]

    def chunk_loss(index: Tensor, chunk: Tensor, *values: Tensor) -> Tensor:
        with AutocastScope(None):
            scope = keras.StatelessScope(list(zip(variables, values, strict=True)))
        with scope:
            return summed_cross_entropy(label_chunks[index], logits(chunk))

    return _sum_over_chunks(chunk_loss, hidden_states, values, chunk_length) / ops.maximum(count, 1.0)


def _sum_over_chunks(
    chunk_loss: Callable[..., Tensor], hidden_states: Tensor, values: list[Tensor], chunk_length: int
) -> Tensor:
    """Sum of `chunk_loss(index, chunk (B, C, E), *values)`; its gradient computes each chunk again."""

    def step(index: Tensor, chunks: Tensor, sums: list[Tensor], scale: Tensor, values: Any) -> Any:
        # Scaled before it is differentiated: a loss scale must reach the 16-bit products.
        found = gradients(lambda *x: scale * chunk_loss(index, *x), [chunks[index], *values])
        return [before + new for before, new in zip(sums, found[1:], strict=True)], found[:1]

    @ops.custom_gradient
    def total(hidden_states: Tensor, *values: Tensor) -> Any:
        blocks = split_into_blocks(hidden_states, chunk_length, axis=1)
        chunks = ops.transpose(blocks, (1, 0, 2, 3))  # (N, B, C, E)
        count = ops.shape(chunks)[0]
        (loss,), _ = scan(
            lambda index, carry: ([carry[0] + chunk_loss(index, chunks[index], *values)], []),
            [ops.zeros((), "float32")],
            [],
            count,
        )

        def gradient(*upstream: Tensor) -> tuple[Tensor, ...]:
            made = (tuple(chunks.shape)[1:], keras.backend.standardize_dtype(chunks.dtype))
            start = [ops.zeros_like(value) for value in values]
            sums, (found,) = scan(lambda i, sums: step(i, chunks, sums, upstream[0], values), start, [made], count)
            return merge_blocks(ops.transpose(found, (1, 0, 2, 3)), ops.shape(hidden_states)[1], axis=1), *sums

        return loss, gradient

    return total(hidden_states, *values)
