"""What this processor's matrix products cost in each type, as exports use them: `python -m benchmarks.products`.

Prints one line of JSON: processor milliseconds of a product of (rows, 768) with (768, 3072) by rows and type, and the
processor's instructions for products in fewer bits.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from export.client.strict_json import dumped

ROWS = (1024, 1)
WIDTH, HIDDEN = 768, 3072
# By /proc/cpuinfo.
INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "avx_vnni", "avx512_vnni", "amx_int8")
_LEAST_SECONDS = 0.5


def measure() -> dict[str, Any]:
    """Milliseconds by number of rows and type, and the instructions that are there."""
    return {
        "instructions": [name for name in INSTRUCTIONS if name in _flags()],
        "products": {str(rows): _products(rows) for rows in ROWS},
    }


def _flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _products(rows: int) -> dict[str, float]:
    import tensorflow as tf

    generator = np.random.default_rng(0)
    x, kernel = (tf.constant(generator.normal(size=shape), tf.float32) for shape in ((rows, WIDTH), (WIDTH, HIDDEN)))
    x16, kernel16 = tf.cast(x, tf.bfloat16), tf.cast(kernel, tf.bfloat16)
    x8, kernel8 = tf.cast(20 * x, tf.int8), tf.cast(20 * kernel, tf.int8)

    def in_8_bits(x: Any, kernel: Any) -> Any:
        return tf.raw_ops.BatchMatMulV3(x=x, y=kernel, Tout=tf.int32)

    cases: dict[str, tuple[Callable[..., Any], Any, Any, bool]] = {
        "float32": (tf.matmul, x, kernel, False),
        "bfloat16": (tf.matmul, x16, kernel16, False),
        "bfloat16, cast to float32": (lambda x, kernel: tf.matmul(x, tf.cast(kernel, tf.float32)), x, kernel16, False),
        "int8": (in_8_bits, x8, kernel8, False),
        "float32, XLA": (tf.matmul, x, kernel, True),
        "bfloat16, XLA": (tf.matmul, x16, kernel16, True),
        "int8, XLA": (in_8_bits, x8, kernel8, True),
    }
    return {name: _cpu_milliseconds(function, a, b, xla) for name, (function, a, b, xla) in cases.items()}


def _cpu_milliseconds(function: Callable[..., Any], a: Any, b: Any, xla: bool) -> float:
    import tensorflow as tf

    compiled = tf.function(lambda a, b: function(a, b), autograph=False, jit_compile=xla or None)
    compiled(a, b)
    count, start, before = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < _LEAST_SECONDS:
        compiled(a, b).numpy()
        count += 1
    return 1000 * (time.process_time() - before) / count


if __name__ == "__main__":
    print(dumped(measure()))
