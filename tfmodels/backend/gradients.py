"""Gradients inside a computation, and computations with a gradient of their own."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor

Gradient = Callable[[Tensor], list[Tensor]]


def custom_gradient(
    function: Callable[..., tuple[Tensor, Gradient]], tensors: list[Tensor], constants: Sequence[Tensor] = ()
) -> Tensor:
    """The output of a function that says itself what its gradient is.

    Nothing that the function computes is kept for the backward pass, but what its gradient closes over. Second
    derivatives must not be relied on.

    Args:
        function: from tensors and constants to an output, and to the function from its gradient to that of each tensor.
        tensors: float tensors, all that a gradient may be wanted for.
        constants: further arguments, without a gradient. Seeds and frozen weights belong here: what the function
            closes over is gone when JAX runs it again in a recomputed call, and TensorFlow asks for the gradient of
            every variable that it finds behind the output.

    >>> square = lambda x: (x * x, lambda upstream: [2 * x * upstream])
    >>> float(gradients(lambda x: custom_gradient(square, [x]), [ops.array(3.0)])[0])
    6.0
    """

    @ops.custom_gradient
    def call(*given: Tensor) -> Any:
        # Detached: an eager TensorFlow tape would record, and keep, all that the function computes.
        output, gradient = function(*[ops.stop_gradient(x) for x in given])
        return output, lambda *upstream: (*gradient(upstream[0]), *(None for _ in constants))

    return call(*tensors, *constants)


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
