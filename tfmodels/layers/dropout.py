"""Dropout (Srivastava et al. 2014) whose mask is a hash of each entry's index.

A mask drawn by the backend's generator is kept for the backward pass, and on a CPU costs more than the attention whose
probabilities it drops. This mask is a few integer operations, computed twice and fused into the surrounding code.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.random import constant, random_bits
from tfmodels.backend.types import Tensor


@dataclass(frozen=True)
class HashDropout:
    """Dropout as a function of seed, stream and index.

    Args:
        rate: share of the entries that are dropped; the kept ones are divided by 1 - rate.
        seed: two integers, from `keras.random.SeedGenerator.next`; different seeds give unrelated masks.
    """

    rate: float
    seed: Tensor

    def scale(self, shape: tuple[Any, ...], stream: Tensor, part: int = 0) -> Tensor:
        """The factor of each entry: float32 of `shape`, 0 or 1 / (1 - rate).

        Args:
            shape: of the tensor; fewer than 2^31 entries.
            stream: int32 scalar, such as the index of a block.
            part: the index of the tensor within its stream, 0 or 1.

        >>> scale = HashDropout(0.25, ops.array([1, 2], "uint32")).scale((100, 100), ops.zeros((), "int32"))
        >>> abs(float(ops.mean(scale)) - 1) < 0.05
        True
        """
        stream = ops.cast(stream, "uint32") * constant(2) + constant(part)
        *rows, columns = shape
        bits = ops.reshape(random_bits(self.seed, stream, prod(rows), columns), shape)
        kept = ops.cast(ops.right_shift(bits, constant(8)), "int32") >= int(self.rate * 2**24)
        return ops.where(kept, np.float32(1 / (1 - self.rate) if self.rate < 1 else 0), np.float32(0))


class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` with the masks of `HashDropout`: the same seeds and expectation, no `noise_shape`.

    >>> layer = Dropout(0.5)
    >>> sorted(set(ops.convert_to_numpy(layer(ops.ones(100), training=True)).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(rate, **kwargs)
        if self.noise_shape is not None:
            raise ValueError(f"noise_shape must be None. Received: noise_shape={self.noise_shape}")

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        """Drop entries in training; otherwise return `inputs`."""
        dropout = hash_dropout(self, training)
        if dropout is None:
            return inputs
        return inputs * ops.cast(dropout.scale(ops.shape(inputs), ops.zeros((), "int32")), inputs.dtype)


def hash_dropout(layer: keras.layers.Dropout, training: bool | None) -> HashDropout | None:
    """The dropout of one call of a `Dropout` layer, with the layer's next seed; None outside training or at rate 0.

    >>> hash_dropout(keras.layers.Dropout(0.1), training=False) is None
    True
    """
    return HashDropout(layer.rate, layer.seed_generator.next()) if training and layer.rate else None
