"""Numbers and lists as plain Python objects, whatever library they come from."""

from collections.abc import Mapping
from typing import Any

import numpy as np

# Settings and configs are flat; deeper nesting is an attempt to exhaust the stack.
DEEPEST = 50


def plain(value: Any, name: str = "values") -> Any:
    """`value` with NumPy scalars, arrays and tensors of known value as Python numbers and lists, at any depth.

    Lists, tuples and mappings keep their order; every other object, such as a tensor inside a graph, is unchanged.

    Args:
        value: anything.
        name: the name in error messages.

    Raises:
        ValueError: lists within lists more than 50 deep.

    >>> plain({"eos_token_id": np.array([1, 7]), "temperature": np.float64(0.5), "num_beams": np.array(4)})
    {'eos_token_id': [1, 7], 'temperature': 0.5, 'num_beams': 4}
    """
    try:
        return _plain(value, DEEPEST)
    except _TooDeep:
        raise ValueError(f"{name} must be nested at most {DEEPEST} deep. Received: more") from None


class _TooDeep(Exception):
    pass


def _plain(value: Any, deepest: int) -> Any:
    if deepest < 0:
        raise _TooDeep
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {_plain(key, deepest - 1): _plain(held, deepest - 1) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        entries = [_plain(held, deepest - 1) for held in value]
        return entries if isinstance(value, list) else tuple(entries)
    return _of_array(value, deepest) if hasattr(value, "__array__") else value


def _of_array(value: Any, deepest: int) -> Any:
    try:
        array = np.asarray(value)
    # A traced value: each backend raises another exception.
    except Exception:
        return value
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return array.astype("float64").tolist()
    if array.dtype.kind in "biuU":
        return array.tolist()
    return _plain(array.tolist(), deepest - 1) if array.dtype.kind == "O" and array.ndim else value


def whole_number(value: Any) -> int:
    """A key of a JSON object as an integer.

    Raises:
        ValueError: a key that is neither an integer nor decimal digits.

    >>> whole_number("12"), whole_number(np.int64(3))
    (12, 3)
    """
    value = plain(value)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"keys must be integers. Received: {value!r:.80}")
    return value
