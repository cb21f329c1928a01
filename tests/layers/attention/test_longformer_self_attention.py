"""LongformerSelfAttention against a dense masked reference, and the checks that all layers share."""

import keras
import numpy as np
import pytest
from backends import MODES, Compiled, direct
from dense_reference import attend, heads, project
from routines import as_numpy, assert_close, assert_eager_graph_and_xla_agree, assert_gradients_are_finite, randomise

from tfmodels import LongformerSelfAttention

WINDOW, HEADS, WIDTH, SLOTS = 8, 2, 12, 5


def dense_longformer(layer, hidden, valid, marks):
    """Longformer as one masked dense attention: what the layer must equal."""
    x, positions = hidden.astype("float64"), np.arange(hidden.shape[1])
    is_global = (marks != 0) & valid
    near = np.abs(positions[:, None] - positions[None, :]) <= layer.attention_window // 2
    visible = (near[None] | is_global[:, None, :]) & valid[:, None, :]
    scale = layer.head_size**-0.5
    query, key, value = (heads(project(p, x), HEADS) for p in (layer.query, layer.key, layer.value))
    local = attend(query * scale, key, value, visible[:, None])
    names = (layer.query_global, layer.key_global, layer.value_global)
    query, key, value = (heads(project(p, x), HEADS) for p in names)
    whole = attend(query * scale, key, value, valid[:, None, None, :])
    return np.where(is_global[..., None], whole, local) * valid[..., None]


def make_inputs(length, marked, batch=3):
    generator = np.random.default_rng(length)
    valid = np.ones((batch, length), bool)
    valid[1, length - length // 3 :] = False
    valid[2, length // 2 + 1 :] = False
    marks = np.zeros((batch, length), "int32")
    for row in range(batch):
        marks[row, generator.permutation(length)[: min(marked, length)]] = 1
    return generator.normal(size=(batch, length, WIDTH)).astype("float32"), valid, marks


def make_layer(**arguments):
    layer = LongformerSelfAttention(HEADS, WINDOW, **{"max_global_tokens": SLOTS, **arguments})
    layer.build((None, None, WIDTH))
    randomise(layer, scale=0.8)
    return layer


@pytest.mark.quick_in_jax("0-1", "0-8", "0-17", "1-2", "1-9", "1-16", "5-3", "5-7", "5-15", "5-31")
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31])
@pytest.mark.parametrize("marked", [0, 1, SLOTS])
def test_equals_dense_masked_attention(length, marked):
    layer, (hidden, valid, marks) = make_layer(), make_inputs(length, marked)
    output = direct(layer, hidden, attention_mask=valid.astype("int32"), global_attention_mask=marks)
    assert_close(as_numpy(output), dense_longformer(layer, hidden, valid, marks), 2e-5)


@pytest.mark.parametrize("window", [2, 6, 20])
def test_equals_dense_attention_for_windows_that_blocks_cover_unevenly(window):
    layer, (hidden, valid, marks) = make_layer(), make_inputs(23, 2)
    layer = LongformerSelfAttention(HEADS, window, max_global_tokens=SLOTS)
    layer.build((None, None, WIDTH))
    randomise(layer, scale=0.8)
    output = direct(layer, hidden, attention_mask=valid.astype("int32"), global_attention_mask=marks)
    assert_close(as_numpy(output), dense_longformer(layer, hidden, valid, marks), 2e-5)


def test_no_mask_means_no_padding_and_no_global_tokens():
    layer, (hidden, _, _) = make_layer(), make_inputs(13, 0)
    everything, nothing = np.ones((3, 13), bool), np.zeros((3, 13), "int32")
    assert_close(as_numpy(direct(layer, hidden)), dense_longformer(layer, hidden, everything, nothing), 2e-5)


def test_a_global_mark_on_padding_is_padding():
    layer, (hidden, valid, _) = make_layer(), make_inputs(16, 0)
    marks = (~valid).astype("int32")
    valid_mask = valid.astype("int32")
    marked = layer(hidden, attention_mask=valid_mask, global_attention_mask=marks * (np.cumsum(marks, 1) <= SLOTS))
    unmarked = layer(hidden, attention_mask=valid_mask, global_attention_mask=np.zeros_like(marks))
    assert_close(as_numpy(marked), as_numpy(unmarked))


def test_capacity_zero_ignores_the_global_mask():
    layer, (hidden, valid, marks) = make_layer(max_global_tokens=0), make_inputs(16, 2)
    output = direct(layer, hidden, attention_mask=valid.astype("int32"), global_attention_mask=marks)
    assert_close(as_numpy(output), dense_longformer(layer, hidden, valid, np.zeros_like(marks)), 2e-5)


def test_in_a_graph_marks_beyond_the_capacity_are_ordinary_tokens():
    layer, (hidden, valid, marks) = make_layer(), make_inputs(24, SLOTS + 3)
    valid[:] = True
    output = Compiled(lambda m: layer(hidden, global_attention_mask=m), layer, MODES[1])(marks)
    kept = marks * (np.cumsum(marks, axis=1) <= SLOTS)
    assert_close(as_numpy(output), dense_longformer(layer, hidden, valid, kept), 2e-5)


def test_more_global_tokens_than_capacity_is_an_error():
    layer, (hidden, _, marks) = make_layer(), make_inputs(16, SLOTS + 1)
    with pytest.raises(ValueError, match=r"at most max_global_tokens=5 tokens per row. Received: 6 in row 0"):
        layer(hidden, global_attention_mask=marks)


@pytest.mark.parametrize("window", [7, 0, -2, 4.0, True])
def test_an_odd_or_empty_window_is_an_error(window):
    with pytest.raises(ValueError, match="attention_window must be even and positive. Received: attention_window="):
        LongformerSelfAttention(2, window)


def test_eager_graph_and_xla_agree_and_trace_once():
    layer, (hidden, valid, marks) = make_layer(), make_inputs(21, 3)
    inputs = {"hidden_states": hidden, "attention_mask": valid.astype("int32"), "global_attention_mask": marks}
    assert_eager_graph_and_xla_agree(layer, inputs)
    assert_gradients_are_finite(layer, inputs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_near_float32_and_finite_for_padding_only_rows(policy):
    hidden, valid, marks = make_inputs(9, 2)
    valid[0] = False
    exact, mixed = make_layer(), make_layer(dtype=policy)
    inputs = {"attention_mask": valid.astype("int32"), "global_attention_mask": marks}
    output = direct(mixed, hidden, **inputs)
    assert output.dtype == mixed.compute_dtype
    assert_close(as_numpy(output), as_numpy(direct(exact, hidden, **inputs)), 0.1)


def test_composes_in_the_functional_api_and_survives_a_keras_file(tmp_path):
    hidden, mask = keras.Input((None, WIDTH)), keras.Input((None,), dtype="int32")
    model = keras.Model([hidden, mask], make_layer()(hidden, attention_mask=mask, global_attention_mask=mask))
    x, _, marks = make_inputs(SLOTS, 2)
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras")
    assert_close(as_numpy(direct(loaded, [x, marks])), as_numpy(direct(model, [x, marks])), 1e-6)


def test_attention_dropout_acts_in_training_only():
    layer, (hidden, _, marks) = make_layer(dropout=0.5), make_inputs(16, 2)
    still = as_numpy(direct(layer, hidden, global_attention_mask=marks))
    assert_close(as_numpy(direct(layer, hidden, global_attention_mask=marks, training=False)), still)
    assert np.abs(as_numpy(direct(layer, hidden, global_attention_mask=marks, training=True)) - still).max() > 0.01
