"""The one place where generation meets a backend's compiler."""

from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[..., Any], jit_compile: bool) -> Callable[..., Any]:
    """`function` as one graph that is traced once per shape; under XLA when `jit_compile`.

    Only TensorFlow needs this wrapper; under another backend the function is returned as it is.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=jit_compile, autograph=False)
