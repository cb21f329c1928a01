"""The one loop that the layers need, per backend: a scan whose outputs may have other shapes than its carry.

`keras.ops.scan` of Keras 3.15 gives, on TensorFlow, every output the shape of the carry; `keras.ops.while_loop` would
have to write into whole buffers, which TensorFlow copies at each step.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfmodels.backend.types import Tensor

Step = Callable[..., tuple[list[Tensor], list[Tensor]]]
_for_converters: contextvars.ContextVar[bool] = contextvars.ContextVar("loops_for_converters", default=False)


@contextlib.contextmanager
def loops_for_converters() -> Iterator[None]:
    """A scope in which TensorFlow's loops are traced in a form that converters to ONNX read.

    An array is either read or written there, so that a loop needs one tensor more. Results are the same.

    >>> with loops_for_converters():
    ...     _, (doubled,) = scan(lambda i, _, x: ([], [2 * x]), [], [((), "int32")], 2, [ops.array([3, 4])], {0: 0})
    >>> ops.convert_to_numpy(doubled).tolist()
    [6, 8]
    """
    token = _for_converters.set(True)
    try:
        yield
    finally:
        _for_converters.reset(token)


def scan(
    step: Step,
    carry: list[Tensor],
    outputs: Sequence[tuple[Sequence[int | None], str]],
    length: int | Tensor,
    inputs: Sequence[Tensor] = (),
    reuse: Mapping[int, int] | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """Run `carry, results = step(index, carry, *parts)` for each index below `length`, and stack the results.

    Args:
        step: from an int32 scalar, the carried tensors and one part of each input, to the next carried tensors and the
            results of this step.
        carry: the carried tensors of the first step; shapes and dtypes stay.
        outputs: shape (None where unknown) and dtype of each result.
        length: number of steps: an int, or on TensorFlow an int32 scalar.
        inputs: tensors whose first axis is the steps.
        reuse: {index of a result: index of an input}: on TensorFlow the result is written over the input's part,
            which saves a tensor of that size. The inputs themselves are unchanged.

    Returns:
        The last carry, and the results, each stacked along a new first axis.

    Raises:
        ValueError: a pair in `reuse` of different shapes or dtypes.

    >>> step = lambda index, carry, part: ([carry[0] + part], [carry[0]])
    >>> (total,), (before,) = scan(step, [ops.zeros((), "int32")], [((), "int32")], 3, [ops.array([5, 6, 7], "int32")])
    >>> int(total), ops.convert_to_numpy(before).tolist()
    (18, [0, 5, 11])
    """
    reuse = reuse or {}
    for result, source in reuse.items():
        if not can_reuse(outputs[result], inputs[source]):
            kind = tuple(inputs[source].shape[1:]), inputs[source].dtype
            raise ValueError(f"reuse must name inputs of the results' kinds {outputs[result]}. Received: {kind}")
    if keras.backend.backend() == "jax":
        return _scan_in_jax(step, carry, length, inputs)
    return _scan_in_tensorflow(step, carry, outputs, length, inputs, {} if _for_converters.get() else reuse)


def computed_before(x: Tensor) -> Tensor:
    """`x`, which a loop reads and XLA under JAX would otherwise compute again in each step, if it is small.

    >>> float(computed_before(ops.array(2.0)))
    2.0
    """
    if keras.backend.backend() != "jax":
        return x
    import jax

    return jax.lax.optimization_barrier(x)


def can_reuse(output: tuple[Sequence[int | None], str], source: Tensor) -> bool:
    """Whether a result of this shape and dtype can be written over a part of an input.

    >>> can_reuse(((2,), "float32"), ops.zeros((5, 2))), can_reuse(((2,), "float16"), ops.zeros((5, 2)))
    (True, False)
    """
    shape, dtype = output
    is_same_dtype = keras.backend.standardize_dtype(dtype) == keras.backend.standardize_dtype(source.dtype)
    return is_same_dtype and tuple(shape) == tuple(source.shape[1:])


def _scan_in_jax(
    step: Step, carry: list[Tensor], length: int, inputs: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    import jax

    indices = ops.arange(length, dtype="int32")
    return jax.lax.scan(lambda before, now: step(now[0], before, *now[1]), carry, (indices, tuple(inputs)))


def _scan_in_tensorflow(
    step: Step,
    carry: list[Tensor],
    outputs: Sequence[tuple[Sequence[int | None], str]],
    length: int | Tensor,
    inputs: Sequence[Tensor],
    reuse: Mapping[int, int],
) -> tuple[list[Tensor], list[Tensor]]:
    import tensorflow as tf

    # Written arrays come first: where read ones stand before them, tf2onnx 1.17 takes one for another.
    own = [result for result in range(len(outputs)) if result not in reuse]
    arrays = [tf.TensorArray(outputs[x][1], length, element_shape=outputs[x][0]) for x in own]
    arrays += [tf.TensorArray(x.dtype, length, element_shape=x.shape[1:]).unstack(x) for x in inputs]
    # The index of the array that each result is written to.
    targets = [len(own) + reuse[x] if x in reuse else own.index(x) for x in range(len(outputs))]

    def body(index: Tensor, before: list[Tensor], arrays: list[Any]) -> tuple[Tensor, list[Tensor], list[Any]]:
        after, results = step(index, before, *(array.read(index) for array in arrays[len(own) :]))
        arrays = list(arrays)
        for target, value in zip(targets, results, strict=True):
            arrays[target] = arrays[target].write(index, value)
        return index + 1, after, arrays

    # One step at a time: each already fills the cores, and several would need several steps' memory.
    _, carry, arrays = tf.while_loop(
        lambda index, *_: index < length,
        body,
        (tf.constant(0), list(carry), arrays),
        parallel_iterations=1,
        # XLA needs a bound on the iterations to differentiate the loop.
        maximum_iterations=length if isinstance(length, int) else None,
    )
    return carry, [arrays[target].stack() for target in targets]
