"""Gradient checkpointing of pure functions, per backend (Chen et al. 2016, section 3)."""

from collections.abc import Callable
from contextvars import ContextVar

import keras

from tfmodels.backend.types import Tensor

Pure = Callable[[list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]

_is_inside_remat: ContextVar[bool] = ContextVar("is_inside_remat", default=False)


def is_inside_remat() -> bool:
    """True inside an outer `remat` call, where nesting would only recompute twice."""
    return _is_inside_remat.get()


def remat(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Compute `function(*tensors)`; recompute its intermediate values in the backward pass.

    Gradients reach the float tensors among `tensors` alone, and no tensor that the function closes over.

    >>> float(remat(lambda x: keras.ops.sum(keras.ops.exp(x)), keras.ops.zeros((3,))))
    3.0
    """
    return remat_with_state(lambda sources, _: ([function(*sources)], []), list(tensors), [])[0][0]


def remat_with_state(function: Pure, sources: list[Tensor], state: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Compute `function(sources, state)`; run it again for the gradients of its first outputs by `sources`.

    Args:
        function: from sources and state to outputs and a new state, each a list of tensors.
        sources: tensors; the float ones have gradients.
        state: tensors without a gradient.

    Returns:
        The function's result. Inside an outer `remat` call this is the plain call.

    Raises:
        ValueError: a function that reads variables it does not own (TensorFlow).
    """
    if is_inside_remat():
        return function(sources, state)

    def marked(sources: list[Tensor], state: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        before = _is_inside_remat.set(True)
        try:
            return function(sources, state)
        finally:
            _is_inside_remat.reset(before)

    if keras.backend.backend() == "tensorflow":
        return _remat_in_tensorflow(marked, sources, state)
    return keras.remat(marked)(sources, state)


def _remat_in_tensorflow(
    function: Pure, sources: list[Tensor], state: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    # tf.recompute_grad, behind keras.remat, adds a float to every input: not for bool masks, and seeds would be floats.
    import tensorflow as tf

    split, output_count = len(sources), 0

    @tf.custom_gradient
    def first_pass(*inputs: Tensor) -> tuple[list[Tensor], Callable[..., list[Tensor | None]]]:
        nonlocal output_count
        # An eager tape would record, and keep, every tensor computed from tensors that it watches.
        detached = [tf.stop_gradient(x) for x in inputs]
        with tf.GradientTape() as foreign:
            outputs, new_state = function(detached[:split], detached[split:])
        if foreign.watched_variables():
            names = [variable.name for variable in foreign.watched_variables()]
            raise ValueError(f"layer must own every variable that it uses. Received: a layer that uses {names}")
        output_count = len(outputs)

        def second_pass(*upstream: Tensor) -> list[Tensor | None]:
            output_gradients = [tf.convert_to_tensor(x) for x in upstream[:output_count]]
            again = list(inputs) if tf.executing_eagerly() else _after(output_gradients, inputs)
            floats = [x for x in again[:split] if x.dtype.is_floating]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(floats)
                recomputed, _ = function(again[:split], again[split:])
            pairs = [pair for pair in zip(recomputed, output_gradients, strict=True) if pair[0].dtype.is_floating]
            of_floats = iter(tape.gradient([y for y, _ in pairs], floats, [gradient for _, gradient in pairs]))
            gradients = [next(of_floats) if x.dtype.is_floating else None for x in again[:split]]
            return gradients + [None] * len(state)

        return [*outputs, *new_state], second_pass

    # Variables among the arguments of an eager custom gradient would stay variables, read anew in the second pass.
    results = first_pass(*[tf.convert_to_tensor(x) for x in (*sources, *state)])
    return results[:output_count], results[output_count:]


def _after(upstream: list[Tensor], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """`inputs` unchanged, but dependent on `upstream`, so that the second pass runs after the first.

    Grappler and XLA merge equal computations, which keeps the values of the first pass alive. XLA ignores control
    dependencies, and an XLA optimization barrier is gone on CPU before that merge (and has no kernel outside XLA), so
    the data must depend: on a condition that never holds, which neither compiler works out.
    """
    import tensorflow as tf

    # All of them, since the gradient of an unused output is a constant, and a constant orders nothing.
    ends = [tf.cast(tf.reshape(x, [-1])[:1], "float32") for x in upstream if x.dtype.is_floating]
    end = tf.concat(ends, axis=0)
    never = tf.reduce_any(tf.math.is_nan(end) & tf.math.is_finite(end))
    return [tf.where(never, tf.zeros((), x.dtype), x) for x in inputs]
