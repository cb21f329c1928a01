"""Weights that a file fills are not drawn first; all others are."""

import keras
import numpy as np
from keras import ops

from tfmodels.backend.initializers import Normal, filled_from_file


def test_values_are_those_of_keras_outside_of_the_scope_and_zeros_inside():
    ours, theirs = Normal(stddev=0.5, seed=1), keras.initializers.RandomNormal(stddev=0.5, seed=1)
    with filled_from_file():
        np.testing.assert_array_equal(ops.convert_to_numpy(ours((2, 3), "float32")), np.zeros((2, 3)))
    found = ops.convert_to_numpy(ours((2, 3), "float32"))
    np.testing.assert_array_equal(found, ops.convert_to_numpy(theirs((2, 3), "float32")))


def test_a_scope_that_fails_ends():
    try:
        with filled_from_file():
            raise ValueError
    except ValueError:
        pass
    assert np.any(ops.convert_to_numpy(Normal(stddev=1.0)((4,))))


def test_a_file_gives_the_initializer_back():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(Normal(stddev=0.5, seed=1)))
    assert type(again) is Normal
    assert again.get_config() == Normal(stddev=0.5, seed=1).get_config()
