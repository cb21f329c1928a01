"""A few heads at a time, where the scores of all would leave a TPU: the numbers and gradients of all at once."""

import numpy as np
import pytest
from backends import IS_JAX, direct
from keras import ops
from routines import as_numpy, assert_close, gradients_of

from tfmodels.backend import devices
from tfmodels.layers.attention.block_attention import SideKeys, block_attention
from tfmodels.layers.attention.block_attention_step import BlockAttentionStep, StepTensors
from tfmodels.layers.attention.block_attention_tpu import heads_at_a_time
from tfmodels.layers.attention.window import WindowGeometry

BATCH, HEADS, SIZE, SIDE, SHARED, LENGTH = 2, 6, 4, 5, 2, 17
GEOMETRY = WindowGeometry.covering(4, multiple_of=SHARED)
# Of a step of two blocks of 4 queries, with 8 + 2 * 4 keys and the side keys.
BYTES_OF_A_HEAD = BATCH * 8 * (16 + SIDE) * 4


def make_tensors():
    generator = np.random.default_rng(0)
    shapes = {
        **dict.fromkeys(("query", "key", "value"), (BATCH, HEADS, LENGTH, SIZE)),
        "window_bias": (HEADS, GEOMETRY.block_length, GEOMETRY.slice_length),
        **dict.fromkeys(("side_key", "side_value"), (BATCH, HEADS, SIDE, SIZE)),
        "side_bias": (BATCH, HEADS, -(-LENGTH // SHARED), SIDE),
    }
    return {name: 1.5 * generator.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def attend(tensors, value_dtype=None):
    key_mask = np.arange(LENGTH)[None] < np.array([[LENGTH], [11]])
    side = None
    if "side_key" in tensors:
        side_mask = np.array([[True] * SIDE, [True, False, True, False, False]])
        side = SideKeys(tensors["side_key"], tensors["side_value"], side_mask, tensors.get("side_bias"), SHARED)
    query, key, value = (tensors[name] for name in ("query", "key", "value"))
    with devices.compiling_for("tpu"):
        return block_attention(
            query,
            key,
            ops.cast(value, value_dtype) if value_dtype else value,
            key_mask,
            GEOMETRY,
            window_bias=tensors.get("window_bias"),
            side=side,
            blocks_per_step=2,
        )


@pytest.fixture
def with_limit(monkeypatch):
    def run(heads, function, *arguments):
        """The function where a step holds the scores of so many heads."""
        monkeypatch.setitem(devices._SCORE_BYTES, "tpu", heads * BYTES_OF_A_HEAD)
        return function(*arguments)

    return run


@pytest.mark.parametrize("names", ["all", "window"])
def test_output_and_gradients_are_those_of_all_heads_at_once(names, with_limit):
    tensors = make_tensors()
    if names == "window":
        tensors = {name: tensors[name] for name in ("query", "key", "value")}

    def output():
        return as_numpy(direct(attend, tensors))

    def gradients():
        return gradients_of(lambda given: ops.sum(attend(given) ** 2), tensors)

    wanted, found = (with_limit(heads, output) for heads in (HEADS, 2))
    assert_close(found, wanted, 1e-6)
    wanted, found = (with_limit(heads, gradients) for heads in (HEADS, 2))
    for name, gradient in wanted.items():
        assert_close(found[name], gradient, 1e-6 * max(1.0, np.abs(gradient).max()))


def test_an_output_of_another_dtype_than_the_queries_is_not_written_over_them(with_limit):
    def output():
        return as_numpy(ops.cast(direct(lambda given: attend(given, "bfloat16"), make_tensors()), "float32"))

    assert_close(*(with_limit(heads, output) for heads in (2, HEADS)), 1e-2)


def groups(batch=BATCH, heads=HEADS, side_keys=SIDE, kind="tpu"):
    import keras

    def tensor(*shape):
        return keras.KerasTensor(shape)

    query, side = tensor(batch, heads, 24, SIZE), tensor(batch, heads, side_keys, SIZE)
    return heads_at_a_time(
        BlockAttentionStep(GEOMETRY, 2, device_kind=kind), StepTensors(query, query, query, None, side_key=side)
    )


def test_a_group_is_the_largest_divisor_of_the_heads_whose_scores_fit(with_limit):
    # None: all heads at once, which a fifth too many is no reason against.
    assert [with_limit(heads, groups) for heads in (0, 1, 2, 3, 4, 5, 6)] == [1, 1, 2, 3, 3, None, None]
    assert with_limit(3, groups, 2 * BATCH) == 1
    assert with_limit(5, groups, BATCH, 7) == 1
    assert with_limit(0, groups, BATCH, 1) is None


@pytest.mark.parametrize("arguments", [{"batch": None}, {"side_keys": None}, {"kind": "cpu"}, {"kind": "gpu"}], ids=str)
def test_without_a_limit_or_a_size_all_heads_go_together(arguments, with_limit):
    assert with_limit(1, lambda: groups(**arguments)) is None


@pytest.mark.skipif(not IS_JAX, reason="keras.distribution is for JAX")
def test_of_a_divided_batch_a_devices_part_counts_and_divided_heads_go_together(with_limit):
    import keras

    def distribution(shape):
        mesh = keras.distribution.DeviceMesh(shape, ("batch", "model"), [f"cpu:{place}" for place in range(2)])
        return keras.distribution.ModelParallel(layout_map=keras.distribution.LayoutMap(mesh), batch_dim_name="batch")

    for shape, wanted in (((2, 1), 2), ((1, 2), None)):
        with distribution(shape).scope():
            assert with_limit(1, groups) == wanted
