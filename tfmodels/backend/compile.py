"""Compiled programs of a model's functions, per backend."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras

from tfmodels.backend.autocast import read, scope_of_values, stored_values
from tfmodels.backend.stack_traces import short_stacks
from tfmodels.backend.types import Tensor


def compiled(function: Callable[..., Any], layer: keras.layers.Layer, jit_compile: bool) -> Callable[..., Any]:
    """Compile `function` into a program that is traced once per shape.

    Args:
        function: from structures of tensors to a structure of tensors; it reads the variables of `layer` and updates
            none.
        layer: the layer whose variables the function reads; each call sees their current values.
        jit_compile: compile under XLA. JAX has no other compiler, and ignores this.
    """
    if keras.backend.backend() == "jax":
        return _compiled_in_jax(function, layer)
    import tensorflow as tf

    @functools.wraps(function)
    def traced(*arguments: Any) -> Any:
        with short_stacks():
            return function(*arguments)

    return tf.function(traced, jit_compile=jit_compile, autograph=False)


def _compiled_in_jax(function: Callable[..., Any], layer: keras.layers.Layer) -> Callable[..., Any]:
    import jax

    # The values are arguments: closed over, they would be constants of the program, and later training unseen.
    @jax.jit
    def pure(values: list[Tensor], arguments: Any) -> Any:
        with scope_of_values(layer.variables, values):
            return function(*arguments)

    return lambda *arguments: pure([variable.value for variable in layer.variables], arguments)


def read_once(variables: Iterable[keras.Variable]) -> keras.StatelessScope:
    """A scope in which the variables are tensors, read once on entry.

    In a TensorFlow loop without XLA, a variable that serves both a lookup and a product is copied at each reading.
    """
    variables = list(variables)
    return scope_of_values(variables, [read(value) for value in stored_values(variables)])
