"""The one loop that the layers need, per backend: a scan whose outputs may have other shapes than its carry.

`keras.ops.scan` of Keras 3.15 gives, on TensorFlow, every output the shape of the carry; `keras.ops.while_loop` would
have to write into whole buffers, which TensorFlow copies at each step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any
Step = Callable[[Tensor, list[Tensor]], tuple[list[Tensor], list[Tensor]]]


def scan(step: Step, carry: list[Tensor], outputs: Sequence[tuple[Sequence[int | None], str]], length: Any) -> Any:
    """Run `carry, made = step(index, carry)` for each index below `length`, and stack what was made.

    Args:
        step: from an int32 scalar and the carried tensors to the next ones, and to what this step makes.
        carry: what the first step gets; shapes and dtypes stay.
        outputs: shape (None where unknown) and dtype of each tensor that a step makes.
        length: number of steps: an int, or on TensorFlow an int32 scalar.

    Returns:
        The last carry, and a list of what was made, each stacked along a new first axis.

    >>> step = lambda index, carry: ([carry[0] + index], [carry[0]])
    >>> (total,), (before,) = scan(step, [ops.zeros((), "int32")], [((), "int32")], 4)
    >>> int(total), ops.convert_to_numpy(before).tolist()
    (6, [0, 0, 1, 3])
    """
    if keras.backend.backend() == "jax":
        return _scan_in_jax(step, carry, length)
    return _scan_in_tensorflow(step, carry, outputs, length)


def _scan_in_jax(step: Step, carry: list[Tensor], length: int) -> tuple[list[Tensor], list[Tensor]]:
    import jax

    return jax.lax.scan(lambda before, index: step(index, before), carry, ops.arange(length, dtype="int32"))


def _scan_in_tensorflow(
    step: Step, carry: list[Tensor], outputs: Sequence[tuple[Sequence[int | None], str]], length: Any
) -> tuple[list[Tensor], list[Tensor]]:
    import tensorflow as tf

    arrays = [tf.TensorArray(dtype, size=length, element_shape=shape) for shape, dtype in outputs]

    def body(index: Tensor, before: list[Tensor], written: list[Any]) -> tuple[Tensor, list[Tensor], list[Any]]:
        after, made = step(index, before)
        return index + 1, after, [array.write(index, value) for array, value in zip(written, made, strict=True)]

    # One step at a time: each already fills the cores, and several would need several steps' memory.
    _, carry, arrays = tf.while_loop(
        lambda index, *_: index < length, body, (tf.constant(0), list(carry), arrays), parallel_iterations=1
    )
    return carry, [array.stack() for array in arrays]
