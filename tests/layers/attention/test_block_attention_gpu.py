"""The kernels for GPUs, interpreted, give the numbers of the engine's steps; where a program has them, and where not.

On 2 cores these tests take 12 seconds, under JAX alone.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
from backends import IS_JAX
from keras import ops
from routines import as_numpy, assert_close

from tfmodels.backend.devices import compiling_for
from tfmodels.layers.attention.block_attention import SideKeys, block_attention
from tfmodels.layers.attention.block_attention_step import BlockAttentionStep, StepTensors, additive_mask
from tfmodels.layers.attention.window import WindowGeometry
from tfmodels.layers.blocks import pad_axis
from tfmodels.layers.dropout import HashDropout

if not IS_JAX:
    pytest.skip("the kernels are JAX's", allow_module_level=True)

import jax
from jax.experimental.pallas import triton

from tfmodels.layers.attention import block_attention_gpu

BATCH, HEADS, SIZE, BLOCKS = 2, 2, 16, 3
CASES = {
    "wide window, few side keys": (WindowGeometry.covering(64), 5, None, 0.0),
    "biases": (WindowGeometry.covering(31, multiple_of=16), 40, 16, 0.0),
    "biases and dropout": (WindowGeometry.covering(31, multiple_of=16), 12, 16, 0.3),
    "no side keys, dropout": (WindowGeometry.covering(30), 0, None, 0.3),
}


def make_tensors(geometry, side_keys, queries_per_bias, dtype="bfloat16"):
    """Peaked scores; in row 1 a third of the keys and half of the side keys are hidden, and one whole window."""
    generator = np.random.default_rng(0)
    length = BLOCKS * geometry.block_length

    def draw(*shape, dtype="float32"):
        return ops.cast(1.5 * generator.normal(size=shape), dtype)

    mask = np.ones((BATCH, length), bool)
    mask[1, length // 3 :] = False
    query, key, value = (draw(BATCH, HEADS, length, SIZE, dtype=dtype) for _ in range(3))
    margins = {"before": geometry.margin, "after": geometry.margin}
    mask = additive_mask(pad_axis(ops.convert_to_tensor(mask), 1, **margins))
    tensors = StepTensors(query, pad_axis(key, 2, **margins), pad_axis(value, 2, **margins), mask)
    if side_keys:
        exists = np.arange(side_keys)[None, :] < np.array([[side_keys], [side_keys // 2]])
        side = [draw(BATCH, HEADS, side_keys, SIZE, dtype=dtype) for _ in range(2)]
        tensors = tensors._replace(side_key=side[0], side_value=side[1], side_mask=additive_mask(exists))
    if queries_per_bias:
        rows = length // queries_per_bias
        tensors = tensors._replace(
            window_bias=draw(HEADS, geometry.block_length, geometry.slice_length),
            side_bias=draw(BATCH, HEADS, rows, side_keys),
        )
    return tensors


def by_steps(step, tensors, d_output):
    """Output, log-sum-exp and the sum of each tensor's gradient over the steps of one block."""
    length, margin = step.geometry.block_length, step.geometry.margin
    outputs, total = [], {}
    for block in range(BLOCKS):
        here = slice(block * length, (block + 1) * length)
        rows = slice(here.start // step.queries_per_bias, here.stop // step.queries_per_bias)
        bias = None if tensors.side_bias is None else tensors.side_bias[:, :, rows]
        part = tensors._replace(query=tensors.query[:, :, here], side_bias=bias)
        index = ops.convert_to_tensor(np.int32(block))
        output, lse = step.attend(index, part)
        outputs.append((output, lse))
        found = step.gradient(index, part, output, lse, d_output[:, :, here])._asdict()
        places = {
            "query": here,
            "side_bias": rows,
            **dict.fromkeys(("key", "value"), slice(here.start, here.stop + 2 * margin)),
        }
        for name, gradient in found.items():
            if gradient is not None:
                whole = total.setdefault(name, np.zeros(getattr(tensors, name).shape, "float32"))
                view = whole[:, :, places[name]] if name in places else whole
                view += as_numpy(gradient)
    output, lse = (ops.concatenate(parts, axis=2) for parts in zip(*outputs, strict=True))
    return output, lse, total


@pytest.mark.parametrize("case", CASES)
def test_the_kernels_give_output_and_gradients_of_the_engines_steps(case):
    geometry, side_keys, queries_per_bias, rate = CASES[case]
    tensors = make_tensors(geometry, side_keys, queries_per_bias)
    dropout = HashDropout(rate, ops.array([5, 7], "uint32")) if rate else None
    step = BlockAttentionStep(geometry, 1, queries_per_bias or 1, dropout)
    d_output = ops.cast(np.random.default_rng(1).normal(size=tensors.query.shape), "bfloat16")
    wanted, wanted_lse, wanted_gradients = by_steps(step, tensors, d_output)
    output, lse = jax.jit(lambda given: block_attention_gpu.attend(step, given, interpret=True))(tensors)
    # One rounding to bfloat16 apart.
    assert_close(as_numpy(output), as_numpy(wanted), 2**-7 * np.abs(as_numpy(wanted)).max())
    is_seen = as_numpy(wanted_lse) > -1e9
    assert is_seen.any()
    assert side_keys or not is_seen.all()
    assert_close(as_numpy(lse)[is_seen], as_numpy(wanted_lse)[is_seen], 1e-4)
    assert np.abs(as_numpy(output) * ~is_seen).max() == 0
    found = jax.jit(lambda *given: block_attention_gpu.gradient(step, *given, interpret=True))(
        tensors, wanted, wanted_lse, d_output
    )
    for name, gradient in wanted_gradients.items():
        assert_close(as_numpy(getattr(found, name)), gradient, 2**-7 * np.abs(gradient).max())


def program_for(platform, dtype="bfloat16", size=SIZE, dropout=None, geometry=None, kind="gpu"):
    """The text of attention and its gradient, lowered for a platform."""
    geometry = geometry or WindowGeometry.covering(31, multiple_of=16)
    x = jax.ShapeDtypeStruct((BATCH, HEADS, 70, size), dtype)
    mask, exists = np.ones((BATCH, 70), bool), np.ones((BATCH, 5), bool)

    def loss(query, key, value):
        side = SideKeys(key[:, :, :5], value[:, :, :5], exists)
        output = block_attention(query, key, value, mask, geometry, side=side, dropout=dropout)
        return ops.sum(ops.cast(output, "float32"))

    with compiling_for(kind):
        return jax.jit(jax.grad(loss, (0, 1, 2))).trace(x, x, x).lower(lowering_platforms=(platform,)).as_text()


@pytest.mark.parametrize(("length", "blocks"), [(70, 32), (70, 2), (150, 3)])
def test_where_the_kernels_are_missing_the_loop_takes_their_place(length, blocks):
    # Traced for a GPU, run on a CPU: 3 and 5 blocks, in steps of 3, of 1 and of 1.
    geometry, generator = WindowGeometry.covering(31), np.random.default_rng(0)
    query, key, value = (ops.cast(generator.normal(size=(BATCH, HEADS, length, SIZE)), "bfloat16") for _ in range(3))
    mask, exists = np.ones((BATCH, length), bool), np.ones((BATCH, 5), bool)

    def loss(query, key, value):
        side = SideKeys(key[:, :, :5], value[:, :, :5], exists)
        output = block_attention(query, key, value, mask, geometry, side=side, blocks_per_step=blocks)
        return ops.sum(ops.cast(output, "float32") ** 2)

    wanted = jax.value_and_grad(loss, (0, 1, 2))(query, key, value)
    with compiling_for("gpu"):
        found = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(query, key, value)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert_close(as_numpy(ours), as_numpy(theirs), 2**-7 * np.abs(as_numpy(theirs)).max())


# From JAX 0.11 on, a program for a GPU that is not there is not lowered.
lowers_without_a_gpu = pytest.mark.skipif(hasattr(triton, "get_gpu_info"), reason="JAX asks for a GPU")


@lowers_without_a_gpu
@pytest.mark.parametrize("dropout", [None, HashDropout(0.1, np.array([1, 2], "uint32"))], ids=["whole", "dropout"])
def test_a_program_for_cuda_has_the_kernels_and_one_for_another_platform_has_none(dropout):
    programs = {name: program_for(name, dropout=dropout).count("xla.gpu.triton") for name in ("cuda", "rocm", "cpu")}
    # Forwards, and for queries, keys and side keys.
    assert programs == {"cuda": 4, "rocm": 0, "cpu": 0}


@lowers_without_a_gpu
@pytest.mark.parametrize(
    "setting",
    [
        {"dtype": "float32"},
        {"size": 24},
        {"size": 8},
        {"geometry": WindowGeometry(20, 48, 32)},
        {"geometry": WindowGeometry.covering(6)},
        {"kind": "tpu"},
        {"kind": "cpu"},
    ],
    ids=str,
)
def test_a_size_or_type_that_tensor_cores_do_not_multiply_takes_the_engines_loop(setting):
    assert "triton" not in program_for("cuda", **setting)


def test_a_program_over_several_devices_takes_the_engines_loop():
    step = replace(BlockAttentionStep(WindowGeometry.covering(31), 1), device_kind="gpu")
    x = jax.ShapeDtypeStruct((BATCH, HEADS, 64, SIZE), "bfloat16")
    alone = block_attention_gpu.suits_kernels(step, [x, x, x])
    assert alone == (not hasattr(triton, "get_gpu_info") or bool(jax.local_devices()[0].platform == "gpu"))
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()[:1]))
    try:
        assert not block_attention_gpu.suits_kernels(step, [x, x, x])
    finally:
        keras.distribution.set_distribution(None)
