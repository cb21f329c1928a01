"""Functions of a model as compiled programs, per backend."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

from tfmodels.backend.autocast import scope_of_values, stored_values
from tfmodels.backend.types import Tensor


def compiled(function: Callable[..., Any], layer: keras.layers.Layer, jit_compile: bool) -> Callable[..., Any]:
    """`function` as one program that is traced once per shape.

    Args:
        function: of structures of tensors; it reads the variables of `layer` and updates none.
        layer: whose variables the function reads, with their values at each call.
        jit_compile: compile under XLA. JAX has no other compiler, and always does.
    """
    if keras.backend.backend() == "jax":
        return _compiled_in_jax(function, layer)
    import tensorflow as tf

    return tf.function(function, jit_compile=jit_compile, autograph=False)


def _compiled_in_jax(function: Callable[..., Any], layer: keras.layers.Layer) -> Callable[..., Any]:
    import jax

    # The values are arguments: what a function closes over is a constant of the program, and later training unseen.
    @jax.jit
    def pure(values: list[Tensor], given: Any) -> Any:
        with scope_of_values(layer.variables, values):
            return function(*given)

    return lambda *given: pure([variable.value for variable in layer.variables], given)


def read_once(variables: Iterable[keras.Variable]) -> keras.StatelessScope:
    """A scope in which the variables are tensors that were read before it.

    In a loop of TensorFlow without XLA each reading of a variable that is looked up in and multiplied, too, is a copy.
    """
    variables = list(variables)
    return scope_of_values(variables, [_read(value) for value in stored_values(variables)])


def _read(value: Tensor) -> Tensor:
    # TensorFlow's variables pass for tensors, and `ops.convert_to_tensor` gives them back as they are.
    return value.read_value() if hasattr(value, "read_value") else value
