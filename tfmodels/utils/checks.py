"""Early checks of arguments, with one wording for all modules."""

from typing import Any

_INFINITE = 1e300


def check_positive(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a positive integer.

    >>> check_positive("num_beams", 0)
    Traceback (most recent call last):
    ValueError: num_beams must be a positive integer. Received: num_beams=0
    """
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError(f"{argument} must be a positive integer. Received: {argument}={value!r:.80}")


def check_at_least(argument: str, value: Any, lowest: int) -> None:
    """Raise `ValueError` unless `value` is an integer of at least `lowest`."""
    if lowest == 1:
        check_positive(argument, value)
    elif isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ValueError(f"{argument} must be an integer of at least {lowest}. Received: {argument}={value!r:.80}")


def check_even_positive(argument: str, value: int, received: Any = None) -> None:
    """Raise `ValueError` unless `value` is a positive even integer; the error shows `received` in its place."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0 or value % 2:
        raise ValueError(f"{argument} must be even and positive. Received: {argument}={received or value}")


def check_number(argument: str, value: Any, low: float, high: float = _INFINITE, above: bool = False) -> None:
    """Raise `ValueError` unless `value` is a finite number from `low` to `high`; with `above`, larger than `low`.

    >>> check_number("top_p", 7, 0.0, 1.0, above=True)
    Traceback (most recent call last):
    ValueError: top_p must be a number above 0 and at most 1. Received: top_p=7
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and (low < value if above else low <= value) and value <= high:
        return
    rule = f"above {low:g}" if above else f"of at least {low:g}"
    rule += "" if high >= _INFINITE else f" and at most {high:g}"
    raise ValueError(f"{argument} must be a number {rule}. Received: {argument}={value!r:.80}")


def check_not_negative(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a finite number of at least 0."""
    check_number(argument, value, 0.0)


def check_finite(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < _INFINITE:
        raise ValueError(f"{argument} must be a finite number. Received: {argument}={value!r:.80}")


def check_flag(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False. Received: {argument}={value!r:.80}")


def check_rate(argument: str, value: Any) -> None:
    """Raise `ValueError` unless `value` is a probability below 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{argument} must be in [0, 1). Received: {argument}={value!r}")


def check_divides(argument: str, value: int, of_argument: str, of_value: int) -> None:
    """Raise `ValueError` unless `value` divides `of_value`."""
    if of_value % value:
        raise ValueError(
            f"{argument} must divide {of_argument}. Received: {argument}={value}, {of_argument}={of_value}"
        )


def check_shape(argument: str, x: Any, expected: tuple[Any, ...], meaning: str) -> None:
    """Raise `ValueError` unless the static shape of `x` is `expected`; None in either stands for any size.

    Args:
        argument: the name of `x` in the error.
        x: an array or tensor.
        expected: the sizes.
        meaning: the names of the axes in the error.

    >>> import numpy as np
    >>> check_shape("attention_mask", np.ones((2, 3)), (2, None), "documents, tokens")
    """
    shape = tuple(x.shape)
    differs = any(None not in pair and pair[0] != pair[1] for pair in zip(shape, expected, strict=False))
    if len(shape) != len(expected) or differs:
        sizes = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{argument} must have shape ({sizes}) = ({meaning}). Received: shape {shape}")


def check_length(argument: str, length: Any, limit_name: str, limit: int) -> None:
    """Raise `ValueError` when a static length, the number of a row's tokens, exceeds the positions of a model."""
    if isinstance(length, int) and length > limit:
        raise ValueError(f"{argument} must have at most {limit_name}={limit} tokens. Received: {length} tokens")
