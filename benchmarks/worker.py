"""One side of one job in a process of its own: prints its seconds and peak memory as one JSON line.

python -m benchmarks.worker ours led encode 4096
python -m benchmarks.worker theirs longt5-tglobal train 4096 --repeats 1
"""

import os
import statistics
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.memory import peak_bytes, reset_peak
from benchmarks.models import make_encoded, make_inputs
from benchmarks.routine import Routine
from benchmarks.task import OURS, Task, parse_task
from benchmarks.timing import clocked, median_seconds, seconds
from export.client.strict_json import dumped


def measure(task: Task) -> dict[str, Any]:
    """Build the model, run the job and measure it.

    Returns:
        "seconds" and "cpu_seconds", the medians of the timed runs; "all_seconds", each of them; "first_seconds", the
        untimed first run with what it compiled; "peak_gb" of the process, or of the device on a GPU, in 10**9 bytes. Of
        "decode" the peak is that of the timed runs alone, without compiling (under Linux); "start_seconds" is the
        median time as far as the first token, and "search_gb", where the task measures memory, what the peak is above
        the memory before.
    """
    routine = _maker(task.side)(task)

    def inputs(length: int) -> Any:
        document = task.family, task.size, length, task.batch
        if task.job == "decode":
            return routine.prepare(make_encoded(*document))
        return routine.prepare(make_inputs(*document, labels=task.job == "train"))

    document_inputs = inputs(task.length)
    warmup_length = task.length if task.side == OURS else min(task.warmup_length or task.length, task.length)
    warmup = document_inputs if warmup_length == task.length else inputs(warmup_length)
    first = seconds(lambda: routine.run(warmup))
    # Compiling may have taken more than any search.
    held = reset_peak() if task.job == "decode" else None
    timed, cpu_timed = zip(*(clocked(lambda: routine.run(document_inputs)) for _ in range(task.repeats)), strict=True)
    peak = routine.device_peak_bytes()
    figures: dict[str, Any] = {
        "seconds": statistics.median(timed),
        "cpu_seconds": statistics.median(cpu_timed),
        "all_seconds": list(timed),
        "first_seconds": first,
        "peak_gb": (peak_bytes() if peak is None else peak) / 1e9,
    }
    if task.measures_memory and held is not None:
        figures["search_gb"] = figures["peak_gb"] - held / 1e9
    start = routine.start
    if start is not None:
        figures["start_seconds"] = median_seconds(lambda: start(document_inputs), task.repeats)
    return figures


def _maker(side: str) -> Callable[[Task], Routine]:
    # Each side imports its own libraries alone: the other's would count as its memory.
    if side == OURS:
        from benchmarks import ours

        return ours.make_routine
    from benchmarks import theirs

    return theirs.make_routine


def set_environment(task: Task) -> None:
    """Set the variables that the libraries of the task's side read when they are imported."""
    if task.side == OURS:
        os.environ["KERAS_BACKEND"] = task.backend
        if task.backend != "jax":
            # TensorFlow imports a JAX that happens to be there, which would count as its memory.
            sys.modules["jax"] = None  # type: ignore[assignment]
        if task.measures_memory:
            # oneDNN's allocator keeps what was ever taken: a search would seem to take nothing the second time.
            os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
        # JAX would else take most of a GPU at its start, and its count of bytes would say little.
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    else:
        # transformers imports a TensorFlow or JAX that happens to be there, which would count as its memory.
        os.environ |= {"USE_TORCH": "1", "USE_TF": "0", "USE_FLAX": "0"}


def main(arguments: list[str] | None = None) -> None:
    """Run one task and print its figures."""
    task = parse_task(arguments)
    set_environment(task)
    print(dumped(measure(task)), flush=True)


if __name__ == "__main__":
    main()
