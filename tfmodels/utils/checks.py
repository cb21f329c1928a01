"""Early checks of what users pass, with one wording for all layers."""

from typing import Any

import numpy as np
from keras import ops


def concrete_value(x: Any) -> np.ndarray | None:
    """`x` as a NumPy array when its values are known now (eager), None while a graph is being traced.

    >>> concrete_value(ops.ones((2,))).tolist()
    [1.0, 1.0]
    """
    if hasattr(x, "numpy") or isinstance(x, (np.ndarray, list)):
        return np.asarray(x)
    try:
        return ops.convert_to_numpy(x)
    # Keras' backends signal a traced value with different exceptions (TypeError, NotImplementedError, tracer errors).
    except Exception:
        return None


def check_even_positive(argument: str, value: int, received: Any = None) -> None:
    """Raise `ValueError` unless `value` is a positive even integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0 or value % 2:
        raise ValueError(f"{argument} must be even and positive. Received: {argument}={received or value}")


def check_positive(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{argument} must be a positive integer. Received: {argument}={value!r}")


def check_rate(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a probability below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{argument} must be in [0, 1). Received: {argument}={value!r}")


def check_shape(argument: str, x: Any, expected: tuple[Any, ...], meaning: str) -> None:
    """Raise `ValueError` unless the static shape of `x` is `expected`; None stands for any size, there or in `x`.

    >>> check_shape("attention_mask", ops.ones((2, 3)), (2, None), "documents, tokens")
    """
    shape = tuple(x.shape)
    differs = any(None not in pair and pair[0] != pair[1] for pair in zip(shape, expected, strict=False))
    if len(shape) != len(expected) or differs:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{argument} must have shape ({wanted}) = ({meaning}). Received: shape {shape}")


def check_not_negative(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e300:
        raise ValueError(f"{argument} must be a number of at least 0. Received: {argument}={value!r}")


def check_divides(argument: str, value: int, of_argument: str, of_value: int) -> None:
    """Raise `ValueError` unless `value` divides `of_value`."""
    if of_value % value:
        raise ValueError(
            f"{argument} must divide {of_argument}. Received: {argument}={value}, {of_argument}={of_value}"
        )


def check_length(argument: str, x: Any, limit_name: str, limit: int) -> None:
    """Raise `ValueError` when the static length of `x` (B, L, ...) passes the positions that a model has."""
    length = x.shape[1]
    if isinstance(length, int) and length > limit:
        raise ValueError(f"{argument} must have at most {limit_name}={limit} tokens. Received: {length} tokens")


def check_global_capacity(global_attention_mask: Any, attention_mask: Any, max_global_tokens: int) -> None:
    """Raise `ValueError` when a row marks more global tokens than there are slots; only possible in eager calls.

    Marks on padding do not count, and without slots (0) marks are ignored altogether.
    """
    marks = concrete_value(global_attention_mask)
    if marks is None or marks.size == 0 or max_global_tokens == 0:
        return
    valid = None if attention_mask is None else concrete_value(attention_mask)
    per_row = ((marks != 0) if valid is None else (marks != 0) & (valid != 0)).sum(axis=-1)
    if per_row.max() > max_global_tokens:
        row = int(per_row.argmax())
        raise ValueError(
            f"global_attention_mask must mark at most max_global_tokens={max_global_tokens} tokens per row. "
            f"Received: {int(per_row.max())} in row {row}"
        )
