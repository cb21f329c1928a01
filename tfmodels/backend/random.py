"""Random bits as a hash of index and seed: stateless, and the same on every backend, compiled or not."""

import keras
import numpy as np
from keras import ops

from tfmodels.backend.types import Tensor

# Odd constants with well-mixed bits: 2^32 / the golden ratio, and the multipliers of the "lowbias32" hash (Wellons).
GOLDEN, _FIRST, _SECOND = 0x9E3779B9, 0x7FEB352D, 0x846CA68B


def mixed(bits: Tensor, multiplier: Tensor | None = None) -> Tensor:
    """Mix the uint32 `bits`, so that each bit of the result depends on each bit of the input.

    >>> int(mixed(constant(1))) == int(mixed(constant(2)))
    False
    """
    multiplier = constant(_FIRST) if multiplier is None else multiplier
    bits = (bits ^ ops.right_shift(bits, constant(16))) * multiplier
    bits = (bits ^ ops.right_shift(bits, constant(15))) * constant(_SECOND)
    return bits ^ ops.right_shift(bits, constant(16))


def constant(value: int) -> Tensor:
    """A uint32 scalar."""
    return ops.convert_to_tensor(np.uint32(value))


def random_bits(seed: Tensor, stream: Tensor, rows: int | Tensor, columns: int) -> Tensor:
    """Unrelated bits for each seed, stream, row and column: uint32 (rows, columns).

    Args:
        seed: two integers.
        stream: uint32 scalar, such as the index of a block.
        rows, columns: the shape; rows * columns must be below 2^32.

    >>> bits = random_bits(ops.array([1, 2], "uint32"), constant(0), 100, 100)
    >>> len(set(ops.convert_to_numpy(bits).ravel().tolist())) > 9990
    True
    """
    return random_bits_at(seed, stream, ops.arange(rows, dtype="int32"), ops.arange(columns, dtype="int32"), columns)


def random_bits_at(seed: Tensor, stream: Tensor, rows: Tensor, columns: Tensor, width: int) -> Tensor:
    """The bits of `random_bits` at some rows and columns of a table with `width` columns: uint32 (R, C).

    Args:
        seed, stream: as there.
        rows, columns: int32 (R,) and (C,).
        width: the number of all columns.

    >>> seed = ops.array([1, 2], "uint32")
    >>> int(random_bits_at(seed, constant(0), ops.array([3]), ops.array([5]), 8)[0, 0]) == int(
    ...     random_bits(seed, constant(0), 4, 8)[3, 5]
    ... )
    True
    """
    start, multiplier = _start_and_multiplier(seed, stream)
    # A sum of a row's and a column's part, with the seed in it: a compiler would fold a range over all entries into a
    # constant as large as the tensor.
    row = ops.cast(rows, "uint32") * ops.cast(width, "uint32")
    column = ops.cast(columns, "uint32") * constant(GOLDEN)
    index = (row * constant(GOLDEN) + start)[:, None] + column  # (rows, columns)
    return mixed(index, multiplier)


def random_bits_of(seed: Tensor, stream: Tensor, index: Tensor) -> Tensor:
    """The bits of `random_bits` at some entries: uint32 of the shape of `index`.

    Args:
        seed, stream: as there.
        index: integers of any shape, of the entries in the flattened table.

    >>> seed = ops.array([1, 2], "uint32")
    >>> int(random_bits_of(seed, constant(0), ops.array(29))) == int(random_bits(seed, constant(0), 4, 8)[3, 5])
    True
    """
    start, multiplier = _start_and_multiplier(seed, stream)
    return mixed(ops.cast(index, "uint32") * constant(GOLDEN) + start, multiplier)


def _start_and_multiplier(seed: Tensor, stream: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (ops.cast(seed[index], "uint32") for index in range(2))
    stream = mixed(stream + second * constant(GOLDEN))
    start = mixed(first ^ stream)
    # A multiplier for each stream: with a start alone, streams would be shifted views of one sequence.
    return start, mixed(start + stream) | constant(1)


def shifted_seed(second: Tensor, streams: Tensor) -> Tensor:
    """The second integer of a seed whose streams start at `streams`; all uint32 scalars.

    >>> later = ops.stack([constant(1), shifted_seed(constant(2), constant(5))])
    >>> seed = ops.array([1, 2], "uint32")
    >>> bool(ops.all(random_bits(later, constant(1), 3, 4) == random_bits(seed, constant(6), 3, 4)))
    True
    """
    # A stream enters as stream + second * GOLDEN, modulo 2^32, where an odd number has an inverse.
    return second + streams * constant(pow(GOLDEN, -1, 2**32))


def gumbel(seed: Tensor, position: Tensor, rows: int | Tensor, columns: int) -> Tensor:
    """Noise that makes the largest of `scores + noise` a draw from softmax(scores) (Gumbel 1954).

    The k largest are k draws without replacement (Kool et al. 2019, section 2.3).

    Args:
        seed: two integers.
        position: integer scalar; each position has its own noise.
        rows, columns: the shape.

    Returns:
        float32 (rows, columns).

    >>> noise = gumbel(ops.array([7, 0], "uint32"), ops.array(1), 100, 100)
    >>> abs(float(ops.mean(noise)) - 0.577) < 0.05
    True
    """
    bits = random_bits(seed, ops.cast(position, "uint32"), rows, columns)
    # 23 bits and a half: a uniform number that is never 0, and as float32 never 1.
    fraction = ops.cast(ops.cast(ops.right_shift(bits, constant(9)), "int32"), "float32")
    uniform = (fraction + 0.5) * 2.0**-23
    return -ops.log(-ops.log(uniform))


def random_seed() -> Tensor:
    """Two uint32 numbers that follow `keras.utils.set_random_seed`; a TensorFlow graph draws new ones at each run."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not tf.executing_eagerly():
            return tf.cast(tf.random.uniform((2,), maxval=2**31 - 1, dtype="int32"), "uint32")
    return ops.convert_to_tensor(np.random.randint(2**31 - 1, size=2).astype("uint32"))
