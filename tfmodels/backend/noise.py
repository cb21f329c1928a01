"""Draws as the largest of noisy scores (Gumbel 1954): from a seed the same ones on every backend.

Shape letters: R rows, V columns.
"""

from typing import Any

from keras import ops

from tfmodels.backend.random import constant, random_bits

Tensor = Any


def gumbel(seed: Tensor, position: Tensor, rows: int | Tensor, columns: int) -> Tensor:
    """Noise that makes the largest of `scores + noise` a draw from softmax(scores): float32 (rows, columns).

    The k largest are k draws without replacement (Kool et al. 2019, section 2.3).

    >>> noise = gumbel(ops.array([7, 0], "uint32"), ops.array(1), 100, 100)
    >>> abs(float(ops.mean(noise)) - 0.577) < 0.05
    True
    """
    bits = random_bits(seed, ops.cast(position, "uint32"), rows, columns)
    # 23 bits and a half: a uniform number that is never 0, and as float32 never 1.
    fraction = ops.cast(ops.cast(ops.right_shift(bits, constant(9)), "int32"), "float32")
    uniform = (fraction + 0.5) * 2.0**-23
    return -ops.log(-ops.log(uniform))
