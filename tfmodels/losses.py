"""The losses of the heads, in float32 whatever the model's precision.

Shape letters: B batch, T target length, V vocabulary, C classes.
"""

from typing import Any

from keras import ops

from tfmodels.labels import IGNORED_LABEL
from tfmodels.layers.checks import check_shape

Tensor = Any


def shift_right(labels: Tensor, start_token_id: int, pad_token_id: int) -> Tensor:
    """Decoder inputs for labels (B, T): the start token, then the labels but the last; ignored labels become padding.

    >>> ops.convert_to_numpy(shift_right(ops.array([[5, 1, -100]]), 2, 0)).tolist()
    [[2, 5, 1]]
    """
    start = ops.full_like(labels[:, :1], start_token_id)
    shifted = ops.concatenate([start, labels[:, :-1]], axis=1)
    return ops.where(ops.equal(shifted, IGNORED_LABEL), pad_token_id, shifted)


def masked_cross_entropy(labels: Tensor, logits: Tensor, ignored: int = IGNORED_LABEL) -> Tensor:
    """Mean cross-entropy over the labels that are not `ignored`; 0 where there are none.

    Args:
        labels: int32 (...).
        logits: (..., V).
        ignored: the label without a loss.

    Raises:
        ValueError: labels of another shape.
    """
    check_shape("labels", labels, tuple(logits.shape)[:-1], "rows, tokens")
    count = ops.sum(ops.cast(ops.not_equal(labels, ignored), "float32"))
    return summed_cross_entropy(labels, logits, ignored) / ops.maximum(count, 1.0)


def summed_cross_entropy(labels: Tensor, logits: Tensor, ignored: int = IGNORED_LABEL) -> Tensor:
    """As `masked_cross_entropy`, summed over the labels.

    >>> round(float(summed_cross_entropy(ops.array([0, -100, 1]), ops.zeros((3, 2)))), 3)
    1.386
    """
    counts = ops.cast(ops.not_equal(labels, ignored), "float32")
    labels = ops.where(ops.equal(labels, ignored), 0, labels)
    losses = ops.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)
    # Where JAX has 64-bit numbers, Keras computes this one loss in them.
    return ops.sum(ops.cast(losses, "float32") * counts)


def classification_loss(labels: Tensor, logits: Tensor, problem_type: str | None) -> Tensor:
    """The loss of a classification or regression head.

    Args:
        labels: (B,) class ids, (B,) or (B, C) numbers, or (B, C) zeros and ones, by problem type.
        logits: (B, C).
        problem_type: "regression" (mean squared error), "single_label_classification" (cross-entropy),
            "multi_label_classification" (binary cross-entropy of each class). None: regression for one class,
            single-label for integer labels, multi-label for others.

    >>> float(classification_loss(ops.array([[1.0], [3.0]]), ops.array([[1.0], [1.0]]), None))
    2.0
    """
    logits = ops.cast(logits, "float32")
    classes = logits.shape[-1]
    labels = ops.convert_to_tensor(labels)
    if problem_type is None:
        is_integer = "int" in str(labels.dtype)
        named = "single_label_classification" if is_integer else "multi_label_classification"
        problem_type = "regression" if classes == 1 else named
    rows = logits.shape[0]
    is_column = len(labels.shape) == 2 and labels.shape[1] == 1
    if problem_type == "single_label_classification":
        labels = labels[:, 0] if is_column else labels
        check_shape("labels", labels, (rows,), "rows")
        return masked_cross_entropy(ops.cast(labels, "int32"), logits)
    if classes == 1 and len(labels.shape) == 1:
        labels = labels[:, None]
    check_shape("labels", labels, (rows, classes), "rows, classes")
    labels = ops.cast(labels, "float32")
    if problem_type == "regression":
        return ops.mean(ops.square(logits - labels))
    return ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True))


def span_loss(start_positions: Tensor, end_positions: Tensor, start_logits: Tensor, end_logits: Tensor) -> Tensor:
    """Mean cross-entropy of the start and the end of an answer; a position beyond the inputs has no loss.

    Args:
        start_positions, end_positions: int32 (B,).
        start_logits, end_logits: (B, T).
    """
    length = ops.shape(start_logits)[1]

    def loss(positions: Tensor, logits: Tensor) -> Tensor:
        positions = ops.convert_to_tensor(positions)
        if len(positions.shape) == 2 and positions.shape[1] == 1:
            positions = positions[:, 0]
        check_shape("start_positions and end_positions", positions, (logits.shape[0],), "rows")
        positions = ops.cast(positions, "int32")
        # The reference clips, so that a negative position means the first token.
        positions = ops.clip(positions, 0, length)
        return masked_cross_entropy(positions, logits, ignored=length)

    return (loss(start_positions, start_logits) + loss(end_positions, end_logits)) / 2
