"""What a process takes as far as its first step, and the next one after it: `python -m benchmarks start`."""

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.jobs import chosen_by_name
from benchmarks.models import SHRINK, SIZES
from benchmarks.processes import run_module
from benchmarks.report import make_console, make_table, number
from benchmarks.stages import total
from benchmarks.start_worker import JOBS, MAKE, TO_FIRST_RUN
from benchmarks.suite import RESULTS, circumstances
from benchmarks.task import BACKENDS

_WORKER = "benchmarks.start_worker"
_BASE_LENGTH = 4096
_FAMILIES = ("led", "longt5-tglobal")
PROCESSES = ("without", "first", "second")
"""A process that keeps no compiled programs, one that does so in an empty folder, and the next one."""
_SHOWN = {"cpu_seconds": "CPU s", "seconds": "s"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One program: `name` is shown and chosen by `--only`."""

    family: str
    size: str
    backend: str
    job: str

    @property
    def length(self) -> int:
        """Tokens of the document."""
        return _BASE_LENGTH if self.size == "base" else _BASE_LENGTH // SHRINK

    @property
    def name(self) -> str:
        """As it is shown and chosen.

        >>> Cell("led", "tiny", "jax", "train").name
        'led tiny jax train 64'
        """
        return f"{self.family} {self.size} {self.backend} {self.job} {self.length}"

    def arguments(self, model: Path, programs: Path | None = None) -> list[str]:
        """The worker's command line."""
        given = [self.family, self.job, str(self.length), "--size", self.size, "--backend", self.backend]
        return [*given, "--model", str(model), *(() if programs is None else ("--programs", str(programs)))]


def start_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks start",
        description="Seconds, CPU seconds and memory from an empty process to its first step, stage by stage, and of "
        "the next process, which finds the programs compiled.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="rows whose names hold this text")
    parser.add_argument("--size", action="append", choices=SIZES, help="of the model (default: tiny)")
    parser.add_argument("--process", action="append", choices=PROCESSES, help="default: all")
    parser.add_argument("--output", type=Path, default=Path("out/bench-start"), metavar="FOLDER")
    return parser


def start(options: argparse.Namespace) -> int:
    """Run the program; return its exit status."""
    run_start(chosen_cells(options.only, options.size or ["tiny"]), options.output, make_console(), options.process)
    return 0


def chosen_cells(only: Sequence[str], sizes: Sequence[str]) -> list[Cell]:
    """The cells of some sizes whose names hold one of the texts of `only`, or all.

    Raises:
        ValueError: a text that no name holds.

    >>> [cell.name for cell in chosen_cells(["led tiny jax"], ["tiny"])]
    ['led tiny jax train 64', 'led tiny jax generate 64']
    """
    cells = [
        Cell(family, size, backend, job)
        for size in SIZES
        if size in sizes
        for family in _FAMILIES
        for backend in BACKENDS
        for job in JOBS
    ]
    return chosen_by_name(cells, only)


def run_start(
    cells: Sequence[Cell], output: Path, console: Console, processes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Run cells, each process in turn; what was measured is on disk after every one.

    Args:
        cells: in the order in which they run.
        output: a folder; results of an earlier run in it are replaced.
        console: where progress and tables go.
        processes: some of `PROCESSES`; "second" alone would find nothing, and takes "first" with it. None: all.

    Returns:
        What `results.json` holds: "rows", for each the figures of its processes as `start_worker.measure` returns
        them; "date", "processors" and "versions".

    Raises:
        WorkerError: a process failed.
        OSError: the folder cannot be written.
    """
    from tfmodels.utils.files import write_json

    wanted = [name for name in PROCESSES if processes is None or name in processes or name == "first"]
    if processes is not None and not {"first", "second"} & set(processes):
        wanted.remove("first")
    output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {**circumstances(), "rows": {}}
    with tempfile.TemporaryDirectory() as name:
        for cell in cells:
            model, programs = Path(name, f"{cell.family}-{cell.size}"), Path(name, cell.name)
            with console.status(cell.name):
                if not model.exists():
                    run_module(_WORKER, dataclasses.replace(cell, job=MAKE).arguments(model))
                rows = results["rows"][cell.name] = {}
                for process in wanted:
                    rows[process] = run_module(
                        _WORKER, cell.arguments(model, None if process == "without" else programs)
                    )
                    write_json(output / RESULTS, results)
            shown = ", ".join(f"{process} {_to_first_run(figures)}" for process, figures in rows.items())
            console.print(f"{cell.name}: CPU seconds to the first run: {shown}", highlight=False)
    _print(console, results["rows"])
    console.print(f"written: {output / RESULTS}", soft_wrap=True, highlight=False)
    return results


def _to_first_run(figures: dict[str, Any]) -> str:
    return number(total(figures["stages"], TO_FIRST_RUN, "cpu_seconds"))


def _print(console: Console, rows: dict[str, Any]) -> None:
    for unit, label in _SHOWN.items():
        headings = (*TO_FIRST_RUN, "to first run", "second run", "operations", "peak GB")
        table = make_table(console, f"{label} of each stage", "program and process", headings)
        for name, processes in rows.items():
            for process, figures in processes.items():
                stages = figures["stages"]
                shown = [number(stages[stage][unit]) for stage in TO_FIRST_RUN]
                shown += [number(total(stages, TO_FIRST_RUN, unit)), number(stages["second run"][unit])]
                shown += [f"{figures['operations']:,}", number(figures["peak_gb"])]
                table.add_row(f"{name} {process}", *shown)
        console.print(table)
