"""Batches for `model.fit`, from any step on."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

Batches = Callable[[int], dict[str, np.ndarray]]
_AHEAD = 2


def feed(batches: Batches, first: int, count: int) -> Any:
    """A data set of `count` batches, from batch `first` on.

    Its signature has free sizes, so that `fit` does not guess them from the first two batches, which may be of one
    length by chance.

    Args:
        batches: number -> int32 arrays (B, L) by name.
        first: the number of the first batch.
        count: the number of batches.
    """
    if keras.backend.backend() != "tensorflow":
        return _Numbered(batches, first, count)
    import tensorflow as tf

    def generate() -> Iterator[dict[str, np.ndarray]]:
        yield from map(batches, range(first, first + count))

    signature = {name: tf.TensorSpec((None, None), "int32", name) for name in batches(first)}
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(_AHEAD)


class _Numbered(keras.utils.PyDataset):
    """The batches by number, for backends without `tf.data`."""

    def __init__(self, batches: Batches, first: int, count: int) -> None:
        super().__init__(workers=1)
        self._batches = batches
        self._first = first
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._batches(self._first + index)
