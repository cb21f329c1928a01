"""Checks that every layer and model passes in the same way.

- `as_numpy` first, `assert_close` on the whole structure then; it refuses NaN.
- `randomise(layer)` fills every weight with noise. Biases that are zero and norms that are one hide errors, and
  attention that is uniform hides those of masks.
- `assert_eager_graph_and_xla_agree`, `assert_gradients_are_finite` and `assert_survives_keras_file` take a layer or
  model and its inputs by name.
"""

import keras
import numpy as np
from backends import MODES, Compiled, direct, is_float, value_and_gradients


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
    _, found, _ = value_and_gradients(lambda given: (loss(given), None), tensors)
    # Dicts are flattened by sorted names.
    found = dict(zip(sorted(tensors), found, strict=True))
    return as_numpy({name: np.zeros_like(x) if found[name] is None else found[name] for name, x in tensors.items()})


def assert_eager_graph_and_xla_agree(layer, inputs, tolerance=1e-5):
    """The same numbers in every mode, from one trace for each compiled one."""
    eager = as_numpy(layer(**inputs))
    for mode in MODES[1:]:
        function = Compiled(lambda arguments: layer(**arguments), layer, mode)
        assert_close(as_numpy(function(inputs)), eager, tolerance)
        # Other values of the same shapes, such as other masks, must not trace anew.
        function({name: np.ascontiguousarray(x[::-1]) for name, x in inputs.items()})
        assert function.traces == 1


def assert_gradients_are_finite(layer, inputs):
    """Every trainable weight gets a finite gradient, compiled and not, and the two agree."""

    def loss(arguments):
        outputs = keras.tree.flatten(layer(**arguments))
        return sum(keras.ops.sum(keras.ops.cast(x, "float32") ** 2) for x in outputs if is_float(x)), None

    plain, compiled = (as_numpy(value_and_gradients(loss, inputs, layer, mode)[2]) for mode in MODES[-2:])
    # Of all weights: the gradient of a key's bias is zero, and its noise is that of the others.
    largest = max(np.abs(x).max() for x in plain)
    for x, y in zip(plain, compiled, strict=True):
        assert np.isfinite(x).all()
        np.testing.assert_allclose(x, y, atol=1e-4 * max(1.0, largest))


def assert_survives_keras_file(model, inputs, folder):
    """A `.keras` file gives the same model back."""
    before = as_numpy(direct(model, inputs))
    model.save(folder / "model.keras")
    assert_close(as_numpy(direct(keras.models.load_model(folder / "model.keras"), inputs)), before, 1e-6)


def randomise(layer, scale=0.3, seed=0):
    """Fill all weights with noise, so that no bias or norm is at its neutral value."""
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        if "seed_generator" not in weight.path and "float" in str(weight.dtype):
            neutral = 1.0 if weight.path.endswith(("gamma", "scale")) else 0.0
            weight.assign(neutral + generator.normal(0, scale, weight.shape))
