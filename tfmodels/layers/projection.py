"""The projections of the layers."""

import keras
from keras import ops

from tfmodels.backend.initializers import Normal
from tfmodels.backend.types import Tensor


def projection(
    name: str, units: int, stddev: float, use_bias: bool, policy: keras.DTypePolicy | str
) -> keras.layers.Dense:
    """A `Dense` layer whose kernel starts as normal noise.

    Args:
        name: of the layer.
        units: width of the output.
        stddev: standard deviation of the initial kernel.
        use_bias: add a bias, initially zero.
        policy: dtype policy of the layer.

    >>> projection("query", units=4, stddev=0.02, use_bias=False, policy="float32").use_bias
    False
    """
    initializer = Normal(stddev=stddev)
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=initializer, dtype=policy, name=name)


def zero_of(*layers: keras.layers.Layer) -> Tensor:
    """A float32 zero that depends on the weights of layers, with zero gradients.

    For weights that a call does not use: without it TensorFlow has no gradient for them, and Keras warns at each
    compilation. (JAX has zeros.)

    >>> layer = projection("key", units=4, stddev=0.02, use_bias=True, policy="float32")
    >>> layer.build((None, 3))
    >>> float(zero_of(layer))
    0.0
    """
    firsts = [ops.reshape(weight.value, (-1,))[0] for layer in layers for weight in layer.trainable_variables]
    return sum((ops.cast(first, "float32") * 0.0 for first in firsts), start=ops.zeros((), "float32"))
