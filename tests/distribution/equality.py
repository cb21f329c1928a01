"""Training on several devices beside training on one: the same losses and weights.

    python -m tests.distribution.equality                    # every row, some minutes
    python -m tests.distribution.equality --only data,model --kinds led

Each row trains a tiny model for four steps of four rows: with gradient checkpointing, dropout, and rows with unequal
numbers of labels. JAX runs on a CPU that it takes for four devices, or on two processes of two devices each;
TensorFlow on a CPU split in two. `losses` and `weights` are the largest differences from one device in the same run,
the second divided by the largest weight.

A mask of dropout depends on the place in the whole batch, so JAX draws one device's masks. A replica of
`tf.distribute` knows no place but its own, so dropout is off there.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("led", "longt5-local", "longt5-tglobal")
ARRANGEMENTS = ("data", "model", "processes", "mirrored")
STEPS, ROWS = 4, 4  # of one update, over all devices
DEVICES = {"data": 4, "model": 4, "processes": 2, "mirrored": 2}


def rows(kinds=KINDS, arrangements=ARRANGEMENTS):
    """Run the arrangements in processes of their own; yields a dict for each arrangement and kind."""
    in_one_process = [name for name in arrangements if name in ("data", "model")]
    groups = [in_one_process] if in_one_process else []
    for group in groups + [[name] for name in arrangements if name not in in_one_process]:
        for kind in kinds:
            yield from run_workers(kind, group)


def run_workers(kind, arrangements):
    """The rows of one kind of model; the arrangements of a call share a process, or a pair of processes."""
    processes, port = (2 if arrangements == ["processes"] else 1), free_port()
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", kind, ",".join(arrangements), str(port)]
    started = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for number in range(processes)
    ]
    try:
        done = [process.communicate(timeout=900) for process in started]
    finally:
        for process in started:
            process.kill()
    for process, (_, errors) in zip(started, done, strict=True):
        assert process.returncode == 0, errors[-3000:]
    answers = [[json.loads(line) for line in printed.splitlines() if line.startswith("{")] for printed, _ in done]
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


def start(arrangement, port, number):
    """Split the CPU into devices; before keras is imported."""
    backend = "tensorflow" if arrangement == "mirrored" else "jax"
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
    count = DEVICES[arrangement]
    if backend == "jax":
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"
    if arrangement == "processes":
        import jax

        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        import keras

        keras.distribution.initialize(job_addresses=f"localhost:{port}", num_processes=2, process_id=number)
    if backend == "tensorflow":
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)


@contextlib.contextmanager
def devices(arrangement, kind):
    """The scope in which a model is made and trained; None: one device."""
    import keras

    from tfmodels.distribution import layout_map

    if arrangement is None:
        yield
        return
    if arrangement == "mirrored":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            yield
        return
    found = keras.distribution.list_devices()
    if arrangement == "model":
        mesh = keras.distribution.DeviceMesh((2, 2), ("batch", "model"), found)
        layouts = layout_map(make(kind, arrangement), mesh)
        distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    else:
        distribution = keras.distribution.DataParallel(devices=found, auto_shard_dataset=False)
    with distribution.scope():
        yield


def make(kind, arrangement):
    import keras
    from tiny import make_model, no_dropout, one_layer

    keras.utils.set_random_seed(7)
    changes = no_dropout(kind) if arrangement == "mirrored" else {}
    return make_model(kind, **one_layer(kind), gradient_checkpointing=True, **changes)


def make_optimizer(arrangement):
    import keras

    if arrangement == "mirrored":
        # TensorFlow's gradient of a table by itself is a list of rows, some of them twice. Keras' Adam squares each of
        # them on one device, and their sums on several.
        return keras.optimizers.SGD(0.1, momentum=0.9)
    # A large epsilon: a gradient that is zero but for rounding would move its weight by its sign.
    return keras.optimizers.AdamW(1e-2, epsilon=1e-3)


def make_data(kind):
    import numpy as np
    from tiny import VOCABULARY, make_inputs

    count = STEPS * ROWS
    data = make_inputs(kind, 21, lengths=tuple(21 - row // 2 for row in range(count)), marked=(2,) * count)
    labels = np.random.default_rng(3).integers(5, VOCABULARY, (count, 6)).astype("int32")
    labels[1::2, 2:] = -100
    labels[2::3, 5:] = -100
    return {**data, "labels": labels}


def train(kind, arrangement, number, compared_with):
    """The loss of each step, all weights, and how many of them are divided."""
    import keras
    import numpy as np

    data, losses = make_data(kind), []
    with devices(arrangement, kind):
        model = make(kind, compared_with)
        model.compile(optimizer=make_optimizer(compared_with), jit_compile=compared_with != "mirrored")
        for step in range(STEPS):
            batch = {name: x[step * ROWS : (step + 1) * ROWS] for name, x in data.items()}
            if arrangement == "processes":  # each process gives its own rows
                half = ROWS // 2
                batch = {name: x[number * half : (number + 1) * half] for name, x in batch.items()}
            history = model.fit(batch, batch_size=ROWS, shuffle=False, verbose=0).history
            losses.append(history["loss"][0])
        weights = [keras.ops.convert_to_numpy(v.value).ravel() for v in model.trainable_variables]
    shards = [getattr(v.value, "sharding", None) for v in model.trainable_variables]
    sharded = sum(sharding is not None and not sharding.is_fully_replicated for sharding in shards)
    return np.array(losses), np.concatenate(weights), f"{sharded} of {len(weights)}"


def work(kind, arrangements, port, number):
    """Print one line of JSON for each arrangement."""
    start(arrangements[0], port, number)
    import numpy as np

    losses, weights, _ = train(kind, None, number, arrangements[0])
    for arrangement in arrangements:
        found, after, sharded = train(kind, arrangement, number, arrangement)
        row = {"kind": kind, "arrangement": arrangement, "devices": 4 if arrangement != "mirrored" else 2}
        row |= {"loss": losses[-1], "losses": float(np.abs(found / losses - 1).max())}
        row |= {"weights": float(np.abs(after - weights).max() / np.abs(weights).max()), "sharded": sharded}
        print(json.dumps(row), flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser("python -m tests.distribution.equality", description=__doc__)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=KINDS, help="separated by commas")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=ARRANGEMENTS, help="of " + ", ".join(ARRANGEMENTS)
    )
    options = parser.parse_args(arguments)
    print("| model | devices | losses | weights | variables divided |\n| --- | --- | --- | --- | --- |", flush=True)
    worst = 0.0
    for row in rows(options.kinds, options.only):
        worst = max(worst, row["losses"], row["weights"])
        arrangement = f"{row['devices']}, {row['arrangement']}"
        print(
            f"| {row['kind']} | {arrangement} | {row['losses']:.1e} | {row['weights']:.1e} | {row['sharded']} |",
            flush=True,
        )
    return 0 if worst <= 1e-6 else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        kind, names, port, number = sys.argv[2:]
        work(kind, names.split(","), int(port), int(number))
    else:
        sys.exit(main())
