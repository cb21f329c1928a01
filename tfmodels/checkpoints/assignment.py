"""Filling a weight with as little memory beside it as its backend allows."""

from collections.abc import Callable
from typing import Any

import numpy as np

# Bytes; below, a second copy does not matter.
_PIECE = 2**22


def assign(weight: Any, value: np.ndarray, convert: Callable[[np.ndarray], np.ndarray]) -> None:
    """Assign `convert(value)` to a weight; where it can be updated in place, a large value goes piece by piece.

    A whole assignment holds the old value, the new one and the array that it comes from: the embeddings of a base
    model, a quarter of its weights, three times.

    Args:
        weight: a Keras variable, or anything else with `assign`.
        value: array of the weight's shape.
        convert: gives the array for the weight, of a part of `value` along its first axis as well as of the whole.

    >>> import keras
    >>> weight = keras.Variable([0.0, 0.0])
    >>> assign(weight, np.ones(2, "float16"), lambda piece: piece.astype("float32"))
    >>> np.asarray(weight)
    array([1., 1.], dtype=float32)
    """
    variable: Any = getattr(weight, "value", None)
    # TensorFlow's own variable: those of its distribution strategies lack the update, and so do other backends'.
    if value.nbytes <= _PIECE or type(variable).__name__ != "ResourceVariable":
        weight.assign(convert(value))
        return
    rows = max(1, _PIECE // value[:1].nbytes)
    for start in range(0, len(value), rows):
        piece = convert(value[start : start + rows])
        # Not a slice's `assign`, which reads the slice first and thereby makes TensorFlow copy the whole variable.
        variable.scatter_nd_update(np.arange(start, start + len(piece))[:, None], piece)
