"""Gradients inside a computation, and computations with a custom gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor

Gradient = Callable[[Tensor], list[Tensor]]


def custom_gradient(
    function: Callable[..., tuple[Tensor, Gradient]], tensors: list[Tensor], constants: Sequence[Tensor] = ()
) -> Tensor:
    """The output of a function that defines its own gradient.

    Only the tensors that the gradient closes over are kept for the backward pass. Second derivatives are undefined.

    Args:
        function: from tensors and constants to an output, and to a function from the output's gradient to the gradient
            of each tensor.
        tensors: float tensors, all those that may need a gradient.
        constants: further arguments, without a gradient. Seeds and frozen weights belong here: closed-over tensors are
            gone when JAX runs the function again in a recomputed call, and TensorFlow requests the gradient of every
            variable behind the output.

    >>> square = lambda x: (x * x, lambda upstream: [2 * x * upstream])
    >>> float(gradients(lambda x: custom_gradient(square, [x]), [ops.array(3.0)])[0])
    6.0
    """

    @ops.custom_gradient
    def call(*arguments: Tensor) -> Any:
        # Detached: an eager TensorFlow tape would record, and keep, every intermediate tensor of the function.
        output, gradient = function(*[ops.stop_gradient(x) for x in arguments])
        return output, lambda *upstream: (*gradient(upstream[0]), *(None for _ in constants))

    return call(*tensors, *constants)


def gradients(function: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """The gradients of a scalar `function(*tensors)` with respect to each of the float tensors.

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
