"""The order of batches: a pure function of seed and number, so that one integer is the whole position of a run.

`numpy.random.Generator` may draw other numbers in another release (NEP 19), so the order comes from a hash of our own.
"""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators", figure 17.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def splitmix64(*keys: int | np.ndarray) -> np.ndarray:
    """A hash of integers, elementwise over arrays: uint64.

    >>> int(splitmix64(0, 1)) == int(splitmix64(0, 1)), int(splitmix64(0, 1)) == int(splitmix64(1, 0))
    (True, False)
    """
    state = np.zeros((), "uint64")
    with np.errstate(over="ignore"):
        for key in keys:
            state = (state ^ np.asarray(key).astype("uint64")) + _GOLDEN
            state = (state ^ (state >> np.uint64(30))) * _FIRST
            state = (state ^ (state >> np.uint64(27))) * _SECOND
            state = state ^ (state >> np.uint64(31))
    return state


@dataclass(frozen=True)
class Batch:
    """The rows of a batch.

    Attributes:
        length: source length in tokens.
        rows: row numbers in the store.
        fill_to: rows of the batch; missing ones are filled up without a loss.
    """

    length: int
    rows: np.ndarray
    fill_to: int


@dataclass(frozen=True)
class _Bucket:
    length: int
    rows: np.ndarray
    batch_rows: int

    @property
    def batches(self) -> int:
        return -(-len(self.rows) // self.batch_rows)


class Plan:
    """The batches of a run, over as many epochs as it takes.

    Each epoch holds every row once, in an order of its own, and the same number of batches. A row goes to the smallest
    length that holds it.

    Args:
        sizes: source sizes of the rows in tokens, (rows,).
        lengths: source lengths, ascending.
        batch_tokens: source tokens of a batch; a batch of length L has batch_tokens // L rows, at least one.
        rows_multiple: the rows of a batch are rounded up to a multiple.
        seed: seed of the order; None keeps the rows' order.

    Raises:
        ValueError: no rows.

    >>> plan = Plan(np.array([3, 9, 4]), lengths=(4, 16), batch_tokens=16, seed=None)
    >>> [(batch.length, batch.rows.tolist(), batch.fill_to) for batch in map(plan.batch, range(len(plan)))]
    [(4, [0, 2], 4), (16, [1], 1)]
    """

    def __init__(
        self,
        sizes: np.ndarray,
        lengths: Sequence[int],
        batch_tokens: int,
        rows_multiple: int = 1,
        seed: int | None = 0,
    ) -> None:
        if not len(sizes):
            raise ValueError("sizes must hold at least one row. Received: none")
        positions = np.minimum(np.searchsorted(lengths, sizes), len(lengths) - 1)
        self._seed = seed
        self._buckets = []
        for position, length in enumerate(lengths):
            rows = np.flatnonzero(positions == position)
            batch_rows = -(-max(1, batch_tokens // length) // rows_multiple) * rows_multiple
            if len(rows):
                self._buckets.append(_Bucket(length, rows, batch_rows))
        self._epoch = functools.lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        """The batches of an epoch."""
        return sum(bucket.batches for bucket in self._buckets)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Rows and source length of each kind of batch."""
        return [(bucket.batch_rows, bucket.length) for bucket in self._buckets]

    def epoch_shapes(self) -> list[tuple[int, int]]:
        """Rows and source length of every batch of an epoch."""
        return [(bucket.batch_rows, bucket.length) for bucket in self._buckets for _ in range(bucket.batches)]

    def batch(self, number: int) -> Batch:
        """The batch of a number counted from the beginning of the run."""
        epoch, index = divmod(number, len(self))
        orders, batches = self._epoch(epoch)
        place, start = batches[index]
        bucket = self._buckets[place]
        first = start * bucket.batch_rows
        return Batch(bucket.length, orders[place][first : first + bucket.batch_rows], bucket.batch_rows)

    def digest(self) -> int:
        """A checksum of the first epoch's order: another one means another plan."""
        orders, batches = self._epoch(0)
        checksum = zlib.crc32(np.ascontiguousarray(batches).astype("<i8").tobytes())
        for bucket, order in zip(self._buckets, orders, strict=True):
            checksum = zlib.crc32(f"{bucket.length}:{bucket.batch_rows}".encode(), checksum)
            checksum = zlib.crc32(order.astype("<i8").tobytes(), checksum)
        return checksum

    def _order(self, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """The rows of each bucket in their order, and the bucket and number of each batch, (batches, 2)."""
        orders = []
        for bucket in self._buckets:
            keys = None if self._seed is None else splitmix64(self._seed, epoch, bucket.rows)
            orders.append(bucket.rows if keys is None else bucket.rows[np.argsort(keys, kind="stable")])
        batches = np.array(
            [(place, number) for place, bucket in enumerate(self._buckets) for number in range(bucket.batches)]
        )
        if self._seed is not None:
            keys = splitmix64(self._seed, epoch, batches[:, 0], batches[:, 1], 1)
            batches = batches[np.argsort(keys, kind="stable")]
        return orders, batches
