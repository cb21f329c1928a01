"""Each part of Keras without a public name that the library needs is there, by the name that the library uses."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from tfmodels.backend import global_gradients, guarded_optimizer, keras_internals

# What the library reads or replaces, by the object that has it. A failure names the part that Keras moved.
MODEL = ("_flatten_layers", "_symbolic_build", "_compile_loss", "_compile_metrics", "_loss_tracker")
LAYER = ("_tracker", "_untrack_variable", "_convert_input_args", "_allow_non_tensor_positional_args")
OPTIMIZER = (
    "_backend_apply_gradients",
    "_backend_update_step",
    "_clip_gradients",
    "_apply_weight_decay",
    "_get_variable_index",
    "_iterations",
    "_update_model_variables_moving_average",
)


def compiled_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(gradient_accumulation_steps=2), loss="mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("name", MODEL)
def test_a_model_has(name):
    assert hasattr(compiled_model(), name)


@pytest.mark.parametrize("name", LAYER)
def test_a_layer_has(name):
    assert hasattr(keras.layers.Dense(1), name)


@pytest.mark.parametrize("name", OPTIMIZER)
def test_an_optimizer_has(name):
    assert hasattr(keras.optimizers.SGD(), name)


@pytest.mark.tensorflow
def test_an_optimizer_of_tensorflow_sums_over_replicas_by_a_method_of_its_own():
    assert hasattr(keras.optimizers.SGD(), "_all_reduce_sum_gradients")


def test_an_accumulating_optimizer_keeps_its_sums():
    optimizer = compiled_model().optimizer
    optimizer.build([keras.Variable(1.0)])
    assert len(optimizer._accumulated_gradients) == 1


def test_an_optimizer_of_averages_keeps_them_and_knows_the_places_of_its_weights():
    optimizer, weights = keras.optimizers.SGD(use_ema=True), [keras.Variable(1.0), keras.Variable(2.0)]
    optimizer.build(weights)
    assert len(optimizer._model_variables_moving_average) == 2
    assert keras_internals.weight_index(optimizer, weights[1]) == 1


@pytest.mark.parametrize("name", ["kernel", "embeddings"])
def test_the_weight_behind_a_property_is_kept_under_a_name_with_an_underscore(name):
    layer = keras.layers.Dense(2) if name == "kernel" else keras.layers.Embedding(3, 2)
    layer.build((None, 3))
    assert keras_internals.weight_attribute(layer, name) == f"_{name}"


def test_a_call_knows_the_training_flag_of_the_layers_around_it():
    flags = []

    class Inner(keras.layers.Layer):
        def call(self, x):
            flags.append(keras_internals.is_training_around())
            return x

    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def call(self, x, training=None):
            return self.inner(x)

    outer = Outer()
    outer(ops.ones((1,)))
    flags.clear()  # of the calls that built it
    outer(ops.ones((1,)), training=True)
    outer(ops.ones((1,)), training=False)
    assert flags == [True, False]


def test_variables_are_cast_in_the_scope_of_a_layer_that_computes_in_16_bits():
    scopes = []

    class Seen(keras.layers.Layer):
        def call(self, x):
            scopes.append(keras_internals.autocast_scope())
            return x

    Seen(dtype="mixed_bfloat16")(ops.ones((1,)))
    assert [scope.dtype for scope in scopes] == ["bfloat16"]
    assert keras_internals.autocast_scope() is None


def test_the_first_batch_that_losses_are_built_from_can_be_changed():
    batches = []

    @keras_internals.builds_from(lambda model, batch: batches.append(batch) or batch)
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    model = Model()
    model.compile(loss="mse")
    # Keras' trainers do so by themselves under JAX, and under a strategy of `tf.distribute`.
    model._symbolic_build(data_batch=(np.ones((4, 2), "float32"), np.ones((4, 1), "float32")))
    assert len(batches) == 1
    assert model.built


def test_nothing_else_of_keras_is_reached_into():
    """The functions of these modules are the whole list: no other file of the library may use such a name."""
    further = {"_all_reduce_sum_gradients", "_accumulated_gradients", "_model_variables_moving_average"}
    listed = {*MODEL, *LAYER, *OPTIMIZER, *further}
    text = "".join(inspect.getsource(module) for module in (keras_internals, global_gradients, guarded_optimizer))
    assert not [name for name in listed if name not in text]
