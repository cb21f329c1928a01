"""Checks of values: at once for known values, at run time in TensorFlow's graphs.

A program that XLA compiles cannot raise: there TensorFlow omits these checks, and JAX has none.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor


def concrete_value(x: Any) -> np.ndarray | None:
    """`x` as a NumPy array if its values are known (eager), None while a graph is being traced.

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


def widened(ids: Any) -> Tensor:
    """Unsigned and small integers as int32: a vocabulary's size may exceed their dtype.

    >>> keras.backend.standardize_dtype(widened(np.array([7], "uint8")).dtype)
    'int32'
    """
    dtype = keras.backend.standardize_dtype(ids.dtype)
    return ops.cast(ids, "int32") if dtype in ("int8", "uint8", "int16", "uint16", "uint32") else ids


def checked_ids(name: str, ids: Any, size: int, ignored: int | None = None) -> Tensor:
    """The ids, checked; in a TensorFlow graph the check runs before they are used.

    Args:
        name: the name of the argument.
        ids: integers of any shape.
        size: the number of rows of the table that they index.
        ignored: an id outside of the table with a special meaning.

    Returns:
        The ids, of at least 32 bits.

    Raises:
        ValueError: an id outside of the table; in a graph `InvalidArgumentError`.

    >>> checked_ids("input_ids", np.array([[3, 9]]), 9)
    Traceback (most recent call last):
    ValueError: input_ids must be from 0 to 8. Received: 9 at (0, 1)
    """
    if concrete_value(ids) is not None or keras.backend.backend() != "tensorflow" or isinstance(ids, keras.KerasTensor):
        check_ids(name, ids, size, ignored)
        return widened(ids) if hasattr(ids, "dtype") else ids
    import tensorflow as tf

    ids = widened(tf.convert_to_tensor(ids))
    is_good = tf.logical_and(ids >= 0, ids < size)
    if ignored is not None:
        is_good = tf.logical_or(is_good, tf.equal(ids, ignored))
    wrong = tf.where(is_good, tf.zeros_like(ids), ids)
    message = [f"{_rule(name, size, ignored)}. Received: ", tf.reduce_min(wrong), tf.reduce_max(wrong)]
    # A dependency: without it the lookup may fail first, with another message.
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_good), message)]):
        return tf.identity(ids)


def check_ids(name: str, ids: Any, size: int, ignored: int | None = None) -> None:
    """Raise `ValueError` as `checked_ids`, if the values are known.

    >>> check_ids("labels", np.array([[3, -100]]), 9, ignored=-100)
    """
    values = concrete_value(ids)
    if values is None:
        return
    is_bad = (values < 0) | (values >= size)
    if ignored is not None:
        is_bad &= values != ignored
    if is_bad.any():
        place = tuple(int(x) for x in np.argwhere(is_bad)[0])
        raise ValueError(f"{_rule(name, size, ignored)}. Received: {values[place]} at {place}")


def _rule(name: str, size: int, ignored: int | None) -> str:
    return f"{name} must be from 0 to {size - 1}" + ("" if ignored is None else f", or {ignored}")


def check_mask(name: str, mask: Any) -> None:
    """Raise `ValueError` for known mask values besides 0 and 1.

    >>> check_mask("attention_mask", np.array([[1, -1]]))
    Traceback (most recent call last):
    ValueError: attention_mask must hold 1 for tokens and 0 for padding. Received: -1 at (0, 1)
    """
    values = concrete_value(mask)
    if values is None:
        return
    is_bad = (values != 0) & (values != 1)
    if is_bad.any():
        place = tuple(int(x) for x in np.argwhere(is_bad)[0])
        way_out = "; global attention has a mask of its own, global_attention_mask" if values[place] == 2 else ""
        rule = f"{name} must hold 1 for tokens and 0 for padding{way_out}"
        raise ValueError(f"{rule}. Received: {values[place]} at {place}")


def check_global_capacity(global_attention_mask: Any, attention_mask: Any, max_global_tokens: int) -> None:
    """Raise `ValueError` when a row marks more global tokens than it has slots; only possible in eager calls.

    Marks on padding are ignored, as are all marks without slots (0).
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
