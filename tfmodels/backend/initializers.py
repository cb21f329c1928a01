"""The first values of weights, which nobody draws for weights that a file is about to fill."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor

_is_drawn: ContextVar[bool] = ContextVar("is_drawn", default=True)


@keras.saving.register_keras_serializable("tfmodels")
class Normal(keras.initializers.RandomNormal):
    """`keras.initializers.RandomNormal`; inside `filled_from_file` zeros.

    >>> with filled_from_file():
    ...     float(ops.max(Normal(stddev=1.0)((3,))))
    0.0
    """

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """Draw an array of a shape and dtype."""
        if _is_drawn.get():
            return super().__call__(shape, dtype)
        return ops.zeros(shape, dtype or keras.config.floatx())


@contextlib.contextmanager
def filled_from_file() -> Iterator[None]:
    """A scope in which models are built whose kernels and tables are all read from a file afterwards.

    To draw them takes a third of the time to load a base model, and under JAX a program for each shape.
    """
    before = _is_drawn.set(False)
    try:
        yield
    finally:
        _is_drawn.reset(before)
