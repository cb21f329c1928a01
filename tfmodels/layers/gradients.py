"""A gradient inside a computation, per backend."""

from collections.abc import Callable
from typing import Any

import keras

Tensor = Any


def gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """Gradients of a scalar `function(*tensors)` with respect to each of the float tensors.

    >>> [float(x) for x in gradients(lambda x, y: x * x * y, [keras.ops.array(2.0), keras.ops.array(3.0)])]
    [12.0, 4.0]
    """
    if keras.backend.backend() == "jax":
        import jax

        return list(jax.grad(function, argnums=tuple(range(len(tensors))))(*tensors))
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(*tensors)
    return tape.gradient(value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
