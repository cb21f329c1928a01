"""Variables in their stored dtypes, whatever dtype the surrounding layers compute in."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import keras
from keras import ops

from tfmodels.backend.keras_internals import AutocastScope, autocast_scope, set_autocast_scope
from tfmodels.backend.types import Tensor


def autocast_as(scope: AutocastScope | None) -> contextlib.AbstractContextManager[None]:
    """A scope that casts to the dtype of an earlier scope, which may have ended."""
    return contextlib.nullcontext() if scope is None else AutocastScope(scope.dtype)


@contextlib.contextmanager
def without_autocast() -> Iterator[None]:
    """A scope in which variables have their stored dtypes and values.

    `AutocastScope(None)` keeps values, but reports Keras' default dtype for every variable, and
    `keras.StatelessScope` then casts new values to it.
    """
    outer = autocast_scope()
    set_autocast_scope(None)
    try:
        yield
    finally:
        set_autocast_scope(outer)


def stored_values(variables: Iterable[keras.Variable]) -> list[Tensor]:
    """The values of variables as tensors, in their stored dtypes.

    >>> variable = keras.Variable([1.0, 2.0], dtype="bfloat16")
    >>> keras.backend.standardize_dtype(stored_values([variable])[0].dtype)
    'bfloat16'
    """
    with without_autocast():
        return [ops.convert_to_tensor(variable.value) for variable in variables]


def read(value: Tensor) -> Tensor:
    """The value of a backend's own variable, read here and now; any other tensor as it is.

    TensorFlow's variables pass for tensors: `ops.convert_to_tensor` returns them, and each use reads anew.

    >>> float(read(keras.Variable(2.0).value))
    2.0
    """
    return value.value() if hasattr(value, "read_value") else value


def scope_of_values(variables: Sequence[keras.Variable], values: Sequence[Tensor]) -> keras.StatelessScope:
    """A scope in which variables have the given values, in the values' dtypes.

    >>> variable = keras.Variable([1.0, 2.0], dtype="float16")
    >>> with scope_of_values([variable], [ops.array([3.0, 4.0], "float16")]):
    ...     float(variable[0])
    3.0
    """
    with without_autocast():
        return keras.StatelessScope(list(zip(variables, values, strict=True)))
