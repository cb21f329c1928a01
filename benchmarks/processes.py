"""Running workers, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.task import Task

_STDERR_TAIL = 2000


class WorkerError(RuntimeError):
    """A worker process failed; the message names it and ends with the end of its stderr."""


def run_task(task: Task) -> dict[str, Any]:
    """The figures of one task; see `benchmarks.worker.measure`.

    Raises:
        WorkerError: the worker failed.
    """
    return run_module("benchmarks.worker", task.arguments())


def run_module(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Run `python -m module` and read the JSON object on the last line that it prints.

    Raises:
        WorkerError: it failed, or printed no such line.
    """
    command = [sys.executable, "-m", module, *arguments]
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    shown = " ".join(command[1:])
    if done.returncode:
        reason = f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        raise WorkerError(f"{shown}: {reason}\n{done.stderr.strip()[-_STDERR_TAIL:]}")
    try:
        figures = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise WorkerError(f"{shown}: no figures\n{(done.stdout + done.stderr).strip()[-_STDERR_TAIL:]}") from None
    if not isinstance(figures, dict):
        raise WorkerError(f"{shown}: no figures\n{done.stdout.strip()[-_STDERR_TAIL:]}")
    return figures
