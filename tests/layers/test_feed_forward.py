"""A long document's feed-forward, chunk by chunk, against that of each position by itself."""

import numpy as np
import pytest
from backends import MODES, value_and_gradients
from keras import ops
from routines import as_numpy, assert_close, randomise

from tfmodels.backend.devices import compiling_for
from tfmodels.layers import feed_forward
from tfmodels.layers.feed_forward import FeedForward

WIDTH, CHUNK = 6, 4


@pytest.mark.quick_in_jax("5-False-eager", "8-True-xla", "11-False-xla")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("length", [5, 8, 11])
def test_chunks_change_neither_output_nor_gradient(mode, gated, length, monkeypatch):
    layer = FeedForward(10, "gelu", gated=gated, use_bias=not gated)
    layer.build((None, None, WIDTH))
    randomise(layer, scale=0.5)
    inputs = np.random.default_rng(length).normal(size=(2, length, WIDTH)).astype("float32")

    def loss(x):
        found = layer(x, training=False)
        return ops.sum(found**2), found

    (_, wanted), *wanted_gradients = value_and_gradients(loss, inputs, layer, mode)
    monkeypatch.setattr(feed_forward, "CHUNK_LENGTH", CHUNK)
    (_, found), *gradients = value_and_gradients(loss, inputs, layer, mode)
    assert_close(as_numpy(found), as_numpy(wanted), 1e-5)
    for part, wanted_part in zip(gradients, wanted_gradients, strict=True):
        for got, expected in zip(part, wanted_part, strict=True):
            assert_close(as_numpy(got), as_numpy(expected), 1e-4)


def test_chunks_keep_the_dtype_of_a_safe_output(monkeypatch):
    monkeypatch.setattr(feed_forward, "CHUNK_LENGTH", CHUNK)
    layer = FeedForward(10, "relu", safe_output=True, dtype="mixed_float16")
    assert (
        layer(ops.ones((1, 2 * CHUNK + 1, WIDTH), "float16")).dtype == layer(ops.ones((1, 2, WIDTH), "float16")).dtype
    )


@pytest.mark.parametrize(
    ("kind", "batch", "lengths"),
    [("cpu", 1, [3] * 3), ("cpu", 2, [2] * 5), ("cpu", 9, [1] * 9), ("gpu", 2, [3] * 3), ("tpu", 2, [9])],
)
def test_chunks_are_alike_and_as_long_as_a_device_can_hold(kind, batch, lengths, monkeypatch):
    monkeypatch.setattr(feed_forward, "CHUNK_LENGTH", CHUNK)
    layer, seen = FeedForward(10, "relu"), []
    layer.build((None, None, WIDTH))
    own_call = layer.wi.call
    layer.wi.call = lambda x: seen.append(x.shape[1]) or own_call(x)
    with compiling_for(kind):
        assert layer(ops.ones((batch, 9, WIDTH))).shape == (batch, 9, WIDTH)
    # A loop may trace its body once for all chunks.
    assert seen in (lengths, lengths[:1])
