"""Training on two devices, or by accumulation, beside training on one with the same batches.

    python tests/support/replicas.py tensorflow|jax

prints the loss of the first epoch and the largest difference of a weight after it, for dense and unequal labels. A
program of its own: a process splits its CPU in two before it computes anything.
"""

import contextlib
import functools
import json
import os
import sys


def start(backend):
    """Set up the backend with two devices on the CPU; before keras is imported."""
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "jax":
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2 " + os.environ.get("XLA_FLAGS", "")
        return
    import tensorflow as tf

    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)


@functools.cache
def strategy():
    """One for the process: the collective operations of a second would take the first's for their own."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@contextlib.contextmanager
def devices(backend, count):
    """The scope in which a model of so many devices is made and trained."""
    import keras

    if backend == "tensorflow":
        with strategy().scope() if count > 1 else contextlib.nullcontext():
            yield
        return
    import jax

    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=jax.devices()[:count]))
    try:
        yield
    finally:
        keras.distribution.set_distribution(None)


def train(backend, kind, count, data, sample_weight, batch_size, optimizer, accumulated=None, **compiled):
    """The loss that `fit` reports and `evaluate` finds, and all weights."""
    import keras
    import numpy as np
    from tiny import make_model, no_dropout, one_layer

    keras.utils.set_random_seed(7)
    with devices(backend, count):
        model = make_model(kind, **one_layer(kind), **no_dropout(kind))
        model.compile(optimizer=optimizer(gradient_accumulation_steps=accumulated), **compiled)
        given = {"batch_size": batch_size, "sample_weight": sample_weight, "verbose": 0}
        history = model.fit(data, shuffle=False, **given).history
        found = model.evaluate(data, **given)
    weights = np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables])
    return history["loss"][0], found, weights


def differences(backend, kind, labels="unequal", weighted=False, optimizer="SGD", **compiled):
    """{(devices, accumulation): [loss on one device, loss, loss of evaluate, largest difference of a weight]}."""
    import keras
    import numpy as np
    from tiny import VOCABULARY, make_inputs

    from training.run.optimizers import AdamW

    rows = 16
    data = make_inputs(kind, 21, lengths=tuple(21 - row for row in range(rows)), marked=(2,) * rows)
    given = np.random.default_rng(3).integers(5, VOCABULARY, (rows, 8)).astype("int32")
    if labels == "unequal":
        given[1::2, 2:] = -100
        given[2::3, 5:] = -100
        given[10] = -100
    data["labels"] = given
    weight = np.linspace(0.2, 2.0, rows).astype("float32") if weighted else None
    made = {
        "SGD": lambda **x: keras.optimizers.SGD(0.1, clipnorm=0.5, **x),
        "AdamW": lambda **x: keras.optimizers.AdamW(1e-3, **x),
        # A large epsilon: a gradient that is zero but for rounding would move its weight by its sign.
        "guarded": lambda **x: AdamW(1e-3, weight_decay=0.1, epsilon=1e-3, global_clipnorm=0.5, **x),
    }
    arguments = (data, weight)
    # Four updates of four rows each.
    loss, _, wanted = train(backend, kind, 1, *arguments, 4, made[optimizer], **compiled)
    found = {}
    for count, accumulated in ((1, 4), (2, None), (2, 2)):
        batch_size = 4 // (accumulated or 1)
        again, evaluated, weights = train(
            backend, kind, count, *arguments, batch_size, made[optimizer], accumulated, **compiled
        )
        found[count, accumulated or 1] = [loss, again, evaluated, float(np.abs(weights - wanted).max())]
    return found


def main(backend):
    start(backend)
    sys.path.insert(0, os.path.dirname(__file__))
    rows = []
    for kind in ("led", "longt5-tglobal"):
        for labels, weighted in (("dense", False), ("unequal", False), ("unequal", True)):
            for (count, accumulated), numbers in differences(backend, kind, labels, weighted).items():
                row = {"backend": backend, "model": kind, "labels": labels, "sample_weight": weighted}
                row |= {"devices": count, "accumulation": accumulated, "loss_on_one": numbers[0]}
                rows.append(row | {"loss": numbers[1], "largest_difference_of_a_weight": numbers[3]})
                print(json.dumps(rows[-1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
