"""Softmax over masked scores, in float32, where a row without a visible key gives zeros and not NaN."""

from keras import ops

from tfmodels.backend.types import Tensor

# Half of float32's most negative number: a difference of two such scores does not overflow to infinity.
_MASKED = -1.7e38


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Float32 softmax of `scores` over the last axis where the bool `mask` (None: everywhere) is True.

    >>> [float(p) for p in masked_softmax(ops.zeros((3,)), ops.array([True, True, False]))]
    [0.5, 0.5, 0.0]
    """
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, ops.cast(_MASKED, "float32"))
    # The highest score cancels in the quotient: no gradient needs to pass through it.
    highest = ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True))
    exponentials = ops.where(scores > _MASKED / 2, ops.exp(scores - highest), 0.0)
    return exponentials / ops.maximum(ops.sum(exponentials, axis=-1, keepdims=True), 1e-37)
