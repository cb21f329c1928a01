"""The one loop that the layers need, per backend: a scan whose outputs may have other shapes than its carry.

`keras.ops.scan` of Keras 3.15 gives, on TensorFlow, every output the shape of the carry; `keras.ops.while_loop` would
have to write into whole buffers, which TensorFlow copies at each step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor

Step = Callable[..., tuple[list[Tensor], list[Tensor]]]


def scan(
    step: Step,
    carry: list[Tensor],
    outputs: Sequence[tuple[Sequence[int | None], str]],
    length: Any,
    inputs: Sequence[Tensor] = (),
) -> Any:
    """Run `carry, made = step(index, carry, *parts)` for each index below `length`, and stack what was made.

    Args:
        step: from an int32 scalar, the carried tensors and a part of each input to the next carried tensors, and to
            what this step makes.
        carry: what the first step gets; shapes and dtypes stay.
        outputs: shape (None where unknown) and dtype of each tensor that a step makes.
        length: number of steps: an int, or on TensorFlow an int32 scalar.
        inputs: tensors whose first axis is the steps. On TensorFlow what a step makes takes the place of an input's
            part of its shape and dtype, which saves a tensor of that size.

    Returns:
        The last carry, and a list of what was made, each stacked along a new first axis.

    >>> step = lambda index, carry, part: ([carry[0] + part], [carry[0]])
    >>> (total,), (before,) = scan(step, [ops.zeros((), "int32")], [((), "int32")], 3, [ops.array([5, 6, 7], "int32")])
    >>> int(total), ops.convert_to_numpy(before).tolist()
    (18, [0, 5, 11])
    """
    if keras.backend.backend() == "jax":
        return _scan_in_jax(step, carry, length, inputs)
    return _scan_in_tensorflow(step, carry, outputs, length, inputs)


def _scan_in_jax(
    step: Step, carry: list[Tensor], length: int, inputs: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    import jax

    indices = ops.arange(length, dtype="int32")
    return jax.lax.scan(lambda before, given: step(given[0], before, *given[1]), carry, (indices, tuple(inputs)))


def _scan_in_tensorflow(
    step: Step,
    carry: list[Tensor],
    outputs: Sequence[tuple[Sequence[int | None], str]],
    length: Any,
    inputs: Sequence[Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    import tensorflow as tf

    arrays = [tf.TensorArray(x.dtype, length, element_shape=x.shape[1:]).unstack(x) for x in inputs]
    read = len(arrays)
    places = []
    free = {place: (tuple(x.shape[1:]), x.dtype.name) for place, x in enumerate(inputs)}
    for shape, dtype in outputs:
        same = [place for place, kind in free.items() if kind == (tuple(shape), dtype)]
        if same:
            free.pop(same[0])
        else:
            arrays.append(tf.TensorArray(dtype, length, element_shape=shape))
        places.append(same[0] if same else len(arrays) - 1)

    def body(index: Tensor, before: list[Tensor], arrays: list[Any]) -> tuple[Tensor, list[Tensor], list[Any]]:
        after, made = step(index, before, *(array.read(index) for array in arrays[:read]))
        arrays = list(arrays)
        for place, value in zip(places, made, strict=True):
            arrays[place] = arrays[place].write(index, value)
        return index + 1, after, arrays

    # One step at a time: each already fills the cores, and several would need several steps' memory.
    _, carry, arrays = tf.while_loop(
        lambda index, *_: index < length,
        body,
        (tf.constant(0), list(carry), arrays),
        parallel_iterations=1,
        # XLA must know how often, where it differentiates the loop.
        maximum_iterations=length if isinstance(length, int) else None,
    )
    return carry, [arrays[place].stack() for place in places]
