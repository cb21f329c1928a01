"""Products of 16 bits that are summed in float32: by which operation, and with the same numbers.

On 2 cores these tests take 4 seconds, under TensorFlow alone.
"""

import numpy as np
import pytest
from backends import IS_JAX
from keras import ops
from routines import as_numpy, assert_close

from tfmodels.backend.devices import compiling_for
from tfmodels.backend.precision import float32_product
from tfmodels.layers.attention.block_attention import SideKeys, block_attention
from tfmodels.layers.attention.window import WindowGeometry

if IS_JAX:
    pytest.skip("JAX's product has the sum's dtype as an argument", allow_module_level=True)

import tensorflow as tf


@pytest.mark.parametrize(
    ("kind", "jit_compile", "dtypes", "is_wide"),
    [
        ("gpu", True, ("bfloat16", "bfloat16"), True),
        ("tpu", True, ("float16", "float16"), True),
        ("gpu", True, ("bfloat16", "float16"), False),
        ("gpu", True, ("float32", "float32"), False),
        ("gpu", False, ("bfloat16", "bfloat16"), False),
        ("cpu", True, ("bfloat16", "bfloat16"), False),
    ],
)
def test_an_accelerators_program_multiplies_in_sixteen_bits_and_sums_in_float32(kind, jit_compile, dtypes, is_wide):
    generator = np.random.default_rng(0)
    left, right = (
        ops.cast(generator.normal(size=shape), dtype)
        for shape, dtype in zip(((2, 3, 5), (2, 5, 4)), dtypes, strict=True)
    )
    product = tf.function(float32_product, jit_compile=jit_compile, autograph=False)
    with compiling_for(kind):
        names = {node.type for node in product.get_concrete_function(left, right).graph.get_operations()}
        found = product(left, right)
    assert ("BatchMatMulV3" in names) == is_wide
    assert found.dtype == tf.float32
    assert_close(as_numpy(found), np.matmul(as_numpy(left), as_numpy(right)), 1e-6)


def test_attention_for_an_accelerator_has_the_numbers_of_a_cpus():
    generator, geometry = np.random.default_rng(0), WindowGeometry.covering(4)
    query, key, value = (ops.cast(1.5 * generator.normal(size=(2, 2, 21, 8)), "bfloat16") for _ in range(3))
    exists = np.ones((2, 3), bool)

    def gradients(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            query, key, value = tensors
            side = SideKeys(key[:, :, :3], value[:, :, :3], exists)
            output = block_attention(query, key, value, np.ones((2, 21), bool), geometry, side=side)
            loss = ops.sum(ops.cast(output, "float32") ** 2)
        return output, *tape.gradient(loss, tensors)

    found = {}
    for kind in ("cpu", "gpu"):
        program = tf.function(gradients, jit_compile=True, autograph=False)
        with compiling_for(kind):
            found[kind] = program(query, key, value)
    for ours, wanted in zip(found["gpu"], found["cpu"], strict=True):
        assert_close(as_numpy(ours), as_numpy(wanted), 2**-7 * np.abs(as_numpy(wanted)).max())
