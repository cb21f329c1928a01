"""Several devices train as one: losses and weights, in processes that start with the devices they need."""

import pytest
from backends import IS_JAX

from tests.distribution.equality import KINDS, run_workers

IN_JAX = [(kind, names) for kind in KINDS for names in ("data,model", "processes")]
IN_TENSORFLOW = [(kind, "mirrored") for kind in KINDS]


# Some 20 seconds of a CPU each, nearly all of it to compile. `tests/modeling/test_replicas.py` has two replicas, too.
@pytest.mark.quick
@pytest.mark.quick_in_jax("led-data,model", "longt5-tglobal-processes")
@pytest.mark.parametrize(("kind", "names"), IN_JAX if IS_JAX else IN_TENSORFLOW)
def test_devices_train_as_one(kind, names):
    rows = run_workers(kind, names.split(","))
    assert [row["arrangement"] for row in rows] == names.split(",")
    for row in rows:
        assert row["losses"] <= 1e-6
        assert row["weights"] <= 1e-6
        divided, _, count = row["sharded"].split()
        assert int(divided) > int(count) / 2 if row["arrangement"] == "model" else divided == "0"
