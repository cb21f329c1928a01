"""The whole benchmark: the ceiling, every row in turn, results and plots in a folder."""

import datetime
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.ceiling import measure_ceiling
from benchmarks.figures import row_figures
from benchmarks.instructions import instructions
from benchmarks.jobs import Row, verdicts
from benchmarks.plots import save_plots
from benchmarks.processes import WorkerError, run_task
from benchmarks.report import print_ceiling, print_row, print_table
from benchmarks.task import COMPILED, Task

RESULTS = "results.json"
_PACKAGES = ("tfmodels", "keras", "tensorflow", "jax", "torch", "transformers")

Run = Callable[[Task], dict[str, Any]]


def run_suite(
    rows: Sequence[Row],
    output: Path,
    console: Console,
    rounds: int = 2,
    backend: str = "tensorflow",
    quick: bool = False,
    run: Run = run_task,
    measure: Callable[[str], dict[str, Any]] = measure_ceiling,
) -> dict[str, Any]:
    """Run rows and write results and plots; what was measured is on disk after every row.

    Args:
        rows: in the order in which they run.
        output: a folder; results of an earlier run in it are replaced.
        console: where progress and tables go.
        rounds: turns of ours and theirs, A B A B.
        backend: of ours.
        quick: fewer runs in each process.
        run, measure: what runs a task and what measures the ceiling at a size.

    Returns:
        What `results.json` holds: "rows", for each its "figures", "targets" and "runs"; "ceiling"; "date" and
        "versions".

    Raises:
        WorkerError: a process failed, but for their compiled model's.
        OSError: the folder cannot be written.
    """
    from export.client.strict_json import finite
    from tfmodels.utils.files import write_json

    output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {**circumstances(), "backend": backend, "quick": quick, "rows": {}}
    with console.status("ceiling of the machine"):
        results["ceiling"] = measure(rows[0].size)
    print_ceiling(console, results["ceiling"])
    figures: dict[str, dict[str, float]] = {}
    for position, row in enumerate(rows, 1):
        runs = _runs_in_turn(row, min(rounds, row.most_rounds or rounds), backend, quick, run, console)
        figures[row.name] = row_figures(row, runs, figures, results["ceiling"])
        results["rows"][row.name] = _entry(row, figures[row.name], runs)
        write_json(output / RESULTS, finite(results))
        print_row(console, position, len(rows), row.name, figures[row.name])
    print_table(console, rows, figures)
    plots = save_plots(rows, figures, output)
    written = ", ".join(str(path) for path in (output / RESULTS, *plots))
    console.print(f"written: {written}", soft_wrap=True, highlight=False)
    return results


def circumstances() -> dict[str, Any]:
    """When and with what: "date" (UTC), "processors", their "instructions", "versions" of the installed packages."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"date": date, "processors": os.cpu_count(), "instructions": instructions(), "versions": versions}


def _runs_in_turn(
    row: Row, rounds: int, backend: str, quick: bool, run: Run, console: Console
) -> dict[str, list[dict[str, Any]]]:
    """A B C A B C, so that a machine that grows slower or faster does so for all sides. A peer that does not compile
    is left out, and said so."""
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in row.sides}
    for turn in range(rounds):
        for side in list(runs):
            try:
                with console.status(f"{row.name}: {side}, {turn + 1} of {rounds}"):
                    runs[side].append(run(row.task(side, backend, quick)))
            except WorkerError as error:
                if side != COMPILED:
                    raise
                del runs[side]
                console.print(f"{row.name}: {side} left out: {str(error).splitlines()[-1]:.120}", highlight=False)
    return runs


def _entry(row: Row, figures: dict[str, float], runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    met = verdicts(row, figures)
    targets = {
        target.figure: {"limit": target.limit, "at_least": target.at_least, "met": met[target.figure]}
        for target in row.targets
    }
    return {"length": row.length, "figures": figures, "targets": targets, "runs": runs}
