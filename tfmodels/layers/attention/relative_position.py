"""T5's relative position buckets and the bias that they index (Raffel et al. 2020, section 2.1).

Further shape letters: Q queries, Y keys.
"""

import math
from typing import Any

import keras
from keras import ops

from tfmodels.backend.initializers import Normal
from tfmodels.backend.types import Tensor


def relative_position_bucket(
    relative_position: Tensor, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> Tensor:
    """The bucket of each offset key - query: exact for short distances, logarithmic up to `max_distance`.

    Args:
        relative_position: int32 of any shape, key position minus query position.
        bidirectional: use half of the buckets for keys after the query (encoder); otherwise such keys share bucket 0.
        num_buckets: number of buckets in all.
        max_distance: distances from here on share the last bucket.

    Returns:
        int32 of the same shape, in [0, num_buckets).

    >>> offsets = ops.array([-200, -1, 0, 1, 200], "int32")
    >>> buckets = relative_position_bucket(offsets, bidirectional=True, num_buckets=32, max_distance=128)
    >>> ops.convert_to_numpy(buckets).tolist()
    [15, 1, 0, 17, 31]
    """
    first_bucket = ops.zeros_like(relative_position)
    if bidirectional:
        num_buckets //= 2
        first_bucket = ops.where(relative_position > 0, num_buckets, first_bucket)
        distance = ops.abs(relative_position)
    else:
        distance = ops.maximum(-relative_position, 0)
    exact = num_buckets // 2
    # The order of these float32 operations is transformers': another one moves offsets at bucket edges.
    ratio = ops.log(ops.cast(ops.maximum(distance, 1), "float32") / exact) / math.log(max_distance / exact)
    logarithmic = exact + ops.cast(ratio * (num_buckets - exact), "int32")
    logarithmic = ops.minimum(logarithmic, num_buckets - 1)
    return first_bucket + ops.where(distance < exact, distance, logarithmic)


@keras.saving.register_keras_serializable("tfmodels")
class RelativePositionBias(keras.layers.Layer):
    """A learned bias per head and bucket of relative positions.

    Args:
        num_heads: H.
        num_buckets, max_distance, bidirectional: see `relative_position_bucket`.
        initializer_stddev: standard deviation of the initial biases.

    Call with int32 offsets (..., Q, Y); returns float32 (..., H, Q, Y).

    >>> bias = RelativePositionBias(num_heads=2)
    >>> bias(ops.zeros((3, 5), "int32")).shape[0]
    2
    """

    def __init__(
        self,
        num_heads: int,
        num_buckets: int = 32,
        max_distance: int = 128,
        bidirectional: bool = True,
        initializer_stddev: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.num_buckets = num_buckets
        self.max_distance = max_distance
        self.bidirectional = bidirectional
        self.initializer_stddev = initializer_stddev
        # Scores are summed in float32 under any policy, so the bias is looked up in float32.
        self.embedding = keras.layers.Embedding(
            num_buckets,
            num_heads,
            embeddings_initializer=Normal(stddev=initializer_stddev),
            dtype="float32",
            name="embedding",
        )

    def build(self, relative_position_shape: Any = None) -> None:
        """Create the table of biases."""
        self.embedding.build()

    def call(self, relative_position: Tensor) -> Tensor:
        """Look up the bias of each offset."""
        buckets = relative_position_bucket(
            relative_position,
            bidirectional=self.bidirectional,
            num_buckets=self.num_buckets,
            max_distance=self.max_distance,
        )
        return ops.moveaxis(self.embedding(buckets), -1, -3)  # (..., Q, Y, H) -> (..., H, Q, Y)

    # Trace the call, as Keras does without `compute_output_shape`: the call checks its inputs.
    compute_output_spec = keras.Operation.compute_output_spec

    def compute_output_shape(self, relative_position_shape: Any) -> tuple[Any, ...]:
        """(..., H, Q, Y)."""
        *rows, queries, keys = relative_position_shape
        return (*rows, self.num_heads, queries, keys)

    def get_config(self) -> dict[str, Any]:
        """Arguments that rebuild the layer."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "num_buckets": self.num_buckets,
            "max_distance": self.max_distance,
            "bidirectional": self.bidirectional,
            "initializer_stddev": self.initializer_stddev,
        }
