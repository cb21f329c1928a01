"""What the loss of a batch that four devices share sums over them: one line of JSON.

    python -m tests.distribution.reductions

`loss` and `gradients` are the largest differences from one device; `in_loops` counts the sums of a loop's body, and
`tables` those of a table of embeddings anywhere.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

VOCABULARY, WIDTH, ROWS, TARGETS, CHUNK = 50, 8, 8, 12, 4


def run():
    """The line, as a dict, from a process of its own."""
    done = subprocess.run([sys.executable, str(Path(__file__).resolve())], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def compiled(labels, hidden_states, table):
    """The program from hidden states and table to the loss and their gradients, and what it gives."""
    import jax
    import keras

    from tfmodels.modeling.chunked_logits import chunked_cross_entropy

    variable = keras.Variable(table)

    def loss(hidden_states, table):
        with keras.StatelessScope([(variable, table)]):
            return chunked_cross_entropy(
                labels, hidden_states, lambda x: x @ variable.value.T, [variable], chunk_length=CHUNK
            )

    program = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(hidden_states, table).compile()
    return program.as_text(), program(hidden_states, table)


def reductions(text):
    """(the name of its computation, its text) of each sum over devices."""
    found, name = [], None
    for line in text.splitlines():
        head = re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
        name = head[1] if head else name
        if re.search(r" all-reduce(-start)?\(", line):
            found.append((name, line))
    return found


def main():
    import jax
    import keras
    import numpy as np

    generator = np.random.default_rng(0)
    labels = generator.integers(0, VOCABULARY, (ROWS, TARGETS)).astype("int32")
    labels[1::3, 5:] = -100
    hidden_states, table = (
        generator.normal(size=shape).astype("float32") for shape in ((ROWS, TARGETS, WIDTH), (VOCABULARY, WIDTH))
    )
    _, (wanted, wanted_gradients) = compiled(labels, hidden_states, table)
    distribution = keras.distribution.DataParallel(devices=keras.distribution.list_devices())
    with distribution.scope():
        rows = jax.sharding.NamedSharding(distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec("batch"))
        whole = jax.sharding.NamedSharding(rows.mesh, jax.sharding.PartitionSpec())
        given = jax.device_put(labels, rows), jax.device_put(hidden_states, rows), jax.device_put(table, whole)
        text, (loss, gradients) = compiled(*given)
    found = reductions(text)
    entry = re.search(r"ENTRY %?([\w.\-]+)", text)[1]
    print(
        json.dumps(
            {
                "loss": abs(float(loss - wanted)),
                "gradients": max(
                    float(abs(np.asarray(x) - np.asarray(y)).max())
                    for x, y in zip(gradients, wanted_gradients, strict=True)
                ),
                "in_loops": sum(name != entry and f"[{VOCABULARY},{WIDTH}]" in line for name, line in found),
                "tables": sum(line.partition(" all-reduce")[0].count(f"[{VOCABULARY},{WIDTH}]") for _, line in found),
            }
        )
    )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from tests.distribution.sharded import start

    start()
    main()
