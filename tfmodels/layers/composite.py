"""The base class of layers that are made of layers."""

from typing import Any

import keras


class CompositeLayer(keras.layers.Layer):
    """A layer without autocasting.

    Sublayers cast their own inputs; autocasting here would round float32 biases and residuals.

    >>> CompositeLayer(dtype="mixed_float16").autocast
    False
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
