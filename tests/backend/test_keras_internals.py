"""The private parts of Keras that the backend uses exist: a failure names a part that Keras has moved."""

import keras
import pytest

from tfmodels.backend.keras_internals import sublayers, weight_attribute

ON_CLASSES = {
    keras.Model: ("_flatten_layers", "_symbolic_build"),
    keras.layers.Layer: ("_flatten_layers", "_untrack_variable"),
    keras.Optimizer: (
        "_backend_apply_gradients",
        "_backend_update_step",
        "_apply_weight_decay",
        "_clip_gradients",
        "_get_variable_index",
    ),
}


def compiled_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(gradient_accumulation_steps=2), loss="mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("owner", ON_CLASSES, ids=lambda owner: owner.__name__)
def test_the_methods_exist(owner):
    assert not [name for name in ON_CLASSES[owner] if not hasattr(owner, name)]


def test_the_attributes_exist():
    model = compiled_model()
    layer = model.layers[0]
    expected = {
        model: ("_compile_loss", "_compile_metrics", "_loss_tracker"),
        layer: ("_tracker", "_convert_input_args", "_allow_non_tensor_positional_args"),
        model.optimizer: ("_iterations", "_accumulated_gradients"),
    }
    assert not [name for owner, names in expected.items() for name in names if not hasattr(owner, name)]
    assert hasattr(layer._tracker, "lock")
    assert hasattr(layer._tracker, "unlock")


def test_weights_have_the_attributes_that_resizing_replaces():
    layer, table = keras.layers.Dense(1), keras.layers.Embedding(3, 2)
    layer.build((None, 2))
    table.build()
    assert weight_attribute(layer, "kernel") == "_kernel"
    assert weight_attribute(table, "embeddings") == "_embeddings"
    assert [name for name in ("_kernel", "bias") if hasattr(layer, name)] == ["_kernel", "bias"]


def test_sublayers_are_found_at_any_depth():
    inner = keras.Sequential([keras.layers.Dense(1, name="inner")])
    assert "inner" in [layer.name for layer in sublayers(keras.Sequential([inner]))]
