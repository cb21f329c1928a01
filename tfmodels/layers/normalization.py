"""T5's norm with transformers' initial scale."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfmodels")
class ScaledRMSNormalization(keras.layers.RMSNormalization):
    """`keras.layers.RMSNormalization` whose scale starts at `initial_scale`.

    >>> norm = ScaledRMSNormalization(initial_scale=2.0)
    >>> round(float(norm(ops.ones((1, 4)))[0, 0]), 3)
    2.0
    """

    def __init__(self, initial_scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial_scale = initial_scale

    def build(self, input_shape: Any) -> None:
        """Create the scale."""
        super().build(input_shape)
        self.scale.assign(ops.full(self.scale.shape, self.initial_scale, dtype=self.scale.dtype))

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {**super().get_config(), "initial_scale": self.initial_scale}
