"""The memory of each device when a document's length is divided over them: `python -m benchmarks sharded`.

Programs are compiled and not run, for a CPU that JAX takes for several devices; XLA says what a program holds at most.
"""

import argparse
import json
import os
from typing import Any

from benchmarks.models import FAMILIES, SIZES, class_name, config_fields, make_inputs
from benchmarks.processes import run_module
from benchmarks.report import make_console, make_table
from benchmarks.task import positive

_MEGABYTE = 1e6
_JOBS = ("encode", "train")


def sharded_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks sharded", description="Memory of a device by the number of devices.", allow_abbrev=False
    )
    parser.add_argument("--family", action="append", choices=tuple(FAMILIES), help="default: all")
    parser.add_argument("--job", action="append", choices=_JOBS, help="train: encode with its gradient (default: both)")
    parser.add_argument("--size", choices=SIZES, default="base", help="of the encoder (default: base)")
    parser.add_argument("--length", type=positive, default=65536, help="tokens of a document (default: 65536)")
    parser.add_argument("--devices", type=positive, nargs="+", default=[1, 2, 4, 8], help="default: 1 2 4 8")
    return parser


def sharded(options: argparse.Namespace) -> int:
    """Run the program; return its exit status."""
    console = make_console()
    title = f"MB that each device holds besides weights and results, {options.length:,} tokens, by number of devices"
    table = make_table(console, title, "job", [str(count) for count in options.devices])
    for family in options.family or FAMILIES:
        for job in options.job or _JOBS:
            counts = [str(count) for count in options.devices]
            figures = run_module("benchmarks.sharded", [family, job, options.size, str(options.length), *counts])
            row = [f"{figures[count] / _MEGABYTE:,.0f}" for count in counts]
            console.print(f"{family} {job}: {', '.join(row)}", highlight=False)
            table.add_row(f"{family} {job}", *row)
    console.print(table)
    return 0


def temporary_bytes(family: str, job: str, size: str, length: int, counts: list[int]) -> dict[int, int]:
    """By the number of devices: the bytes that a program holds on one of them besides arguments and results."""
    import jax
    import numpy as np

    import tfmodels
    from tfmodels.distribution import ShardedEncoder

    fields = {**config_fields(family, size, length), "gradient_checkpointing": True}
    config = getattr(tfmodels, class_name(family, "Config"))(**fields)
    encoder = getattr(tfmodels, class_name(family, "Encoder"))(config)
    arrays = {name: x for name, x in make_inputs(family, size, length).items() if name in encoder.input_names}
    inputs = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in arrays.items()}
    found = {}
    for count in counts:
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:count]), ("length",))
        sharded_encoder = ShardedEncoder(encoder, mesh)
        lowered = sharded_encoder.lower(**inputs) if job == "encode" else _gradient(sharded_encoder, inputs)
        found[count] = lowered.compile().memory_analysis().temp_size_in_bytes
    return found


def _gradient(sharded_encoder: Any, inputs: dict[str, Any]) -> Any:
    """The lowered gradient of a sum of hidden states by the weights."""
    import jax
    import keras

    encoder = sharded_encoder.encoder
    weights = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in encoder.trainable_variables]

    def loss(values: list[Any], inputs: dict[str, Any]) -> Any:
        with keras.StatelessScope(list(zip(encoder.trainable_variables, values, strict=True))):
            return (sharded_encoder(**inputs, training=True)["last_hidden_state"] ** 2).sum()

    return jax.jit(jax.grad(loss)).lower(weights, inputs)


def main(arguments: list[str] | None = None) -> None:
    """Print the bytes by the number of devices as one JSON line."""
    parser = argparse.ArgumentParser("python -m benchmarks.sharded", allow_abbrev=False)
    parser.add_argument("family", choices=tuple(FAMILIES))
    parser.add_argument("job", choices=_JOBS)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("length", type=positive)
    parser.add_argument("devices", type=positive, nargs="+")
    options = parser.parse_args(arguments)
    # Before JAX starts, which happens in the call.
    os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={max(options.devices)}"
    found = temporary_bytes(options.family, options.job, options.size, options.length, options.devices)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
