"""Our AdamW is Keras': the same numbers in the same variables, in fewer operations."""

import keras
import numpy as np
import pytest
from optimizer_steps import RUNS, assert_equal, state, take_steps, weights_and_gradients

import tfmodels
from tfmodels.backend.adamw import AdamW

SETTINGS = {
    "plain": {},
    "clipped": {"global_clipnorm": 1.0},
    "accumulated": {"gradient_accumulation_steps": 2},
    "averaged": {"use_ema": True, "ema_momentum": 0.5},
    "amsgrad": {"amsgrad": True},
    "schedule": {"learning_rate": "schedule"},
}


def both(settings):
    arguments = {"learning_rate": 0.01, "weight_decay": 0.1, **settings}
    made = []
    for kind in (AdamW, keras.optimizers.AdamW):
        rate = arguments["learning_rate"]
        if rate == "schedule":
            rate = keras.optimizers.schedules.CosineDecay(0.01, 3)
        optimizer = kind(**{**arguments, "learning_rate": rate})
        optimizer.exclude_from_weight_decay(var_names=["weight_2"])
        made.append(optimizer)
    return made


@pytest.mark.quick_in_jax("plain-*", "accumulated-xla")
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_numbers_and_variables_are_those_of_keras(settings, run):
    weights, gradients = weights_and_gradients(4)
    ours, theirs = both(settings)
    found, wanted = (take_steps(optimizer, weights, gradients, run) for optimizer in (ours, theirs))
    tolerance = {"rtol": 0, "atol": 0} if run == "eager" else {"rtol": 1e-6, "atol": 1e-7}
    for one, other in zip([*found, *state(ours)], [*wanted, *state(theirs)], strict=True):
        np.testing.assert_allclose(one, other, **tolerance)
    names = [[variable.path.split("/", 1)[1] for variable in optimizer.variables] for optimizer in (ours, theirs)]
    assert names[0] == names[1]


def test_sixteen_bit_weights_move_as_with_keras():
    weights, gradients = weights_and_gradients(3)
    moved = []
    for optimizer in both({}):
        variables = [keras.Variable(weight, dtype="bfloat16") for weight in weights]
        optimizer.build(variables)
        for each in gradients:
            optimizer.apply([keras.ops.cast(x, "bfloat16") for x in each], variables)
        moved.append([np.asarray(keras.ops.cast(v, "float32")) for v in variables])
    assert_equal(*moved)


@pytest.mark.tensorflow
def test_a_weight_costs_little_more_than_half_the_operations_of_keras():
    import tensorflow as tf

    weights, gradients = weights_and_gradients(1, shapes=((3,),) * 20)
    counts = []
    for optimizer in both({}):
        variables = [keras.Variable(weight) for weight in weights]
        optimizer.build(variables)
        graph = tf.function(optimizer.apply).get_concrete_function([tf.constant(x) for x in gradients[0]]).graph
        counts.append(len(graph.as_graph_def().node))
    assert counts[0] <= 0.6 * counts[1]


@pytest.mark.tensorflow
def test_sparse_gradients_move_weights_as_with_keras():
    import tensorflow as tf

    moved = []
    for optimizer in both({}):
        variable = keras.Variable(np.ones((4, 2), "float32"))
        optimizer.build([variable])
        gradient = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([1, 3]), tf.constant([4, 2]))
        for _ in range(2):
            optimizer.apply([gradient], [variable])
        moved.append([np.asarray(variable)])
    assert_equal(*moved)


@pytest.mark.tensorflow
def test_under_a_strategy_it_is_keras_update():
    import tensorflow as tf

    moved = []
    for kind in (AdamW, keras.optimizers.AdamW):
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            optimizer, variable = kind(0.01), keras.Variable(np.ones(3, "float32"))
            optimizer.build([variable])
            strategy.run(lambda to_move=(optimizer, variable): to_move[0].apply([tf.ones(3)], [to_move[1]]))
        moved.append([np.asarray(variable)])
    assert_equal(*moved)


def test_a_file_gives_the_optimizer_back():
    optimizer = tfmodels.AdamW(0.01, weight_decay=0.2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is AdamW
    assert again.get_config() == optimizer.get_config()
