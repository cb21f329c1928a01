"""Checks that every layer and model passes in the same way."""

import keras
import numpy as np
import tensorflow as tf


def as_numpy(outputs):
    """Any structure of tensors as float32 NumPy arrays."""
    return keras.tree.map_structure(lambda x: np.asarray(keras.ops.cast(x, "float32")), outputs)


def assert_close(found, wanted, tolerance=1e-5):
    """Equal structures of arrays, and no NaN."""
    keras.tree.assert_same_structure(found, wanted)
    for ours, theirs in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=tolerance)


def gradients_of(loss, tensors):
    """Of a scalar function of a dict of arrays, by name."""
    names = list(tensors)
    if keras.backend.backend() == "jax":
        import jax

        return as_numpy(jax.grad(loss)({name: keras.ops.convert_to_tensor(tensors[name]) for name in names}))
    given = {name: tf.convert_to_tensor(tensors[name]) for name in names}
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(given)
    return as_numpy(tape.gradient(value, given, unconnected_gradients=tf.UnconnectedGradients.ZERO))


def assert_eager_graph_and_xla_agree(layer, inputs, tolerance=1e-5):
    """The same numbers three ways, from one trace for each of graph and XLA."""
    tensors = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}
    eager = as_numpy(layer(**tensors))
    for jit_compile in (False, True):
        function = tf.function(lambda arguments: layer(**arguments), jit_compile=jit_compile, autograph=False)
        assert_close(as_numpy(function(tensors)), eager, tolerance)
        # Other values of the same shapes, such as other masks, must not trace anew.
        function(keras.tree.map_structure(lambda x: x[::-1], tensors))
        assert function.experimental_get_tracing_count() == 1


def assert_gradients_are_finite(layer, inputs):
    """Every trainable weight gets a finite gradient, with and without XLA, and the two agree."""
    tensors = {name: tf.convert_to_tensor(value) for name, value in inputs.items()}

    def gradients(arguments):
        with tf.GradientTape() as tape:
            outputs = keras.tree.flatten(layer(**arguments))
            loss = sum(tf.reduce_sum(tf.cast(x, "float32") ** 2) for x in outputs if x.dtype.is_floating)
        return [tf.convert_to_tensor(x) for x in tape.gradient(loss, [w.value for w in layer.trainable_weights])]

    plain = as_numpy(tf.function(gradients, autograph=False)(tensors))
    compiled = as_numpy(tf.function(gradients, jit_compile=True, autograph=False)(tensors))
    # Of all weights: the gradient of a key's bias is zero, and its noise is that of the others.
    largest = max(np.abs(x).max() for x in plain)
    for x, y in zip(plain, compiled, strict=True):
        assert np.isfinite(x).all()
        np.testing.assert_allclose(x, y, atol=1e-4 * max(1.0, largest))


def assert_survives_keras_file(model, inputs, folder):
    """A `.keras` file gives the same model back."""
    before = as_numpy(model(inputs))
    model.save(folder / "model.keras")
    assert_close(as_numpy(keras.models.load_model(folder / "model.keras")(inputs)), before, 1e-6)


def randomise(layer, scale=0.3, seed=0):
    """Fill all weights with noise, so that no bias or norm is at its neutral value."""
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        if "seed_generator" not in weight.path and "float" in str(weight.dtype):
            neutral = 1.0 if weight.path.endswith(("gamma", "scale")) else 0.0
            weight.assign(neutral + generator.normal(0, scale, weight.shape))
