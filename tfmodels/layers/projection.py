"""The projections that all layers are made of."""

from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor


def projection(name: str, units: int, stddev: float, use_bias: bool, policy: Any) -> keras.layers.Dense:
    """A `Dense` layer whose kernel starts as noise of the given standard deviation.

    >>> projection("query", units=4, stddev=0.02, use_bias=False, policy="float32").use_bias
    False
    """
    initializer = keras.initializers.RandomNormal(stddev=stddev)
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=initializer, dtype=policy, name=name)


def zero_of(*layers: keras.layers.Layer) -> Tensor:
    """A zero, float32, whose gradient for the weights of layers is zero.

    For weights that a call has no use for: TensorFlow has no gradient for them otherwise, of which Keras warns at each
    compilation, and JAX has zeros.

    >>> layer = projection("key", units=4, stddev=0.02, use_bias=True, policy="float32")
    >>> layer.build((None, 3))
    >>> float(zero_of(layer))
    0.0
    """
    firsts = [ops.reshape(weight.value, (-1,))[0] for layer in layers for weight in layer.trainable_variables]
    return sum((ops.cast(first, "float32") * 0.0 for first in firsts), start=ops.zeros((), "float32"))
