"""Variables with their values as they are stored, whatever dtype the layers around a call compute in."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

import keras
from keras import ops

from tfmodels.backend.keras_internals import AutocastScope, autocast_scope, set_autocast_scope
from tfmodels.backend.types import Tensor


def autocast_as(scope: AutocastScope | None) -> contextlib.AbstractContextManager[None]:
    """A scope that rounds as an earlier one did, which may have ended."""
    return contextlib.nullcontext() if scope is None else AutocastScope(scope.dtype)


@contextlib.contextmanager
def without_autocast() -> Iterator[None]:
    """A scope in which variables have the dtype and the values that they are stored with.

    `AutocastScope(None)` does not round values, but says that every variable has Keras' default dtype, to which
    `keras.StatelessScope` then casts what it is given.
    """
    outer = autocast_scope()
    set_autocast_scope(None)
    try:
        yield
    finally:
        set_autocast_scope(outer)


def stored_values(variables: Iterable[keras.Variable]) -> list[Tensor]:
    """The values of variables as tensors, in the dtypes in which they are stored.

    >>> variable = keras.Variable([1.0, 2.0], dtype="bfloat16")
    >>> keras.backend.standardize_dtype(stored_values([variable])[0].dtype)
    'bfloat16'
    """
    with without_autocast():
        return [ops.convert_to_tensor(variable.value) for variable in variables]


def scope_of_values(variables: Sequence[keras.Variable], values: Sequence[Tensor]) -> keras.StatelessScope:
    """A scope in which variables have other values, which keep their dtypes.

    >>> variable = keras.Variable([1.0, 2.0], dtype="float16")
    >>> with scope_of_values([variable], [ops.array([3.0, 4.0], "float16")]):
    ...     float(variable[0])
    3.0
    """
    with without_autocast():
        return keras.StatelessScope(list(zip(variables, values, strict=True)))
