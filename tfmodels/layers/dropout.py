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

Tensor = Any

# Odd constants with well-mixed bits: 2^32 / the golden ratio, and the multipliers of the "lowbias32" hash (Wellons).
_GOLDEN, _FIRST, _SECOND = 0x9E3779B9, 0x7FEB352D, 0x846CA68B


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
        seed = ops.cast(self.seed, "uint32")
        stream = _mixed(ops.cast(stream, "uint32") * _constant(2) + _constant(part) + seed[1] * _constant(_GOLDEN))
        start = _mixed(seed[0] ^ stream)
        # A multiplier for each stream: with a start alone, streams would be shifted views of one sequence.
        multiplier = _mixed(start + stream) | _constant(1)
        *rows, columns = shape
        # One sum of a row's and a column's part, which knows the seed: a compiler would fold a range over all places
        # into a constant as large as the tensor.
        row = ops.cast(ops.arange(prod(rows), dtype="int32"), "uint32") * ops.cast(columns, "uint32")
        column = ops.cast(ops.arange(columns, dtype="int32"), "uint32") * _constant(_GOLDEN)
        place = ops.reshape(row * _constant(_GOLDEN) + start, (*rows, 1)) + column
        bits = _mixed(place, multiplier)
        kept = ops.cast(ops.right_shift(bits, _constant(8)), "int32") >= int(self.rate * 2**24)
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


def _mixed(bits: Tensor, multiplier: Tensor | None = None) -> Tensor:
    """Each bit of the result depends on each bit of the uint32 `bits`."""
    multiplier = _constant(_FIRST) if multiplier is None else multiplier
    bits = (bits ^ ops.right_shift(bits, _constant(16))) * multiplier
    bits = (bits ^ ops.right_shift(bits, _constant(15))) * _constant(_SECOND)
    return bits ^ ops.right_shift(bits, _constant(16))


def _constant(value: int) -> Tensor:
    return ops.convert_to_tensor(np.uint32(value))
