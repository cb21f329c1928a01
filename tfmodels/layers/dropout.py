"""Dropout (Srivastava et al. 2014) whose mask is a hash of each entry's place.

A mask drawn by the backend's generator is kept for the backward pass, and on a CPU costs more than the attention whose
probabilities it drops. This one is a few integer operations that fuse into the computation around it, done twice.
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
    """Dropout as a function of seed, stream and place.

    Args:
        rate: share of the entries that are dropped; the others are divided by 1 - rate.
        seed: two integers, from `keras.random.SeedGenerator.next`; other seeds give unrelated masks.
    """

    rate: float
    seed: Tensor

    def scale(self, shape: tuple[Any, ...], stream: Tensor, part: int = 0) -> Tensor:
        """What the entries are multiplied by: float32 of `shape`, 0 or 1 / (1 - rate).

        Args:
            shape: with fewer than 2^31 entries.
            stream: int32 scalar, such as the number of a block.
            part: tells apart tensors of one stream.

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
    """`keras.layers.Dropout` by `HashDropout`: the same seeds and expectation, other masks, no `noise_shape`.

    >>> layer = Dropout(0.5)
    >>> sorted(set(ops.convert_to_numpy(layer(ops.ones(100), training=True)).tolist()))
    [0.0, 2.0]
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(rate, **kwargs)
        if self.noise_shape is not None:
            raise ValueError(f"noise_shape must be None. Received: noise_shape={self.noise_shape}")

    def call(self, inputs: Tensor, training: bool | None = False) -> Tensor:
        """Drop in training, and only then."""
        dropout = hash_dropout(self, training)
        if dropout is None:
            return inputs
        return inputs * ops.cast(dropout.scale(ops.shape(inputs), ops.zeros((), "int32")), inputs.dtype)


def hash_dropout(layer: keras.layers.Dropout, training: bool | None) -> HashDropout | None:
    """What a `Dropout` layer would do in this call, with the next of its seeds; None where it would do nothing.

    >>> hash_dropout(keras.layers.Dropout(0.1), training=False) is None
    True
    """
    return HashDropout(layer.rate, layer.seed_generator.next()) if training and layer.rate else None
