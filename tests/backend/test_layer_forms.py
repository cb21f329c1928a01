"""Two layers have the same form if and only if one's trace may serve the other."""

import functools

import keras
import numpy as np
import pytest

from tfmodels.backend.layer_forms import layer_form


class Pair(keras.layers.Layer):
    """Two projections, and dropout between them."""

    __module__ = "tfmodels.pair"

    def __init__(self, rate=0.1, activation="relu", policy="float32", scale=None, rate_within=None, **kwargs):
        super().__init__(dtype=policy, **kwargs)
        self.wide = keras.layers.Dense(4, activation=activation, dtype=policy)
        if rate_within is not None:
            self.wide = keras.Sequential([self.wide, keras.layers.Dropout(rate_within)])
        self.narrow = keras.layers.Dense(4, dtype=policy)
        self.dropout = keras.layers.Dropout(rate)
        self.scale = scale
        self.build((None, 4))

    def build(self, shape):
        self.wide.build(shape)
        self.narrow.build(shape)
        self.built = True

    def call(self, x):
        return self.narrow(self.dropout(self.wide(x)))

    call.__module__ = "tfmodels.pair"


class Foreign(Pair):
    """The same layer, of a user."""

    __module__ = "a_users.module"


def frozen_part():
    layer = Pair()
    layer.narrow.trainable = False
    return layer


def adapted():
    layer = Pair()
    layer.wide.enable_lora(2)
    return layer


def tied():
    layer = Pair()
    layer.narrow = layer.wide
    return layer


def replaced_call():
    layer = Pair()
    layer.wide.call = lambda x: x
    return layer


def wrapped_call():
    class Recorded(Pair):
        __module__ = "tfmodels.pair"
        call = functools.wraps(Pair.call)(lambda self, x: Pair.call(self, x))

    return Recorded()


def unbuilt_part():
    layer = Pair()
    layer.wide.built = False
    return layer


def regularized():
    layer = Pair()
    layer.wide.activity_regularizer = keras.regularizers.L2(0.1)
    return layer


def test_layers_of_the_same_settings_have_the_same_form_whatever_their_names_weights_and_seeds():
    assert layer_form(Pair(name="first")) == layer_form(Pair(name="second")) is not None
    assert layer_form(Pair(scale=np.ones(2))) == layer_form(Pair(scale=np.ones(2))) is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pair(rate=0.2),
        lambda: Pair(activation="gelu"),
        lambda: Pair(policy="mixed_bfloat16"),
        lambda: Pair(trainable=False),
        lambda: Pair(scale=2),
        lambda: Pair(scale=2.0),
        lambda: Pair(scale=np.zeros(2)),
        frozen_part,
        adapted,
        tied,
    ],
)
def test_whatever_a_call_depends_on_is_part_of_the_form(make):
    assert layer_form(make()) not in (None, layer_form(Pair()))


@pytest.mark.parametrize(
    "make",
    [Foreign, replaced_call, wrapped_call, unbuilt_part, regularized, lambda: Pair(scale=object())],
)
def test_a_layer_that_may_do_more_than_compute_has_no_form(make):
    assert layer_form(make()) is None


def test_a_policy_map_counts_by_what_it_says_of_each_layer():
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["third/.*"] = keras.DTypePolicy("mixed_bfloat16")
    first, second, third = (layer_form(Pair(name=name, policy=policies)) for name in ("first", "second", "third"))
    assert first == second is not None
    assert third not in (None, first)


def test_layers_within_a_container_count_or_the_container_has_no_form():
    forms = [layer_form(Pair(rate_within=rate)) for rate in (0.1, 0.2)]
    assert forms[0] != forms[1] or forms == [None, None]
