"""Ours by backend, precision, length and batch, for the choice among them: `python -m benchmarks settings`.

A document's seconds say how fast, its CPU seconds how much work; the peak is that of the whole process.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.instructions import instructions
from benchmarks.jobs import chosen_by_name
from benchmarks.models import SHRINK, SIZES
from benchmarks.processes import run_task
from benchmarks.report import make_console, make_table, number
from benchmarks.suite import RESULTS, circumstances
from benchmarks.task import BACKENDS, DTYPES, OURS, Task, positive

_FAMILIES = ("led", "longt5-tglobal")
_ENCODED = ((1024, 1), (1024, 4), (4096, 1), (4096, 4))
_TRAINED = ((1024, 1), (1024, 4), (4096, 1))
_COLUMNS = ("first run s", "s a document", "CPU s a document", "tokens a s", "peak GB")


def settings_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks settings",
        description="Ours by backend, precision, length and batch, each in a process of its own.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="rows whose names hold this text")
    parser.add_argument("--size", choices=SIZES, default="base", help="of the model (default: base)")
    parser.add_argument("--repeats", type=positive, default=2, help="timed runs of each row (default: 2)")
    parser.add_argument("--output", type=Path, default=Path("out/bench-settings"), metavar="FOLDER")
    return parser


def settings(options: argparse.Namespace) -> int:
    """Run the program; return its exit status."""
    tasks = chosen_tasks(options.only, options.size, options.repeats)
    run_settings(tasks, options.output, make_console())
    return 0


def name_of(task: Task) -> str:
    """As a row is shown and chosen.

    >>> name_of(Task("ours", "led", "train", 4096, gradient_checkpointing=True))
    'led train tensorflow float32 4096 x 1 checkpointing'
    """
    checkpointing = " checkpointing" if task.gradient_checkpointing else ""
    return f"{task.family} {task.job} {task.backend} {task.dtype} {task.length} x {task.batch}{checkpointing}"


def chosen_tasks(only: Sequence[str], size: str = "base", repeats: int = 2) -> list[Task]:
    """The tasks whose names hold one of the texts of `only`, or all.

    Raises:
        ValueError: a text that no name holds.

    >>> [name_of(task) for task in chosen_tasks(["led encode jax float32 1024"])]
    ['led encode jax float32 1024 x 1', 'led encode jax float32 1024 x 4']
    """
    tasks = [
        Task(
            OURS,
            family,
            job,
            length // SHRINK if size == "tiny" else length,
            batch,
            size,
            gradient_checkpointing=checkpointing,
            backend=backend,
            dtype=dtype,
            repeats=repeats,
        )
        for family in _FAMILIES
        for job, shapes in (("encode", _ENCODED), ("train", _TRAINED))
        for backend in BACKENDS
        for dtype in DTYPES
        for length, batch in shapes
        for checkpointing in ((False, True) if job == "train" and (length, batch) == _TRAINED[-1] else (False,))
    ]
    return chosen_by_name(tasks, only, name_of)


def run_settings(
    tasks: Sequence[Task], output: Path, console: Console, run: Callable[[Task], dict[str, Any]] = run_task
) -> dict[str, Any]:
    """Run tasks in turn, each in a process; what was measured is on disk after every one.

    Returns:
        What `results.json` holds: "rows", for each the figures of `benchmarks.worker.measure`; "date", "processors"
        and "versions".

    Raises:
        WorkerError: a process failed.
        OSError: the folder cannot be written.
    """
    from tfmodels.utils.files import write_json

    output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {**circumstances(), "rows": {}}
    table = make_table(console, f"Ours by settings; {instructions()}", "program, tokens x documents", _COLUMNS)
    for task in tasks:
        with console.status(name_of(task)):
            figures = results["rows"][name_of(task)] = run(task)
        write_json(output / RESULTS, results)
        cells = _cells(task, figures)
        console.print(
            f"{name_of(task)}: {', '.join(map(' '.join, zip(cells, _COLUMNS, strict=True)))}", highlight=False
        )
        table.add_row(name_of(task), *cells)
    console.print(table)
    console.print(f"written: {output / RESULTS}", soft_wrap=True, highlight=False)
    return results


def _cells(task: Task, figures: dict[str, Any]) -> list[str]:
    seconds, cpu_seconds = (figures[name] / task.batch for name in ("seconds", "cpu_seconds"))
    shown = figures["first_seconds"], seconds, cpu_seconds, task.length / seconds, figures["peak_gb"]
    return [number(value) for value in shown]
