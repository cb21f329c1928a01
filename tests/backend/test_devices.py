"""The kind of device that is compiled for: said by a scope, or that of the backend's device."""

import jax
import numpy as np
import pytest
from backends import IS_JAX
from keras import ops

from tfmodels.backend import devices
from tfmodels.layers.attention.block_attention import block_attention
from tfmodels.layers.attention.window import WindowGeometry

GEOMETRY = WindowGeometry.covering(4)
LENGTH = 512


def test_the_device_of_these_tests_is_a_cpu():
    assert devices.device_kind() == "cpu"


def test_the_innermost_scope_counts_and_ends():
    with devices.compiling_for("tpu"):
        with devices.compiling_for("gpu"):
            assert devices.device_kind() == "gpu"
        assert devices.device_kind() == "tpu"
    assert devices.device_kind() == "cpu"


def test_a_scope_ends_with_an_error():
    with pytest.raises(RuntimeError), devices.compiling_for("tpu"):
        raise RuntimeError
    assert devices.device_kind() == "cpu"


def test_steps_are_one_block_on_cpus_a_few_on_tpus_and_thousands_of_queries_on_gpus():
    assert [devices.blocks_per_step(128, kind) for kind in devices.KINDS] == [1, 32, 2]
    assert devices.blocks_per_step(100_000, "gpu") == 1
    with devices.compiling_for("gpu"):
        assert devices.blocks_per_step(128) == 32


@pytest.mark.parametrize("kind", ["cuda", "TPU", "", None])
def test_another_kind_is_refused_by_name(kind):
    with (
        pytest.raises(ValueError, match=r"kind must be one of cpu, gpu, tpu. Received: kind="),
        devices.compiling_for(kind),
    ):
        pass


def steps(kind, blocks_per_step=None):
    """How many steps the attention's loop has, as traced by JAX."""
    x = np.ones((1, 1, LENGTH, 2), "float32")

    def attend(x):
        return block_attention(x, x, x, ops.ones((1, LENGTH), "bool"), GEOMETRY, blocks_per_step=blocks_per_step)

    with devices.compiling_for(kind):
        text = str(jax.make_jaxpr(attend)(x))
    (length,) = {int(part.split()[0]) for part in text.split(" length=")[1:]}
    return length


@pytest.mark.skipif(not IS_JAX, reason="reads JAX's programs")
def test_the_loop_has_the_steps_of_what_is_compiled_for_unless_the_call_says_otherwise():
    assert [steps(kind) for kind in ("cpu", "tpu", "gpu")] == [128, 2, 1]
    assert [steps(kind, blocks_per_step=2) for kind in ("cpu", "tpu", "gpu")] == [64, 64, 64]


@pytest.mark.skipif(not IS_JAX, reason="about JAX's setting")
def test_jaxs_default_device_is_asked():
    with jax.default_device(jax.devices("cpu")[0]):
        assert devices.device_kind() == "cpu"
    with jax.default_device("cpu"):
        assert devices.device_kind() == "cpu"
