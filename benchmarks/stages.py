"""Seconds, CPU seconds and memory of a process, stage by stage."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from benchmarks.memory import peak_bytes

Result = TypeVar("Result")


class Stages:
    """What each stage of a process takes.

    >>> stages = Stages()
    >>> stages.run("add", lambda: 1 + 1)
    2
    >>> sorted(stages.figures["add"])
    ['cpu_seconds', 'peak_gb', 'seconds']
    """

    def __init__(self) -> None:
        self.figures: dict[str, dict[str, float]] = {}

    def run(self, name: str, function: Callable[[], Result]) -> Result:
        """Call `function` and keep under `name` its seconds, its CPU seconds, and the peak (10**9 bytes) so far."""
        started, cpu_started = time.perf_counter(), time.process_time()
        result = function()
        self.figures[name] = {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu_started,
            "peak_gb": peak_bytes() / 1e9,
        }
        return result

    def subtract(self, name: str, other: str) -> None:
        """Take from one stage the time of another, which it holds."""
        figures, others = self.figures[name], self.figures[other]
        for unit in ("seconds", "cpu_seconds"):
            figures[unit] = max(0.0, figures[unit] - others[unit])


def total(stages: dict[str, Any], names: tuple[str, ...], unit: str = "seconds") -> float:
    """The sum of some stages.

    >>> total({"a": {"seconds": 1.0}, "b": {"seconds": 2.0}}, ("a", "b"))
    3.0
    """
    return float(sum(stages[name][unit] for name in names if name in stages))
