"""Steps of an optimizer on given gradients, eager, as a graph and under XLA; under JAX the last two are one."""

import keras
import numpy as np
from backends import IS_JAX
from keras import ops

SHAPES = ((130, 128), (2, 128, 131), (40,), (5, 4), ())
RUNS = ("eager", "graph", "xla")


def weights_and_gradients(steps, shapes=SHAPES, seed=0):
    generator = np.random.default_rng(seed)
    weights = [generator.normal(size=shape).astype("float32") for shape in shapes]
    return weights, [[generator.normal(size=w.shape).astype("float32") for w in weights] for _ in range(steps)]


def stepper(optimizer, variables, run="eager"):
    """A function that takes one step with given gradients."""
    optimizer.build(variables)
    if IS_JAX:
        import jax

        apply = optimizer.stateless_apply if run == "eager" else jax.jit(optimizer.stateless_apply)

        def step(gradients):
            new = apply([v.value for v in optimizer.variables], gradients, [v.value for v in variables])
            for variable, value in zip([*variables, *optimizer.variables], [*new[0], *new[1]], strict=True):
                variable.assign(value)

        return step
    if run == "eager":
        return optimizer.apply
    import tensorflow as tf

    return tf.function(optimizer.apply, jit_compile=run == "xla")


def take_steps(optimizer, weights, gradients, run="eager"):
    variables = [keras.Variable(weight, name=f"weight_{place}") for place, weight in enumerate(weights)]
    step = stepper(optimizer, variables, run)
    for each in gradients:
        step([ops.convert_to_tensor(gradient) for gradient in each])
    return [ops.convert_to_numpy(variable) for variable in variables]


def state(optimizer):
    """What a file of the optimizer holds."""
    return [ops.convert_to_numpy(variable).copy() for variable in optimizer.variables]


def assert_equal(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_close(found, wanted, tolerance):
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
