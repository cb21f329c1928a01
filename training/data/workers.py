"""Processes that tokenize chunks of rows, or none, with the same results in the same order."""

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from training.tasks.base import Task

# SIGKILL, by a name that every system has.
_KILLED = 9

Chunk = Sequence[tuple[str, ...]]
FlatColumn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""The integers of all rows end to end, the size of each row, and its size before cutting."""


def encode_chunk(task: Task, rows: Chunk, tokenizer: Any) -> dict[str, FlatColumn]:
    """The flat columns of some rows."""
    flat = {}
    for name, column in task.encode(rows, tokenizer).items():
        sizes = np.array([len(values) for values in column.values], "int64")
        flat[name] = (np.concatenate(list(column.values)), sizes, np.asarray(column.true_sizes, "int64"))
    return flat


class Pool(Protocol):
    """Takes chunks and gives their columns."""

    size: int

    def submit(self, rows: Chunk) -> "Future[dict[str, FlatColumn]]": ...

    def close(self) -> None: ...


class InProcess:
    """Tokenizes in this process, when a chunk is submitted."""

    size = 1

    def __init__(self, task: Task, tokenizer: Any) -> None:
        self._task, self._tokenizer = task, tokenizer

    def submit(self, rows: Chunk) -> "Future[dict[str, FlatColumn]]":
        future: Future[dict[str, FlatColumn]] = Future()
        future.set_result(encode_chunk(self._task, rows, self._tokenizer))
        return future

    def close(self) -> None:
        pass


class WorkerPool:
    """Processes of `training.data.worker`, each behind a thread that waits for its answers.

    Args:
        count: the number of processes.
        task, recipe: what they tokenize, and the tokenizer's recipe.

    Raises, from a chunk's future:
        RuntimeError: a process that ended, or an error in it.
    """

    def __init__(self, count: int, task: Task, recipe: tuple[Any, ...]) -> None:
        self.size = count
        setup = pickle.dumps((recipe, task), protocol=pickle.HIGHEST_PROTOCOL)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        try:
            for _ in range(count):
                self._processes.append(_started())
                self._free.put(self._processes[-1])
        except BaseException:
            self._kill()
            self._close_pipes()
            raise
        self._threads = ThreadPoolExecutor(count, "tokenizing")
        self._setup = setup
        self._ready: set[int] = set()

    def submit(self, rows: Chunk) -> "Future[dict[str, FlatColumn]]":
        return self._threads.submit(self._ask, rows)

    def modules(self) -> list[str]:
        """The modules that a process has imported, for tests."""
        return self._threads.submit(self._ask, None).result()  # type: ignore[return-value, arg-type]

    def process_ids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def close(self) -> None:
        """End the processes at once; chunks that are not done get errors."""
        self._kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._close_pipes()

    def _ask(self, rows: Chunk) -> Any:
        process = self._free.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.pid not in self._ready:
                process.stdin.write(self._setup)
                self._ready.add(process.pid)
            pickle.dump(rows, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            kind, answer = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError, ConnectionError, pickle.UnpicklingError, ValueError) as error:
            raise RuntimeError(_ending(process)) from error
        finally:
            self._free.put(process)
        if kind == "error":
            raise RuntimeError(f"A process that tokenizes met an error:\n{answer.rstrip()}")
        return answer

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()

    def _close_pipes(self) -> None:
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                # What was buffered for a process that has ended cannot be written.
                with contextlib.suppress(OSError):
                    stream.close()


def _started() -> "subprocess.Popen[bytes]":
    # A process for each core: more threads in each would only get in each other's way.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": paths, "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    # -P: a folder `training` in the working directory must not take this package's place.
    command = [sys.executable, "-P", "-m", "training.data.worker"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _ending(process: "subprocess.Popen[bytes]") -> str:
    try:
        status = process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        return "A process that tokenizes must answer. Received: an answer that is none"
    if status == -_KILLED:
        how = "was killed (SIGKILL), as systems do when memory runs out. Fewer workers need less memory"
    elif status < 0:
        how = f"was killed by signal {-status}"
    else:
        how = f"ended with status {status}"
    return f"A process that tokenizes must go on until the data is read. Received: it {how}"


def usual_count(data_bytes: int) -> int:
    """How many processes pay for files of so many bytes; 0 for this process alone.

    >>> usual_count(1000)
    0
    """
    if data_bytes < 4_000_000:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 16)
