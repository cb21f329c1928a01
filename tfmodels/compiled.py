"""Functions of a model as compiled programs, per backend."""

from collections.abc import Callable
from typing import Any

import keras

Tensor = Any


def compiled(function: Callable[[Any], Any], layer: keras.layers.Layer, jit_compile: bool) -> Callable[[Any], Any]:
    """`function` as one program that is traced once per shape.

    Args:
        function: of a structure of tensors; it reads the variables of `layer` and updates none.
        layer: whose variables the function reads, with their values at each call.
        jit_compile: compile under XLA. JAX has no other compiler, and always does.
    """
    if keras.backend.backend() == "jax":
        return _compiled_in_jax(function, layer)
    import tensorflow as tf

    return tf.function(function, jit_compile=jit_compile, autograph=False)


def _compiled_in_jax(function: Callable[[Any], Any], layer: keras.layers.Layer) -> Callable[[Any], Any]:
    import jax

    # The values are arguments: what a function closes over is a constant of the program, and later training unseen.
    @jax.jit
    def pure(values: list[Tensor], given: Any) -> Any:
        with keras.StatelessScope(zip(layer.variables, values, strict=True)):
            return function(given)

    return lambda given: pure([variable.value for variable in layer.variables], given)
