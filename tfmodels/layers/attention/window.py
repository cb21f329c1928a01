"""Windows of keys around each query, covered by blocks of queries and slices of keys.

Further shape letters: Y keys of one block's slice.
"""

from dataclasses import dataclass

import numpy as np

from tfmodels.layers.blocks import padding_to_multiple

# Measured on CPUs with AVX2 and AVX-512 for windows of 127 and 512: shorter blocks make small products, longer ones
# waste more keys and leave the cache.
_LARGEST_BLOCK = 128
# Slices of a multiple of this many keys fill whole vector registers.
_VECTOR = 16


@dataclass(frozen=True)
class WindowGeometry:
    """A block of `block_length` queries and its slice of keys: the block and `margin` keys on either side.

    `window` (W) is the number of keys that a query sees to either side, at most `margin`. The slice of block 1 with
    C = 2, window 3 and margin 4 is keys -2 to 7; its queries are the tokens 2 and 3:

        key       -2  -1   0   1   2   3   4   5   6   7
        query 2    .   x   x   x   x   x   x   x   .   .
        query 3    .   .   x   x   x   x   x   x   x   .

    x: inside the window. `.`: masked by `is_inside`. Keys before 0 and after the last token are padding, which the
    key mask hides. The picture is the same for every block, so the mask and every bias of an offset are made once.

    >>> WindowGeometry.covering(window=512)
    WindowGeometry(window=512, block_length=128, margin=512)
    >>> WindowGeometry.covering(window=7, multiple_of=3).relative_positions().shape
    (9, 27)
    """

    window: int
    block_length: int
    margin: int

    @classmethod
    def covering(cls, window: int, multiple_of: int = 1) -> "WindowGeometry":
        """The geometry for a window; the block length is a multiple of `multiple_of`."""
        block_length = min(_LARGEST_BLOCK, 1 << (window - 1).bit_length())
        block_length += int(padding_to_multiple(block_length, multiple_of))
        return cls(window, block_length, window + int(padding_to_multiple(window, min(_VECTOR, block_length))))

    @property
    def slice_length(self) -> int:
        """Y, the number of keys that are multiplied with each query of a block."""
        return self.block_length + 2 * self.margin

    def relative_positions(self) -> np.ndarray:
        """Key position minus query position inside one block's slice: int32 (C, Y), the same for every block."""
        queries: np.ndarray = np.arange(self.block_length, dtype="int32")
        keys: np.ndarray = np.arange(-self.margin, self.block_length + self.margin, dtype="int32")
        return keys[None, :] - queries[:, None]

    def is_inside(self) -> np.ndarray:
        """The keys of its slice that each query sees: bool (C, Y)."""
        inside: np.ndarray = np.abs(self.relative_positions()) <= self.window
        return inside
