"""The weights in a SavedModel: unchanged, or smaller and restored when a request is answered."""

import contextlib
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

WeightsDtype = Literal["bfloat16", "int8"] | None
WEIGHTS_DTYPES = (None, "bfloat16", "int8")

# Vectors and matrices below so many numbers are stored unchanged: they hardly count.
_LEAST_SIZE = 1024
# Numbers that share a scale: so many that the scales hardly count.
_LEAST_GROUP = 256


class StoredWeights(tf.Module):
    """The variables of a model, stored unchanged or smaller.

    "bfloat16" keeps 8 bits of precision of every matrix. "int8" keeps whole numbers from -127 to 127 and a float32
    scale for each group of a matrix (for each token of an embedding, else for each output), by the group's largest
    size. Either is cast back when a program runs, so the arithmetic and its speed are those of the model's weights, and
    those take their memory besides; `export.compute_dtype` makes them smaller.

    Args:
        model: the model.
        dtype: None, "bfloat16" or "int8".

    Raises:
        ValueError: another dtype.

    >>> layer = keras.layers.Dense(64, name="dense")
    >>> layer.build((None, 64))
    >>> StoredWeights(layer, "int8").bytes, StoredWeights(layer, None).bytes
    (4608, 16640)
    """

    def __init__(self, model: keras.layers.Layer, dtype: WeightsDtype = None) -> None:
        super().__init__()
        if dtype not in WEIGHTS_DTYPES:
            raise ValueError(f"weights_dtype must be one of {WEIGHTS_DTYPES}. Received: weights_dtype={dtype!r}")
        variables = list({id(variable): variable for variable in model.variables}.values())
        small = [one for one in variables if dtype not in (None, one.dtype) and _is_large(one)]
        self._stored = Untracked([(variable, _store(variable, dtype)) for variable in small])
        kept = {id(variable) for variable in small}
        self.whole = [variable.value for variable in variables if id(variable) not in kept]
        self.small = [tensor for _, stored in self._stored.value for tensor in stored]

    @property
    def bytes(self) -> int:
        """Bytes on disk."""
        return sum(value.shape.num_elements() * value.dtype.size for value in [*self.whole, *self.small])

    def read(self) -> contextlib.AbstractContextManager[Any]:
        """A scope in which the model's variables have the stored values."""
        pairs = [(variable, _restore(stored, variable.dtype)) for variable, stored in self._stored.value]
        return keras.StatelessScope(pairs) if pairs else contextlib.nullcontext()


class Untracked:
    """Keeps a value, such as a Keras model, out of a SavedModel's object graph."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _is_large(variable: keras.Variable) -> bool:
    is_float = keras.backend.is_float_dtype(variable.dtype)
    return is_float and len(variable.shape) > 1 and int(np.prod(variable.shape)) >= _LEAST_SIZE


def _store(variable: keras.Variable, dtype: str | None) -> tuple[tf.Variable, ...]:
    """(values,), or (whole numbers, scales)."""
    name = variable.path.replace("/", "_")
    if dtype == "bfloat16":
        return (tf.Variable(tf.cast(variable.value, tf.bfloat16), trainable=False, name=name),)
    values = np.asarray(keras.ops.convert_to_numpy(variable.value), np.float32)
    scales = np.abs(values).max(axis=_shared_axes(variable), keepdims=True) / 127.0
    whole = np.clip(np.rint(values / np.where(scales == 0, 1.0, scales)), -127, 127).astype(np.int8)
    return (
        tf.Variable(whole, trainable=False, name=name),
        tf.Variable(scales.astype(np.float32), trainable=False, name=f"{name}_scales"),
    )


def _shared_axes(variable: keras.Variable) -> tuple[int, ...]:
    """The axes of a group: the vector of a token, or all inputs of an output."""
    if variable.name == "embeddings":
        return (-1,)
    sizes = np.cumprod(variable.shape[:-1])
    return tuple(range(int(np.argmax(sizes >= _LEAST_GROUP)) + 1 if sizes[-1] >= _LEAST_GROUP else len(sizes)))


def _restore(stored: tuple[tf.Variable, ...], dtype: str) -> tf.Tensor:
    values = tf.cast(stored[0], tf.float32)
    return tf.cast(values if len(stored) == 1 else values * stored[1], dtype)
