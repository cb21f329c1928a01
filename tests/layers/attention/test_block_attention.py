"""The attention engine and its gradient against dense masked attention, whose gradient the backend works out."""

import keras
import numpy as np
import pytest
from backends import direct
from keras import ops
from routines import as_numpy, assert_close, gradients_of

from tfmodels.backend.devices import compiling_for
from tfmodels.layers.attention.block_attention import SideKeys, attention_probabilities, block_attention
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.dropout import HashDropout

BATCH, HEADS, SIZE, SIDE, SHARED = 2, 3, 4, 5, 2


def make_tensors(length, geometry, seed=0):
    """Peaked scores, so that a key in the wrong place shows."""
    generator = np.random.default_rng(seed)
    shapes = {
        **dict.fromkeys(("query", "key", "value"), (BATCH, HEADS, length, SIZE)),
        "window_bias": (HEADS, geometry.block_length, geometry.slice_length),
        **dict.fromkeys(("side_key", "side_value"), (BATCH, HEADS, SIDE, SIZE)),
        "side_bias": (BATCH, HEADS, -(-length // SHARED), SIDE),
    }
    made = {name: 1.5 * generator.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    # A function of the offset alone, as every window bias is.
    by_offset = generator.normal(size=(HEADS, 4 * geometry.slice_length)).astype("float32")
    return made | {"window_bias": by_offset[:, geometry.relative_positions() + 2 * geometry.slice_length]}


def make_masks(length):
    key_mask = np.ones((BATCH, length), bool)
    key_mask[1, length - length // 3 :] = False
    key_mask[0, length // 2] = False
    return key_mask, np.array([[True] * SIDE, [True, False, True, False, False]])


def engine(tensors, masks, geometry, **arguments):
    side = SideKeys(tensors["side_key"], tensors["side_value"], masks[1], tensors["side_bias"], SHARED)
    names = ("query", "key", "value")
    arguments = {"window_bias": tensors["window_bias"], "side": side, **arguments}
    return block_attention(*(tensors[name] for name in names), masks[0], geometry, **arguments)


def dense(tensors, masks, geometry, dropped=None):
    """The same as one softmax over all keys; `dropped` multiplies the probabilities."""
    length = tensors["query"].shape[2]
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    near = np.abs(offset) <= geometry.window
    # The first row of a block's table holds each offset from -margin on.
    place = np.clip(offset + geometry.margin, 0, geometry.slice_length - 1)
    bias = ops.take(ops.convert_to_tensor(tensors["window_bias"])[:, 0], place, axis=-1)
    window = ops.matmul(tensors["query"], ops.swapaxes(tensors["key"], 2, 3)) + bias
    window = ops.where(near & masks[0][:, None, None, :], window, -1e30)
    side = ops.matmul(tensors["query"], ops.swapaxes(tensors["side_key"], 2, 3))
    side = side + ops.repeat(tensors["side_bias"], SHARED, axis=2)[:, :, :length]
    side = ops.where(masks[1][:, None, None, :], side, -1e30)
    probabilities = ops.softmax(ops.concatenate([window, side], axis=-1), axis=-1)
    values = ops.concatenate([tensors["value"], tensors["side_value"]], axis=2)
    return ops.matmul(probabilities if dropped is None else probabilities * dropped, values)


@pytest.mark.quick_in_jax("*-1-1", "*-1-24", "*-3-5", "*-100-8", "*-2-17")
@pytest.mark.parametrize("length", [1, 5, 8, 17, 24])
@pytest.mark.parametrize(
    ("geometry", "blocks"),
    [
        (WindowGeometry.covering(4, multiple_of=2), 1),
        (WindowGeometry.covering(3, multiple_of=2), 3),
        (WindowGeometry(3, 2, 3), 100),
        (WindowGeometry(3, 8, 5), 2),
    ],
    ids=str,
)
def test_output_and_every_gradient_equal_dense_attention(length, geometry, blocks):
    tensors, masks = make_tensors(length, geometry), make_masks(length)
    weights = np.random.default_rng(1).normal(size=tensors["value"].shape).astype("float32")

    def loss(function):
        return lambda given: ops.sum(function(given, masks, geometry) * weights)

    found = direct(engine, tensors, masks, geometry, blocks_per_step=blocks)
    assert_close(as_numpy(found), as_numpy(direct(dense, tensors, masks, geometry)), 2e-5)
    ours = gradients_of(loss(lambda *a: engine(*a, blocks_per_step=blocks)), tensors)
    wanted = gradients_of(loss(dense), tensors)
    # The dense bias reads one row of the table; ours adds every row's share.
    ours["window_bias"] = by_offset(ours["window_bias"], geometry)
    wanted["window_bias"] = by_offset(wanted["window_bias"], geometry)
    for name, gradient in wanted.items():
        assert_close(ours[name], gradient, 1e-4 * max(1.0, np.abs(gradient).max()))


def by_offset(table, geometry):
    """Sum of a table (H, C, S) over the entries of each offset."""
    offsets = geometry.relative_positions() + geometry.slice_length
    found = np.zeros((table.shape[0], 2 * geometry.slice_length))
    np.add.at(found, (slice(None), offsets), table)
    return found


def test_without_biases_and_side_keys_it_is_plain_window_attention():
    geometry = WindowGeometry.covering(4)
    tensors, masks = make_tensors(11, geometry), make_masks(11)
    nothing = {**tensors, "window_bias": 0 * tensors["window_bias"], "side_bias": 0 * tensors["side_bias"]}
    none_exist = masks[0], np.zeros_like(masks[1])
    found = direct(engine, tensors, masks, geometry, window_bias=None, side=None)
    assert_close(as_numpy(found), as_numpy(direct(dense, nothing, none_exist, geometry)), 2e-5)


def test_a_query_that_sees_no_key_gives_zeros_and_zero_gradients():
    geometry = WindowGeometry.covering(2)
    tensors = make_tensors(9, geometry)
    masks = np.zeros((BATCH, 9), bool), np.zeros((BATCH, SIDE), bool)
    assert np.abs(as_numpy(direct(engine, tensors, masks, geometry))).max() == 0
    found = gradients_of(lambda given: ops.sum(engine(given, masks, geometry) ** 2), tensors)
    assert max(np.abs(gradient).max() for gradient in found.values()) == 0


@pytest.mark.quick_in_jax("3")
@pytest.mark.parametrize("blocks", [1, 3])
def test_with_dropout_output_and_gradients_are_those_of_dense_attention_with_the_same_mask(blocks):
    # With an identity as the values the output is the probabilities themselves, and their zeros are the mask.
    geometry, length = WindowGeometry.covering(4), 10
    tensors, masks = make_tensors(length, geometry), make_masks(length)
    masks = np.ones_like(masks[0]), np.ones_like(masks[1])
    dropout = HashDropout(0.4, ops.array([3, 7], "uint32"))
    names = np.eye(length + SIDE, dtype="float32")
    spy = {**tensors, "value": np.tile(names[:length], (BATCH, HEADS, 1, 1))}
    spy["side_value"] = np.tile(names[length:], (BATCH, HEADS, 1, 1))
    drop = {"dropout": dropout, "blocks_per_step": blocks}
    kept = as_numpy(direct(engine, spy, masks, geometry, **drop))
    whole = as_numpy(direct(engine, spy, masks, geometry))
    mask = np.where(whole > 0, (kept > 0) / np.float32(0.6), 0).astype("float32")
    assert 0.5 < (kept > 0).sum() / (whole > 0).sum() < 0.7

    def loss(function, **arguments):
        return lambda given: ops.sum(function(given, masks, geometry, **arguments) ** 2)

    assert_close(
        as_numpy(direct(engine, tensors, masks, geometry, **drop)),
        as_numpy(direct(dense, tensors, masks, geometry, mask)),
        2e-5,
    )
    ours = gradients_of(loss(engine, **drop), tensors)
    for name, gradient in gradients_of(loss(dense, dropped=mask), tensors).items():
        if name != "window_bias":
            assert_close(ours[name], gradient, 1e-4 * max(1.0, np.abs(gradient).max()))


def in_dtype(tensors, dtype, kept=()):
    """The tensors, with queries, keys and values in another dtype, but for those that are kept."""
    names = {"query", "key", "value", "side_key", "side_value"}.difference(kept)
    return {name: ops.cast(x, dtype) if name in names else x for name, x in tensors.items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_sixteen_bit_output_and_gradients_are_within_their_rounding(dtype, tolerance):
    geometry = WindowGeometry.covering(4)
    tensors, masks = make_tensors(17, geometry), make_masks(17)
    # Rounded inputs on both sides: what differs is the arithmetic.
    tensors |= {name: as_numpy(x) for name, x in in_dtype(tensors, dtype).items()}

    def short(given, *rest):
        return engine(in_dtype(given, dtype), *rest)

    output = direct(short, tensors, masks, geometry)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    assert_close(as_numpy(output), as_numpy(direct(engine, tensors, masks, geometry)), tolerance)
    ours = gradients_of(lambda given: ops.sum(ops.cast(short(given, masks, geometry), "float32") ** 2), tensors)
    wanted = gradients_of(lambda given: ops.sum(engine(given, masks, geometry) ** 2), tensors)
    for name, gradient in wanted.items():
        assert_close(ours[name], gradient, tolerance * max(1.0, np.abs(gradient).max()))


def test_scores_of_sixteen_bits_are_summed_in_float32():
    # 1 + 2^-9 needs more bits than bfloat16 has: summed in 16 bits, the two scores would be equal.
    query = ops.cast(np.array([1, 1], "float32").reshape(1, 1, 1, 2), "bfloat16")
    keys = ops.cast(100 * np.array([[1, 2**-9], [1, 0]], "float32").reshape(1, 1, 2, 2), "bfloat16")
    query = ops.concatenate([query, query], axis=2)
    (found,) = attention_probabilities(query, keys, np.ones((1, 2), bool), WindowGeometry(1, 2, 1))
    found = as_numpy(found)[0, 0, 0, 0]
    assert abs(np.log(found[1] / found[2]) - 100 * 2**-9) < 1e-3


def test_probabilities_are_those_that_the_output_is_made_of():
    geometry = WindowGeometry.covering(4)
    tensors, masks = make_tensors(11, geometry), make_masks(11)
    side = SideKeys(tensors["side_key"], tensors["side_value"], masks[1], tensors["side_bias"], SHARED)
    window, others = attention_probabilities(
        tensors["query"], tensors["key"], masks[0], geometry, window_bias=tensors["window_bias"], side=side
    )
    total = as_numpy(ops.sum(window, axis=-1) + ops.sum(others, axis=-1))
    assert_close(total.reshape(BATCH, HEADS, -1)[:, :, :11], np.ones((BATCH, HEADS, 11), "float32"), 1e-5)
    assert np.abs(as_numpy(window) * ~geometry.is_inside()).max() == 0


def for_tpus(*arguments, **settings):
    with compiling_for("tpu"):
        return engine(*arguments, **settings)


@pytest.mark.quick("*-None-1", "*-None-17", "*-3-24")
@pytest.mark.quick_in_jax("*4-None-17", "*3-3-24")
@pytest.mark.parametrize("length", [1, 17, 24])
@pytest.mark.parametrize("blocks", [None, 1, 3])
@pytest.mark.parametrize("geometry", [WindowGeometry(4, 4, 6), WindowGeometry(3, 2, 3)], ids=["4", "3"])
def test_what_is_compiled_for_tpus_has_the_numbers_and_gradients_of_dense_attention(length, geometry, blocks):
    tensors, masks = make_tensors(length, geometry), make_masks(length)
    weights = np.random.default_rng(1).normal(size=tensors["value"].shape).astype("float32")

    def loss(function):
        return lambda given: ops.sum(function(given, masks, geometry) * weights)

    def chosen(*arguments):
        return for_tpus(*arguments, blocks_per_step=blocks)

    assert_close(as_numpy(direct(chosen, tensors, masks, geometry)), as_numpy(dense(tensors, masks, geometry)), 1e-5)
    ours, wanted = gradients_of(loss(chosen), tensors), gradients_of(loss(engine), tensors)
    for name, gradient in wanted.items():
        assert_close(ours[name], gradient, 1e-5 * max(1.0, np.abs(gradient).max()))


@pytest.mark.parametrize(
    "arguments", [{"window_bias": None}, {"side": None}, {"window_bias": None, "side": None}, "mask"]
)
def test_what_is_compiled_for_tpus_needs_no_bias_and_no_side_keys(arguments):
    geometry = WindowGeometry.covering(4)
    tensors, masks = make_tensors(11, geometry), make_masks(11)
    if arguments == "mask":
        arguments = {"side": SideKeys(tensors["side_key"], tensors["side_value"], masks[1])}
    found, wanted = (direct(function, tensors, masks, geometry, **arguments) for function in (for_tpus, engine))
    assert_close(as_numpy(found), as_numpy(wanted), 1e-5)


def test_compiled_for_tpus_a_query_that_sees_no_key_gives_zeros():
    geometry = WindowGeometry.covering(2)
    masks = np.zeros((BATCH, 9), bool), np.zeros((BATCH, SIDE), bool)
    assert np.abs(as_numpy(direct(for_tpus, make_tensors(9, geometry), masks, geometry))).max() == 0


def test_compiled_for_tpus_dropout_draws_the_same_masks_forwards_and_backwards():
    geometry = WindowGeometry.covering(4)
    tensors, masks = make_tensors(10, geometry), make_masks(10)
    dropout = HashDropout(0.4, ops.array([3, 7], "uint32"))

    def loss(function, **arguments):
        return lambda given: ops.sum(function(given, masks, geometry, dropout=dropout, **arguments) ** 2)

    # In steps of one block, whatever the default.
    ours, wanted = gradients_of(loss(for_tpus), tensors), gradients_of(loss(engine, blocks_per_step=1), tensors)
    for name, gradient in wanted.items():
        assert_close(ours[name], gradient, 1e-5 * max(1.0, np.abs(gradient).max()))


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.05), ("float16", 0.01)])
def test_compiled_for_tpus_sixteen_bits_are_within_their_rounding(dtype, tolerance):
    geometry = WindowGeometry.covering(4)
    tensors, masks = make_tensors(17, geometry), make_masks(17)
    tensors |= {name: as_numpy(x) for name, x in in_dtype(tensors, dtype).items()}

    def short(given, kept=()):
        return for_tpus(in_dtype(given, dtype, kept), masks, geometry)

    output = direct(short, tensors)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    assert_close(as_numpy(output), as_numpy(direct(engine, tensors, masks, geometry)), tolerance)
    # Under a map of policies queries and values may differ: the output has the values' dtype.
    assert keras.backend.standardize_dtype(direct(short, tensors, ("value", "side_value")).dtype) == "float32"


@pytest.mark.quick_in_jax("places0-seeds0", "places1-seeds1", "places2-seeds2")
@pytest.mark.parametrize("seeds", [([1, 2], [1, 3]), ([1, 2], [2, 2]), ([5, 5], [5, 5])])
@pytest.mark.parametrize("places", [(0, 1), (0, 0), (7, 8)])
def test_dropout_masks_of_other_seeds_blocks_and_parts_are_unrelated(seeds, places):
    rate = 0.3
    one, other = (
        as_numpy(HashDropout(rate, ops.array(seed, "uint32")).scale((200, 300), ops.array(place, "int32"), part))
        for seed, place, part in zip(seeds, places, (0, 1 if places[0] == places[1] else 0), strict=True)
    )
    assert abs(one.mean() - 1) < 0.02
    centred, others = one - one.mean(), other - other.mean()
    deviation = one.std() * other.std()
    assert abs((centred * others).mean() / deviation) < 0.02
    for shift in (1, 2, 299, 300, 301):
        flat = centred.reshape(-1)
        assert abs((flat[shift:] * flat[:-shift]).mean() / deviation) < 0.02
    # Rows and columns keep their share as independent draws do.
    for axis in (0, 1):
        expected = np.sqrt(rate * (1 - rate) / one.shape[axis]) / (1 - rate)
        assert 0.8 < one.mean(axis).std() / expected < 1.2
