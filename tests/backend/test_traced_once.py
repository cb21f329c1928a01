"""A function that is traced once has the results, gradients and compiled programs of the function itself."""

import keras
import numpy as np
import pytest
from keras import ops
from routines import as_numpy, assert_close

from tfmodels.backend.remat import remat
from tfmodels.backend.scan import scan

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    from tfmodels.backend.traced_once import NotTraceableOnceError, TracedOnce

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX traces by itself")


def hard(tensors):
    """Everything that a gradient reads constants for: axes, paddings, slices, a loop; and an input as it came."""
    x, weight, count, _ = tensors
    y = ops.transpose(ops.pad(x @ weight, ((1, 1), (0, 0))), (1, 0))[:, 1:-1]  # (4, 3)
    y = ops.concatenate([y, ops.sum(y, axis=0, keepdims=True)], axis=0)

    def step(index, carry, row):
        return [carry[0] + ops.tanh(row) * ops.cast(index + 1, "float32")], [2 * row]

    (total,), (doubled,) = scan(step, [ops.zeros((3,))], [((3,), "float32")], 5, [y])
    again = remat(lambda z: ops.exp(-z * z), doubled)
    return [total, again * ops.cast(count, "float32"), count + 1, x]


def tensors(seed=0):
    generator = np.random.default_rng(seed)
    shapes = (3, 2), (2, 4), (5,)
    x, weight, unused = (tf.constant(generator.normal(size=shape).astype("float32")) for shape in shapes)
    return [x, weight, tf.constant(3), unused]


def outcome(function, inputs):
    floats = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        outputs = function(inputs)
        loss = sum(tf.reduce_sum(y**3) for y in outputs if y.dtype.is_floating)
    return list(outputs), tape.gradient(loss, floats)


def called(function, has_gradient, seeds=(1,)):
    """The outcome of several calls of one trace."""

    def run(given):
        once = TracedOnce(function, given[0], has_gradient)
        return [outcome(once, inputs) for inputs in given]

    return run, [tensors(seed) for seed in seeds]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("has_gradient", [True, False])
def test_each_call_has_the_outputs_and_gradients_of_the_function(has_gradient, jit_compile):
    run, given = called(hard, has_gradient, seeds=(1, 2))
    found = tf.function(run, jit_compile=jit_compile, autograph=False)(given)
    for (outputs, gradients), inputs in zip(found, given, strict=True):
        wanted, wanted_gradients = outcome(hard, inputs)
        assert [dx is None for dx in gradients] == [dx is None for dx in wanted_gradients] == [False, False, True]
        assert_close(as_numpy(outputs), as_numpy(wanted), 1e-5)
        assert_close(as_numpy(gradients[:2]), as_numpy(wanted_gradients[:2]), 1e-4)


def test_the_function_runs_once_for_all_calls():
    runs = []
    run, given = called(lambda x: runs.append(1) or hard(x), True, seeds=(1, 2, 3))
    tf.function(run, autograph=False).get_concrete_function(given)
    assert len(runs) == 1


def test_no_input_is_a_constant_of_the_compiled_program():
    run, given = called(hard, True)
    compiled = tf.function(run, jit_compile=True, autograph=False)
    program = compiled.experimental_get_compiler_ir(given)(stage="hlo")
    entry = program[program.index("ENTRY") :]
    # XLA drops what the program does not read, but a constant has no parameter.
    assert entry.count(" parameter(") == len(given[0])


def test_a_function_that_cannot_be_traced_once_is_refused():
    outer = []

    def closing_over(tensors):
        return [tensors[0] * outer[0]]

    def with_a_side_effect(tensors):
        tf.print("seen")
        return [tensors[0] + 1.0]

    def looking_up(tensors):
        return [tf.gather(tensors[1], [0, 0, 1])]

    @tf.function(autograph=False)
    def refused(function, x):
        outer[:] = [x * 2.0]
        with pytest.raises(NotTraceableOnceError):
            TracedOnce(function, [x, x], True)
        return x

    for function in (closing_over, with_a_side_effect, looking_up):
        refused(function, tf.ones((2, 2)))
