"""Attention to documents: keys and values that are given, and those that a call makes and forgets."""

import numpy as np
import pytest
from backends import MODES, value_and_gradients
from keras import ops
from routines import as_numpy, assert_close, randomise

from tfmodels.layers.attention.cached_attention import CachedAttention

DOCUMENTS, BEAMS, TARGET, SOURCE, WIDTH = 2, 3, 4, 7, 8


def make_case(dropout=0.0):
    layer = CachedAttention(num_heads=2, head_size=4, dropout=dropout)
    layer.build((None, None, WIDTH))
    randomise(layer, scale=1.0)
    generator = np.random.default_rng(0)
    inputs = {
        "queries": generator.normal(size=(DOCUMENTS * BEAMS, TARGET, WIDTH)).astype("float32"),
        "documents": generator.normal(size=(DOCUMENTS, SOURCE, WIDTH)).astype("float32"),
    }
    return layer, inputs, np.arange(SOURCE)[None, None, None] < np.array([SOURCE, 4])[:, None, None, None]


def outcome(layer, inputs, mask, mode, are_given):
    def loss(given):
        documents = given["documents"]
        keys_values = layer.project_keys_values(documents) if are_given else None
        found = layer.attend_per_document(given["queries"], keys_values, mask, None, documents, training=True)
        return ops.sum(found**3), found

    return value_and_gradients(loss, inputs, layer, mode)


@pytest.mark.parametrize("mode", MODES)
def test_keys_and_values_that_are_made_again_change_neither_output_nor_gradient(mode):
    layer, inputs, mask = make_case()
    (_, output), of_inputs, of_weights = outcome(layer, inputs, mask, mode, are_given=False)
    (_, wanted), of_inputs_wanted, of_weights_wanted = outcome(layer, inputs, mask, mode, are_given=True)
    assert_close(as_numpy(output), as_numpy(wanted), 1e-5)
    for found, expected in zip([*of_inputs, *of_weights], [*of_inputs_wanted, *of_weights_wanted], strict=True):
        expected = as_numpy(expected)
        assert_close(as_numpy(found), expected, 1e-5 * max(1.0, float(np.abs(expected).max())))


def test_the_probabilities_are_those_of_the_keys_that_are_given():
    layer, inputs, mask = make_case()
    queries, documents = inputs["queries"], inputs["documents"]
    found = layer.probabilities_per_document(queries, None, mask, None, documents)
    wanted = layer.probabilities_per_document(queries, layer.project_keys_values(documents), mask)
    assert tuple(found.shape) == (DOCUMENTS * BEAMS, 2, TARGET, SOURCE)
    assert_close(as_numpy(found), as_numpy(wanted), 1e-6)
