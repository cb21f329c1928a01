"""Encoders over documents whose length is divided over four devices of a CPU, beside one device.

    python -m tests.distribution.sharded [kind ...]

prints one line of JSON for each kind of model: the largest differences from one device, divided by the largest value,
and the shapes of what its collective operations give, by name.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEVICES, BATCH, WIDTH = 4, 3, 32
# Fields of the config beside the tiny ones: few slots, of which more are used than the cheapest path takes.
KINDS = {
    "led": {},
    "led-few-slots": {"max_global_tokens": 12, "encoder_attention_heads": 2},
    "longt5-local": {},
    "longt5-tglobal": {},
}
# How many times larger queries and keys are than they start: one key then has nearly all of a softmax (LED) or a third.
PEAKED = {"led": 30, "longt5": 1.5}


def run(kinds=tuple(KINDS)):
    """The lines, as dicts, from a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), *kinds]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def start(count=DEVICES):
    """Take the CPU for several devices; before jax is imported."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}"
    os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]


def make(kind):
    """A peaked encoder, with dropout and gradient checkpointing in training."""
    import keras
    from tiny import make_encoder

    keras.utils.set_random_seed(0)
    family = kind.partition("-")[0]
    encoder = make_encoder(family if family == "led" else kind, gradient_checkpointing=True, **KINDS[kind])
    for weight in encoder.weights:
        if weight.path.split("/")[-2] in ("query", "key", "query_global", "key_global", "q", "k"):
            weight.assign(weight.value * PEAKED[family])
    return encoder


def inputs_of(kind, length):
    """Rows with padding; the global tokens of LED lie on all shards, nine of them in one row."""
    from tiny import make_inputs

    name = "led" if kind.startswith("led") else kind
    return make_inputs(name, length, lengths=(length, length * 7 // 10, 9), marked=(9, 5, 2))


def encode(encoder, call, values, training):
    """The hidden states of `call()` with these values of the weights, and the seeds that it leaves behind."""
    import keras

    known = zip(encoder.trainable_variables, values, strict=True)
    with keras.StatelessScope(list(known)) as scope:
        hidden_states = call(training=training)["last_hidden_state"]
    return hidden_states, [scope.get_current_value(variable) for variable in encoder.non_trainable_variables]


def gradients(encoder, call, mask):
    """Hidden states of the tokens, gradients of all weights, and the next seeds; compiled."""
    import jax
    import numpy as np

    weights = np.random.default_rng(1).normal(size=(*mask.shape, WIDTH)).astype("float32") * mask[..., None]

    def loss(values):
        hidden_states, seeds = encode(encoder, call, values, training=True)
        return (hidden_states * weights).sum(), (hidden_states * mask[..., None], seeds)

    values = [variable.value for variable in encoder.trainable_variables]
    found, (hidden_states, seeds) = jax.jit(jax.grad(loss, has_aux=True))(values)
    return np.asarray(hidden_states), [np.asarray(x) for x in found], [np.asarray(x) for x in seeds]


def relative(found, wanted, floor=0.0):
    return float(abs(found - wanted).max() / max(abs(wanted).max(), floor))


def collectives(program):
    """The shapes of the results of each kind of collective operation."""
    names = ("all-gather", "all-reduce", "collective-permute", "all-to-all", "reduce-scatter")
    lines = {name: re.findall(rf"= (.*?) {name}(?:-start)?\(", program.as_text()) for name in names}
    shape = re.compile(r"\w+\[([\d,]*)\]")
    return {
        name: sorted([int(x) for x in sizes.split(",") if x] for line in found for sizes in shape.findall(line))
        for name, found in lines.items()
    }


def compare(kind, length=53, whole_length=128):
    """One line: training at an odd length, and a compiled program at a length of whole shards."""
    import jax
    import numpy as np

    from tfmodels.distribution import ShardedEncoder

    encoder, inputs = make(kind), inputs_of(kind, length)
    sharded = ShardedEncoder(encoder, jax.make_mesh((DEVICES,), ("length",)))
    wanted = gradients(encoder, lambda training: encoder(**inputs, training=training), inputs["attention_mask"])
    found = gradients(encoder, lambda training: sharded(**inputs, training=training), inputs["attention_mask"])
    largest = max(abs(x).max() for x in wanted[1])
    row = {"kind": kind, "training": relative(found[0], wanted[0]), "gradients": 0.0}
    # A gradient that is zero but for rounding is measured by the others.
    row["gradients"] = max(relative(x, y, 1e-3 * largest) for x, y in zip(found[1], wanted[1], strict=True))
    row["seeds"] = all((x == y).all() for x, y in zip(found[2], wanted[2], strict=True))

    inputs = inputs_of(kind, whole_length)
    program = sharded.lower(**{name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in inputs.items()}).compile()
    found, _ = program([variable.value for variable in encoder.variables], inputs)
    values = [variable.value for variable in encoder.trainable_variables]
    wanted, _ = jax.jit(lambda values: encode(encoder, lambda training: encoder(**inputs), values, False))(values)
    mask = inputs["attention_mask"][..., None]
    row["forward"] = relative(np.asarray(found) * mask, np.asarray(wanted) * mask)
    row["divided"] = str(found.sharding.spec)
    return {**row, "collectives": collectives(program)}


def margins():
    """Whether shards of two entries get five more on either side, from three neighbours each."""
    import jax
    import numpy as np
    from jax.sharding import PartitionSpec

    from tfmodels.backend.document import DividedDocument

    document, margin = DividedDocument("length", DEVICES, 2 * DEVICES), 5
    x = np.arange(1, 1 + 2 * DEVICES, dtype="int32")
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("length",))
    with_margins = jax.shard_map(
        lambda x: document.with_margins(x, 0, margin),
        mesh=mesh,
        in_specs=PartitionSpec("length"),
        out_specs=PartitionSpec("length"),
    )
    padded = np.pad(x, margin)
    wanted = np.concatenate([padded[2 * place : 2 * place + 2 + 2 * margin] for place in range(DEVICES)])
    return bool((np.asarray(jax.jit(with_margins)(x)) == wanted).all())


def main(arguments=None):
    parser = argparse.ArgumentParser("python -m tests.distribution.sharded", description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(KINDS)}; default: all")
    kinds = parser.parse_args(arguments).kinds
    start()
    print(json.dumps({"kind": None, "margins": margins()}), flush=True)
    for kind in kinds or KINDS:
        print(json.dumps(compare(kind)), flush=True)


if __name__ == "__main__":
    main()
