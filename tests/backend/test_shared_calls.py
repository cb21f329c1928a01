"""Calls that are shared have the results and gradients of plain calls."""

import keras
import pytest
from routines import as_numpy, assert_close

from tfmodels.backend.shared_calls import SharedCalls, calls_one_by_one

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX traces by itself")


@pytest.mark.parametrize("training", [True, False])
def test_frozen_weights_that_a_tape_watches_have_gradients(training):
    import tensorflow as tf

    layers = [keras.layers.Dense(3, activation="tanh") for _ in range(3)]
    for layer in layers:
        layer.build((None, 3))
        layer.trainable = False
    kernels = [layer.kernel.value for layer in layers]

    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(kernels)
            shared = SharedCalls(layers)
            for layer in layers:
                x = shared(layer, lambda x, training, layer=layer: layer(x), x, training=training)
        return tape.gradient(x, kernels)

    x = tf.constant([[0.1, -0.2, 0.3]])
    found = tf.function(gradients, autograph=False)(x)
    with calls_one_by_one():
        wanted = tf.function(gradients, autograph=False)(x)
    assert_close(as_numpy(found), as_numpy(wanted), 1e-6)
