"""The base class of layers that are made of layers."""

from typing import Any, ClassVar

import keras


class CompositeLayer(keras.layers.Layer):
    """A layer without autocasting.

    Sublayers cast their own inputs; autocasting here would round float32 biases and residuals.

    Attributes:
        summing_projections: names of the projections that sum over the heads or hidden units which other projections
            produce. Where a model is divided over devices, these are divided over their inputs.

    >>> CompositeLayer(dtype="mixed_float16").autocast
    False
    """

    summing_projections: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
