"""The losses of the heads, in float32 at any precision of the model.

Further shape letters: J classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops

from tfmodels.backend.types import Tensor
from tfmodels.backend.value_checks import widened
from tfmodels.utils.checks import check_shape
from tfmodels.utils.labels import IGNORED_LABEL


class LossTerm(NamedTuple):
    """A sum of losses, and the number of labels in it: two float32 scalars.

    The sums and counts of a batch's parts add up. Their means do not, as parts may have unequal numbers of labels.
    """

    total: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean loss of a label; 0 without labels."""
        return self.total / ops.maximum(self.count, 1.0)


def mean_loss(terms: Sequence[LossTerm]) -> Tensor:
    """The mean of the terms' means (an answer's first and last token are two terms)."""
    return sum(term.mean for term in terms) / len(terms)


def shift_right(labels: Tensor, start_token_id: int, pad_token_id: int) -> Tensor:
    """Shift labels (B, T) right: the start token, then all labels except the last; ignored labels become padding.

    >>> ops.convert_to_numpy(shift_right(ops.array([[5, 1, -100]]), 2, 0)).tolist()
    [[2, 5, 1]]
    """
    start = ops.full_like(labels[:, :1], start_token_id)
    shifted = ops.concatenate([start, labels[:, :-1]], axis=1)
    return ops.where(ops.equal(shifted, IGNORED_LABEL), pad_token_id, shifted)


def has_loss(labels: Tensor, classes: int, ignored: int = IGNORED_LABEL) -> Tensor:
    """True for labels that count: bool of the same shape.

    A label outside the classes does not count. It reaches this function in compiled programs alone (see `check_ids`),
    where its loss would make every weight NaN.

    >>> ops.convert_to_numpy(has_loss(ops.array([3, -100, 4, 0, -1]), classes=4)).tolist()
    [True, False, False, True, False]
    """
    labels = widened(labels)
    is_class = ops.logical_and(labels >= 0, labels < classes)
    return ops.logical_and(is_class, ops.not_equal(labels, ignored))


def cross_entropy_term(
    labels: Tensor, logits: Tensor, ignored: int = IGNORED_LABEL, weights: Tensor | None = None
) -> LossTerm:
    """The summed cross-entropy of all labels except `ignored`, and their number.

    Args:
        labels: int32 (...).
        logits: (..., V).
        ignored: the label without a loss.
        weights: factors of the losses, (B,) or of the labels' shape. They do not change the number of labels.

    Raises:
        ValueError: labels or weights of the wrong shape.

    >>> round(float(cross_entropy_term(ops.array([0, -100, 1]), ops.zeros((3, 2))).mean), 3)
    0.693
    """
    check_shape("labels", labels, tuple(logits.shape)[:-1], "rows, tokens")
    counts = ops.cast(has_loss(labels, logits.shape[-1], ignored), "float32")
    return LossTerm(summed_cross_entropy(labels, logits, ignored, weights), ops.sum(counts))


def summed_cross_entropy(
    labels: Tensor,
    logits: Tensor,
    ignored: int = IGNORED_LABEL,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """The sum of `cross_entropy_term`, with the same arguments: a float32 scalar.

    Args:
        labels, logits, ignored, weights: see `cross_entropy_term`.
        smoothing: the share of a label's weight that is spread over all classes (Szegedy et al. 2016, section 7).

    >>> round(float(summed_cross_entropy(ops.array([0, -100, 1]), ops.zeros((3, 2)))), 3)
    1.386
    """
    is_counted = has_loss(labels, logits.shape[-1], ignored)
    counts = _weighted(ops.cast(is_counted, "float32"), weights)
    labels = ops.where(is_counted, labels, 0)
    logits = ops.cast(logits, "float32")
    losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    if smoothing:
        spread = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        losses = (1.0 - smoothing) * losses + smoothing * spread
    # Under JAX's 64-bit mode, Keras computes this one loss in float64.
    return ops.sum(ops.cast(losses, "float32") * counts)


def label_weights(sample_weight: Any, labels: Tensor) -> Tensor:
    """The user's weights as float32, broadcastable to the labels' shape.

    Args:
        sample_weight: weights of rows, (B,) or (B, 1), or of labels, in the labels' shape or with a further axis of 1.
        labels: (B, ...).

    Raises:
        ValueError: weights of the wrong shape.

    >>> tuple(label_weights(ops.ones((2, 1)), ops.zeros((2, 5))).shape)
    (2, 1)
    """
    weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    rank, size = len(labels.shape), tuple(labels.shape)
    if len(weights.shape) == rank + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if len(weights.shape) < rank:
        weights = ops.reshape(weights, (-1, *(1,) * (rank - 1)))
    fits = len(weights.shape) == rank and (None in (weights.shape[0], size[0]) or weights.shape[0] == size[0])
    pairs = zip(weights.shape[1:], size[1:], strict=False)
    if not fits or any(None not in pair and pair[0] not in (1, pair[1]) for pair in pairs):
        received = tuple(ops.convert_to_tensor(sample_weight).shape)
        raise ValueError(f"sample_weight must have shape {size[:1]} or {size}. Received: shape {received}")
    return weights


def _weighted(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses if weights is None else losses * label_weights(weights, losses)


def classification_terms(
    labels: Tensor, logits: Tensor, problem_type: str | None, weights: Tensor | None = None
) -> list[LossTerm]:
    """The loss of a classification or regression head, over the rows.

    Args:
        labels: (B,) class ids, (B,) or (B, J) numbers, or (B, J) zeros and ones, by problem type.
        logits: (B, J).
        problem_type: "regression" (mean squared error), "single_label_classification" (cross-entropy),
            "multi_label_classification" (binary cross-entropy of each class). None: regression for one class,
            single-label for integer labels, multi-label for float labels.
        weights: factors of the rows' losses, (B,).

    Raises:
        ValueError: labels or weights of the wrong shape.

    >>> float(mean_loss(classification_terms(ops.array([[1.0], [3.0]]), ops.array([[1.0], [1.0]]), None)))
    2.0
    """
    logits = ops.cast(logits, "float32")
    classes = logits.shape[-1]
    labels = ops.convert_to_tensor(labels)
    kind = problem_type_of(labels, classes, problem_type)
    rows = logits.shape[0]
    is_column = len(labels.shape) == 2 and labels.shape[1] == 1
    if kind == "single_label_classification":
        labels = labels[:, 0] if is_column else labels
        check_shape("labels", labels, (rows,), "rows")
        return [cross_entropy_term(ops.cast(labels, "int32"), logits, weights=weights)]
    if classes == 1 and len(labels.shape) == 1:
        labels = labels[:, None]
    check_shape("labels", labels, (rows, classes), "rows, classes")
    labels = ops.cast(labels, "float32")
    if kind == "regression":
        losses = ops.mean(ops.square(logits - labels), axis=-1)
    else:
        losses = ops.mean(ops.binary_crossentropy(labels, logits, from_logits=True), axis=-1)
    count = ops.cast(ops.shape(logits)[0], "float32")
    return [LossTerm(ops.sum(_weighted(ops.cast(losses, "float32"), weights)), count)]


def problem_type_of(labels: Tensor, classes: int, problem_type: str | None) -> str:
    """The config's problem type, or by default the type that fits the labels; see `classification_terms`."""
    if problem_type is not None:
        return problem_type
    if classes == 1:
        return "regression"
    is_integer = "int" in str(labels.dtype)
    return "single_label_classification" if is_integer else "multi_label_classification"


def span_terms(
    start_positions: Tensor,
    end_positions: Tensor,
    start_logits: Tensor,
    end_logits: Tensor,
    weights: Any = None,
) -> list[LossTerm]:
    """The cross-entropy of the start and of the end of an answer; a position beyond the inputs has no loss.

    Args:
        start_positions, end_positions: int32 (B,).
        start_logits, end_logits: (B, T).
        weights: factors of the rows' losses, (B,); or a pair, which Keras makes for a pair of targets.

    Raises:
        ValueError: positions or weights of the wrong shape.
    """
    length = ops.shape(start_logits)[1]
    start_weights, end_weights = weights if isinstance(weights, (tuple, list)) else (weights, weights)

    def term(positions: Tensor, logits: Tensor, weights: Tensor | None) -> LossTerm:
        positions = ops.convert_to_tensor(positions)
        if len(positions.shape) == 2 and positions.shape[1] == 1:
            positions = positions[:, 0]
        check_shape("start_positions and end_positions", positions, (logits.shape[0],), "rows")
        # Clipped as in transformers, so that a negative position means the first token.
        positions = ops.clip(ops.cast(positions, "int32"), 0, length)
        return cross_entropy_term(positions, logits, ignored=length, weights=weights)

    return [term(start_positions, start_logits, start_weights), term(end_positions, end_logits, end_weights)]
