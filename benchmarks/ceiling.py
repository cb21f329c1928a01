"""The machine's float32 matrix-product rate and memory bandwidth, which no implementation of a transformer passes.

python -m benchmarks.ceiling torch
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.arithmetic import product_operations
from benchmarks.bandwidth import gigabytes_per_second
from benchmarks.models import SIZES
from benchmarks.processes import run_module
from benchmarks.task import positive
from benchmarks.timing import median_seconds
from export.client.strict_json import dumped

ENGINES = ("torch", "tensorflow", "tensorflow-xla")
COPYING = "torch"
"""The engine in whose process the memory is measured."""
SHAPES = {
    "base": ((2048, 2048, 2048), (4096, 768, 3072), (4096, 3072, 768)),
    "tiny": ((64, 64, 64), (128, 32, 64)),
}
"""(rows, inner, columns) of the products."""

Product = Callable[[], Any]


def measure_ceiling(size: str = "base", repeats: int = 5) -> dict[str, Any]:
    """Measure every engine in a process of its own.

    Returns:
        "gflops", the best rate of all in 10**9 operations a second, and "engines", for each engine and shape the rate
        of the median run; "gb_per_second", the memory bandwidth in 10**9 bytes a second.

    Raises:
        WorkerError: an engine failed.
    """
    measured = {
        engine: run_module("benchmarks.ceiling", [engine, "--size", size, "--repeats", str(repeats)])
        for engine in ENGINES
    }
    engines = {engine: rates["products"] for engine, rates in measured.items()}
    return {
        "gflops": max(rate for rates in engines.values() for rate in rates.values()),
        "engines": engines,
        "gb_per_second": measured[COPYING]["gb_per_second"],
    }


def engine_rates(engine: str, size: str, repeats: int) -> dict[str, float]:
    """Rate of each shape's median run, in 10**9 operations a second, here in this process."""
    make = _torch_product if engine == "torch" else _tensorflow_product
    rates = {}
    for rows, inner, columns in SHAPES[size]:
        generator = np.random.default_rng(0)
        left = generator.standard_normal((rows, inner), dtype="float32")
        right = generator.standard_normal((inner, columns), dtype="float32")
        seconds = median_seconds(make(left, right, engine), repeats)
        rates[f"{rows}x{inner}x{columns}"] = product_operations(rows, inner, columns) / seconds / 1e9
    return rates


def _torch_product(left: np.ndarray, right: np.ndarray, engine: str) -> Product:
    import torch

    first, second = torch.from_numpy(left), torch.from_numpy(right)
    return lambda: torch.matmul(first, second)


def _tensorflow_product(left: np.ndarray, right: np.ndarray, engine: str) -> Product:
    import tensorflow as tf

    first, second = tf.constant(left), tf.constant(right)
    product = tf.function(tf.matmul, jit_compile=engine == "tensorflow-xla", autograph=False)
    return lambda: product(first, second).numpy()


def main(arguments: list[str] | None = None) -> None:
    """Measure one engine and print what it found as one JSON line."""
    parser = argparse.ArgumentParser("python -m benchmarks.ceiling", allow_abbrev=False)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--repeats", type=positive, default=5)
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {"products": engine_rates(options.engine, options.size, options.repeats)}
    if options.engine == COPYING:
        figures["gb_per_second"] = gigabytes_per_second(options.size, options.repeats)
    print(dumped(figures), flush=True)


if __name__ == "__main__":
    main()
