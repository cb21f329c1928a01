"""The replicas of `tf.distribute` that run one step together, each on its part of a batch.

JAX has none: under `keras.distribution` a program sees the whole batch, and sums over it reach every device.
"""

import keras

from tfmodels.backend.types import Tensor


def replica_count() -> int:
    """The number of replicas that run this step.

    >>> replica_count()
    1
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def has_strategy() -> bool:
    """Whether variables are those of a strategy of `tf.distribute`.

    >>> has_strategy()
    False
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.distribute.has_strategy())


def sum_over_replicas(x: Tensor) -> Tensor:
    """The sum of a scalar over the replicas; the scalar itself with one replica, or outside of a step."""
    if replica_count() == 1:
        return x
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return x if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, x)
