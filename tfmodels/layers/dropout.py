"""Dropout (Srivastava et al. 2014) whose mask is a hash of each entry's index.

A mask drawn by the backend's generator is kept for the backward pass, and on a CPU costs more than the attention whose
probabilities it drops. This mask is a few integer operations, computed twice and fused into the surrounding code.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import keras
import numpy as np
from keras import ops

from tfmodels.backend.document import current_document
from tfmodels.backend.random import constant, random_bits, random_bits_at, random_bits_of, shifted_seed
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
        *rows, columns = shape
        bits = random_bits(self.seed, self._stream(stream, part), prod(rows), columns)
        return self._factors(ops.reshape(bits, shape))

    def scale_at(self, rows: Tensor, columns: Tensor, width: int) -> Tensor:
        """The factors at some rows and columns of `scale((all rows, width), 0)`.

        Args:
            rows, columns: int32 (R,) and (C,).
            width: the number of all columns.

        Returns:
            float32 (R, C).

        >>> dropout = HashDropout(0.5, ops.array([1, 2], "uint32"))
        >>> whole = dropout.scale((6, 8), ops.zeros((), "int32"))
        >>> part = dropout.scale_at(ops.array([1, 4]), ops.array([0, 7]), 8)
        >>> bool(part[1, 1] == whole[4, 7])
        True
        """
        return self._factors(random_bits_at(self.seed, constant(0), rows, columns, width))

    def scale_of(self, index: Tensor, stream: Tensor, part: int = 0) -> Tensor:
        """The factors of `scale` at some entries, in a GPU's kernel too.

        Args:
            index: int32 of any shape, of the entries in the flattened tensor.
            stream, part: as there.

        Returns:
            float32 of the same shape.

        >>> dropout, one = HashDropout(0.5, ops.array([1, 2], "uint32")), ops.ones((), "int32")
        >>> factors = dropout.scale_of(ops.array([[9, 0]]), one, part=1)
        >>> bool(factors[0, 0] == dropout.scale((4, 8), one, part=1)[1, 1])
        True
        """
        return self._factors(random_bits_of(self.seed, self._stream(stream, part), index))

    def from_stream(self, first: Tensor) -> "HashDropout":
        """The dropout whose stream 0 is stream `first` (int32 scalar) of this one.

        >>> dropout, one = HashDropout(0.5, ops.array([1, 2], "uint32")), ops.ones((), "int32")
        >>> later = dropout.from_stream(3 * one).scale((4, 4), one, part=1)
        >>> bool(ops.all(later == dropout.scale((4, 4), 4 * one, part=1)))
        True
        """
        seed = ops.cast(self.seed, "uint32")
        return replace(self, seed=ops.stack([seed[0], shifted_seed(seed[1], 2 * ops.cast(first, "uint32"))]))

    def _stream(self, stream: Tensor, part: int) -> Tensor:
        return ops.cast(stream, "uint32") * constant(2) + constant(part)

    def _factors(self, bits: Tensor) -> Tensor:
        """0 or 1 / (1 - rate) by uint32 bits."""
        kept = ops.cast(ops.right_shift(bits, constant(8)), "int32") >= int(self.rate * 2**24)
        return ops.where(kept, np.float32(1 / (1 - self.rate) if self.rate < 1 else 0), np.float32(0))


class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` with the masks of `HashDropout`: the same seeds and expectation, no `noise_shape`.

    For a shard of a divided document (B, L, E) the mask is that of its place in the whole.

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
        document, shape = current_document(), ops.shape(inputs)
        if document.is_divided:
            batch, tokens, width = shape
            rows = ops.arange(batch, dtype="int32")[:, None] * document.length(tokens) + document.positions(tokens)
            scale = dropout.scale_at(ops.reshape(rows, (-1,)), ops.arange(width, dtype="int32"), width)
            return inputs * ops.cast(ops.reshape(scale, shape), inputs.dtype)
        return inputs * ops.cast(dropout.scale(shape, ops.zeros((), "int32")), inputs.dtype)


def hash_dropout(layer: keras.layers.Dropout, training: bool | None) -> HashDropout | None:
    """The dropout of one call of a `Dropout` layer, with the layer's next seed; None outside training or at rate 0.

    >>> hash_dropout(keras.layers.Dropout(0.1), training=False) is None
    True
    """
    return HashDropout(layer.rate, layer.seed_generator.next()) if training and layer.rate else None
