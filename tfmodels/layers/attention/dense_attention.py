"""Dense attention of few queries (a decoder's tokens, or global tokens) to all keys, with a masked softmax.

T is here the number of queries, and S the number of keys.
"""

from math import prod

from keras import ops

from tfmodels.backend.document import WHOLE, Document
from tfmodels.backend.remat import remat
from tfmodels.backend.types import Tensor
from tfmodels.layers.dropout import HashDropout

# Half of float32's most negative number: a difference of two such scores does not overflow to infinity.
_MASKED = -1.7e38


def masked_softmax(scores: Tensor, mask: Tensor | None, document: Document = WHOLE) -> Tensor:
    """Softmax over the last axis of the scores whose bool `mask` is True (None: all), float32.

    A row that is masked entirely yields zeros, never NaN. If the last axis is the length of a divided `document`, the
    softmax is that over all of its tokens.

    >>> [float(p) for p in masked_softmax(ops.zeros((3,)), ops.array([True, True, False]))]
    [0.5, 0.5, 0.0]
    """
    scores = ops.cast(scores, "float32")
    if mask is not None:
        scores = ops.where(mask, scores, ops.cast(_MASKED, "float32"))
    # The highest score cancels in the quotient, and so does its gradient.
    highest = document.highest(ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True)))
    exponentials = ops.where(scores > _MASKED / 2, ops.exp(scores - highest), 0.0)
    return exponentials / ops.maximum(document.total(ops.sum(exponentials, axis=-1, keepdims=True)), 1e-37)


def dense_probabilities(
    query: Tensor,
    keys: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    document: Document = WHOLE,
) -> Tensor:
    """Softmax of the scores of each query with each key: float32 (B, H, T, S); zeros for a query without visible keys.

    Args:
        query: (B, H, T, D), already scaled.
        keys: (B, H, D, S).
        mask: bool, broadcastable to (B, H, T, S); None: everything is visible.
        bias: float32, broadcastable likewise, added to the scores.
        document: the document that the keys are, if it may be divided.

    >>> float(dense_probabilities(ops.ones((1, 1, 1, 2)), ops.ones((1, 1, 2, 4)))[0, 0, 0, 0])
    0.25
    """
    scores = ops.cast(ops.matmul(query, keys), "float32")
    return masked_softmax(scores if bias is None else scores + bias, mask, document)


def dense_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    dropout: HashDropout | None = None,
    training: bool = False,
    document: Document = WHOLE,
) -> Tensor:
    """Attend each query to all keys (Vaswani et al. 2017, section 3.2.1).

    In training the scores are recomputed for the gradient: a softmax over a long document would keep four tensors of
    their size in each layer, and T * S * D operations are a small part of a layer's work.

    Args:
        query, keys, mask, bias, document: as in `dense_probabilities`.
        values: (B, H, S, D).
        dropout: of the probabilities, or None.
        training: recompute the scores for the gradient.

    Returns:
        (B, H, T, D) in the dtype of `values`.

    >>> x = ops.ones((1, 1, 3, 3))
    >>> float(dense_attention(x, x, x)[0, 0, 0, 0])
    1.0
    """
    optional = {"mask": mask, "bias": bias}
    present = {name: tensor for name, tensor in optional.items() if tensor is not None}

    def attend(query: Tensor, keys: Tensor, values: Tensor, *further: Tensor) -> Tensor:
        given = dict(zip(present, further, strict=True))
        probabilities = dense_probabilities(query, keys, document=document, **given)
        if dropout is not None:
            probabilities = probabilities * dropout_scale(dropout, probabilities, document)
        return document.total(ops.matmul(ops.cast(probabilities, values.dtype), values))

    if training:
        return remat(attend, query, keys, values, *present.values())
    return attend(query, keys, values, *present.values())


def dropout_scale(dropout: HashDropout, probabilities: Tensor, document: Document = WHOLE) -> Tensor:
    """The factors of probabilities (B, H, T, S) whose last axis is a device's part of a document."""
    shape = ops.shape(probabilities)
    if not document.is_divided:
        return dropout.scale(shape, ops.zeros((), "int32"))
    *rows, tokens = shape
    columns = document.positions(tokens)
    return ops.reshape(dropout.scale_at(ops.arange(prod(rows), dtype="int32"), columns, document.length(tokens)), shape)
