"""Seconds, and CPU seconds, of a call."""

import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(run: Callable[[], Any]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def clocked(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and CPU seconds of the process, of one run."""
    start = time.process_time()
    return seconds(run), time.process_time() - start


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """Seconds of the median of `repeats` runs, after one that does not count."""
    run()
    return statistics.median(seconds(run) for _ in range(repeats))
