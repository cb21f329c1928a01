"""The machine's memory bandwidth, which a decoder that reads all its weights for one token is bound by.

A large array is copied: what is read and what is written counts, each once. Work that reads more than it writes can
move more bytes a second, as a write makes the processor read the same memory first, unseen.
"""

import numpy as np

from benchmarks.timing import median_seconds

NUMBERS = {"base": 2**26, "tiny": 2**12}
"""Float32 numbers in the array: 256 MiB at the size "base", far more than any cache holds."""


def gigabytes_per_second(size: str, repeats: int) -> float:
    """What the median copy by PyTorch, on all its threads, moves: 10**9 bytes a second, here in this process."""
    import torch

    numbers: np.ndarray = np.ones(NUMBERS[size], "float32")
    source = torch.from_numpy(numbers)
    target = torch.zeros_like(source)
    return 2 * numbers.nbytes / median_seconds(lambda: target.copy_(source), repeats) / 1e9
