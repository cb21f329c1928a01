"""Devices that share a batch sum a large table's gradient once a step, not in the loop over chunks of targets."""

import pytest
from backends import IS_JAX

from tests.distribution import reductions


@pytest.mark.skipif(not IS_JAX, reason="about JAX's programs")
def test_the_heads_gradient_is_summed_over_devices_after_the_last_chunk():
    row = reductions.run()
    assert row["loss"] <= 1e-6
    assert row["gradients"] <= 1e-6
    assert row["in_loops"] == 0
    assert row["tables"] == 1
