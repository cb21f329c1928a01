"""The projections that all layers are made of."""

from typing import Any

import keras


def projection(name: str, units: int, stddev: float, use_bias: bool, policy: Any) -> keras.layers.Dense:
    """A `Dense` layer whose kernel starts as noise of the given standard deviation.

    >>> projection("query", units=4, stddev=0.02, use_bias=False, policy="float32").use_bias
    False
    """
    initializer = keras.initializers.RandomNormal(stddev=stddev)
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=initializer, dtype=policy, name=name)
