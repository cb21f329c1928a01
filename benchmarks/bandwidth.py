"""The machine's memory bandwidth, which a decoder that reads all its weights for one token cannot pass.

Large arrays are copied, or added to one another in place, by every library of `benchmarks.ceiling`. What is read and
what is written counts, each once; a write that makes the processor read the same memory first does so unseen.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import median_seconds

NUMBERS = {"base": 2**26, "tiny": 2**12}
"""Float32 numbers in each array: 256 MiB at the size "base", far more than any cache holds."""


def gigabytes_per_second(engine: str, size: str, repeats: int) -> float:
    """What the median run moves, in 10**9 bytes a second, here in this process."""
    given: np.ndarray = np.ones(NUMBERS[size], "float32")
    passes, run = _torch_copy(given) if engine == "torch" else _tensorflow_sum(given, engine == "tensorflow-xla")
    return passes * given.nbytes / median_seconds(run, repeats) / 1e9


def _torch_copy(given: np.ndarray) -> tuple[int, Callable[[], Any]]:
    """How many arrays are read or written, and what does so."""
    import torch

    source = torch.from_numpy(given)
    target = torch.zeros_like(source)
    return 2, lambda: target.copy_(source)


def _tensorflow_sum(given: np.ndarray, jit_compile: bool) -> tuple[int, Callable[[], Any]]:
    """As `_torch_copy`. In place: to copy, TensorFlow would take new memory each time, and wait for its pages."""
    import tensorflow as tf

    source, target = tf.constant(given), tf.Variable(given)

    @tf.function(jit_compile=jit_compile, autograph=False)
    def add() -> None:
        target.assign_add(source)

    def run() -> None:
        add()
        target[:1].numpy()

    return 3, run
