"""LongT5's self-attentions against dense masked references, and the checks that all layers share."""

import keras
import numpy as np
import pytest
from backends import direct
from dense_reference import attend, heads, project
from routines import as_numpy, assert_close, assert_eager_graph_and_xla_agree, assert_gradients_are_finite, randomise

from tfmodels import LongT5LocalSelfAttention, LongT5TransientGlobalSelfAttention

RADIUS, BLOCK, HEADS, SIZE, WIDTH = 7, 4, 2, 4, 12


def bias_of(layer, relative_position):
    """The layer's bias for int offsets of any shape: (..., H, Q, K)."""
    return np.asarray(layer(relative_position.astype("int32")), "float64")


def dense_long_t5(layer, hidden, valid):
    """Both kinds as one dense attention over tokens and (transient-global) summaries."""
    x, position = hidden.astype("float64"), np.arange(hidden.shape[1])
    relative = position[None, :] - position[:, None]
    visible = (np.abs(relative) <= RADIUS)[None] & valid[:, None, :]
    bias = np.broadcast_to(bias_of(layer.relative_attention_bias, relative), (len(x), HEADS, *relative.shape))
    keys = values = x
    if isinstance(layer, LongT5TransientGlobalSelfAttention):
        count = hidden.shape[1] // BLOCK
        whole = np.array([[valid[b, (g + 1) * BLOCK - 1] for g in range(count)] for b in range(len(x))]).reshape(
            len(x), -1
        )
        ids = np.minimum(position // BLOCK, whole.sum(1)[:, None] - 1)
        ids = np.where(valid, ids, -1)
        member = ids[:, None, :] == np.arange(count)[:, None]  # (B, G, L)
        sums = member @ x
        norm = np.sqrt((sums**2).mean(-1, keepdims=True) + layer.layer_norm_epsilon)
        summaries = sums / norm * np.asarray(layer.global_input_layer_norm.scale)
        keys = values = np.concatenate([x, summaries], axis=1)
        exists = np.arange(count)[None] <= ids.max(1)[:, None]
        visible = np.concatenate([visible, np.broadcast_to(exists[:, None], (len(x), len(position), count))], axis=2)
        side = bias_of(layer.global_relative_attention_bias, np.arange(count)[None, None] - ids[:, :, None])
        bias = np.concatenate([bias, side], axis=3)
    query, key, value = (heads(project(p, y), HEADS) for p, y in ((layer.q, x), (layer.k, keys), (layer.v, values)))
    return project(layer.o, attend(query, key, value, visible[:, None], bias))


def make_layer(kind, **arguments):
    arguments = {"local_radius": RADIUS, "has_relative_attention_bias": True, "max_distance": 20, **arguments}
    if kind == "local":
        layer = LongT5LocalSelfAttention(HEADS, SIZE, **arguments)
    else:
        layer = LongT5TransientGlobalSelfAttention(HEADS, SIZE, global_block_size=BLOCK, **arguments)
    layer.build((None, None, WIDTH))
    randomise(layer, scale=0.7)
    return layer


def make_inputs(length, batch=4):
    generator = np.random.default_rng(length)
    valid = np.ones((batch, length), bool)
    valid[1, length - length // 3 :] = False
    valid[2, length // 2 + 1 :] = False
    valid[3, : length // 3] = False  # padding on the left
    return generator.normal(size=(batch, length, WIDTH)).astype("float32"), valid


both = pytest.mark.parametrize("kind", ["local", "transient-global"])


@pytest.mark.quick_in_jax(
    "1-local",
    "7-local",
    "9-local",
    "16-local",
    "25-local",
    "3-transient-global",
    "8-transient-global",
    "15-transient-global",
    "17-transient-global",
    "41-transient-global",
)
@both
@pytest.mark.parametrize("length", [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 41])
def test_equals_dense_masked_attention(kind, length):
    layer, (hidden, valid) = make_layer(kind), make_inputs(length)
    found = as_numpy(direct(layer, hidden, attention_mask=valid.astype("int32")))
    wanted = dense_long_t5(layer, hidden, valid)
    # Rows of padding have no meaning; they must only be finite.
    assert np.isfinite(found).all()
    assert_close(found * valid[..., None], wanted * valid[..., None], 5e-5)


@pytest.mark.quick_in_jax("local")
@both
def test_no_mask_means_no_padding(kind):
    layer, (hidden, _) = make_layer(kind), make_inputs(21)
    assert_close(
        as_numpy(direct(layer, hidden)), as_numpy(direct(layer, hidden, attention_mask=np.ones((4, 21), "int32")))
    )


@pytest.mark.quick_in_jax("transient-global")
@both
def test_a_row_of_padding_alone_is_finite(kind):
    layer, (hidden, valid) = make_layer(kind), make_inputs(21)
    valid[0] = False
    assert np.isfinite(as_numpy(direct(layer, hidden, attention_mask=valid.astype("int32")))).all()


@pytest.mark.quick_in_jax("local")
@both
def test_a_bias_that_is_passed_in_equals_the_own_one(kind):
    layer, (hidden, valid) = make_layer(kind), make_inputs(21)
    mask = valid.astype("int32")
    biases = {"window_bias": layer.compute_window_bias()}
    if kind == "transient-global":
        biases["side_bias"] = layer.compute_side_bias(mask)
    assert_close(
        as_numpy(direct(layer, hidden, attention_mask=mask, **biases)),
        as_numpy(direct(layer, hidden, attention_mask=mask)),
    )


@pytest.mark.quick_in_jax("transient-global")
@both
def test_eager_graph_and_xla_agree_and_trace_once(kind):
    layer, (hidden, valid) = make_layer(kind), make_inputs(27)
    inputs = {"hidden_states": hidden, "attention_mask": valid.astype("int32")}
    assert_eager_graph_and_xla_agree(layer, inputs, 5e-5)
    assert_gradients_are_finite(layer, inputs)


@pytest.mark.quick_in_jax("mixed_bfloat16-local", "mixed_float16-transient-global")
@both
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_near_float32(kind, policy):
    hidden, valid = make_inputs(9)
    exact, mixed = make_layer(kind), make_layer(kind, dtype=policy)
    for layer in (exact, mixed):
        randomise(layer, scale=0.2)
    mask = valid.astype("int32")
    output = direct(mixed, hidden, attention_mask=mask)
    assert output.dtype == mixed.compute_dtype
    assert_close(as_numpy(output), as_numpy(direct(exact, hidden, attention_mask=mask)), 0.1)


@pytest.mark.quick_in_jax("local")
@both
def test_composes_in_the_functional_api_and_survives_a_keras_file(kind, tmp_path):
    hidden, mask = keras.Input((None, WIDTH)), keras.Input((None,), dtype="int32")
    model = keras.Model([hidden, mask], make_layer(kind)(hidden, attention_mask=mask))
    x, valid = make_inputs(19)
    inputs = [x, valid.astype("int32")]
    model.save(tmp_path / "layer.keras")
    loaded = keras.models.load_model(tmp_path / "layer.keras")
    assert_close(as_numpy(direct(loaded, inputs)), as_numpy(direct(model, inputs)), 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local_radius": 0}, "local_radius must be a positive integer. Received: local_radius=0"),
        ({"global_block_size": -1}, "global_block_size must be a positive integer. Received: global_block_size=-1"),
    ],
)
def test_sizes_below_one_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        LongT5TransientGlobalSelfAttention(2, 4, **arguments)
