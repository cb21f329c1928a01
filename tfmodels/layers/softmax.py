"""Softmax over masked scores, in float32, where a row without a visible key gives zeros and not NaN."""

from typing import Any

from keras import ops

Tensor = Any

# Half of float32's most negative number: a difference of two such scores does not overflow to infinity.
_MASKED = -1.7e38


def masked_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Replace the float32 `scores` by a very negative number where the bool `mask` is False."""
    return ops.where(mask, scores, ops.cast(_MASKED, scores.dtype))


def shared_softmax(parts: list[Tensor]) -> list[Tensor]:
    """Softmax over the last axis of several score tensors as if they were one, without joining them.

    Args:
        parts: float32 tensors (..., S_i) that agree in all but the last axis, made by `masked_scores`.

    Returns:
        Probabilities in the shapes of `parts`; they sum to 1 over all parts, or to 0 where every score is masked.

    >>> a, b = shared_softmax([ops.zeros((1, 3)), ops.zeros((1, 1))])
    >>> float(ops.sum(a)), float(ops.sum(b))
    (0.75, 0.25)
    """
    highest = ops.max(parts[0], axis=-1, keepdims=True)
    for part in parts[1:]:
        if part.shape[-1] != 0:
            highest = ops.maximum(highest, ops.max(part, axis=-1, keepdims=True))
    # The highest score cancels in the quotient: no gradient needs to pass through it.
    highest = ops.stop_gradient(highest)
    exponentials = [ops.where(part > _MASKED / 2, ops.exp(part - highest), 0.0) for part in parts]
    total = sum(ops.sum(part, axis=-1, keepdims=True) for part in exponentials)
    scale = 1.0 / ops.maximum(total, 1e-37)
    return [part * scale for part in exponentials]


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Float32 softmax of `scores` over the last axis where the bool `mask` (None: everywhere) is True."""
    scores = ops.cast(scores, "float32")
    return shared_softmax([scores if mask is None else masked_scores(scores, mask)])[0]
