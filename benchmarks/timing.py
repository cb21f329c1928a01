"""Seconds of a call."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(run: Callable[[], Any]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Seconds of the median of `repeats` runs, after one that does not count."""
    run()
    return statistics.median(seconds(run) for _ in range(repeats))
