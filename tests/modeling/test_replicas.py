"""Two devices train as one does with the same global batches, and so does gradient accumulation on them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backends import IS_JAX

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import replicas
replicas.start(sys.argv[2])
found = replicas.differences(sys.argv[2], sys.argv[3], weighted=True, optimizer=sys.argv[4])
print(json.dumps([[*key, *numbers] for key, numbers in found.items()]))
"""


# Some 20 seconds each: a process of its own, which compiles four programs.
@pytest.mark.quick("*SGD*")
@pytest.mark.parametrize("optimizer", ["SGD", "guarded"])
@pytest.mark.parametrize("kind", ["longt5-tglobal"] if IS_JAX else ["led"])
def test_two_devices_train_as_one(kind, optimizer):
    support = Path(__file__).parents[1] / "support"
    backend = "jax" if IS_JAX else "tensorflow"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", PROGRAM, str(support), backend, kind, optimizer]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert [row[:2] for row in rows] == [[1, 4], [2, 1], [2, 2]]
    for _, _, loss_on_one, loss, _, difference in rows:
        assert loss == pytest.approx(loss_on_one, rel=1e-6)
        assert difference <= 1e-6
