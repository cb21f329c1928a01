"""Early checks of arguments, with one wording for all modules."""

from typing import Any


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

    >>> import numpy as np
    >>> check_shape("attention_mask", np.ones((2, 3)), (2, None), "documents, tokens")
    """
    shape = tuple(x.shape)
    differs = any(None not in pair and pair[0] != pair[1] for pair in zip(shape, expected, strict=False))
    if len(shape) != len(expected) or differs:
        sizes = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{argument} must have shape ({sizes}) = ({meaning}). Received: shape {shape}")


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
    """Raise `ValueError` when the static length of `x` (B, L, ...) exceeds the positions of a model."""
    length = x.shape[1]
    if isinstance(length, int) and length > limit:
        raise ValueError(f"{argument} must have at most {limit_name}={limit} tokens. Received: {length} tokens")
