"""`python -m benchmarks gpu`: ours on JAX beside transformers on PyTorch, eager and compiled, on one GPU.

Everything computes in bfloat16; training keeps float32 weights on both sides (Keras' mixed_bfloat16, torch's autocast).
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.jobs import chosen_by_name
from benchmarks.models import FAMILIES, SHRINK
from benchmarks.processes import WorkerError, run_task
from benchmarks.report import make_table, number
from benchmarks.suite import RESULTS, circumstances
from benchmarks.task import OURS, THEIRS, Task

LENGTHS = (4096, 16384)
BATCHES = (1, 8)
TRAINED_FAMILIES = ("led", "longt5-tglobal")
VARIANTS = ("ours", "eager", "compiled")
"""Ours, and transformers without and with torch.compile."""
_REPEATS = 5

Run = Callable[[Task], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class GpuRow:
    """One job at one length and batch, for every variant."""

    family: str
    job: str
    length: int
    batch: int

    @property
    def name(self) -> str:
        """Shown, and chosen by `--only`."""
        return f"{self.family} {self.job} {self.length} batch {self.batch}"

    def task(self, variant: str, device: str, size: str) -> Task:
        """What one worker runs."""
        return Task(
            OURS if variant == "ours" else THEIRS,
            self.family,
            self.job,
            self.length,
            batch=self.batch,
            size=size,
            backend="jax" if variant == "ours" else "tensorflow",
            device=device,
            dtype="bfloat16",
            torch_compile=variant == "compiled",
            repeats=_REPEATS if device == "gpu" else 1,
        )


def gpu_rows(size: str = "base", only: Sequence[str] = ()) -> list[GpuRow]:
    """The rows whose names hold one of the texts of `only`, all where it is empty.

    Raises:
        ValueError: a text that no row's name holds.

    >>> [row.name for row in gpu_rows(only=["local encode 16384"])]
    ['longt5-local encode 16384 batch 1', 'longt5-local encode 16384 batch 8']
    """
    jobs = [(family, "encode") for family in FAMILIES] + [(family, "train") for family in TRAINED_FAMILIES]
    rows = [
        GpuRow(family, job, length if size == "base" else length // SHRINK, batch)
        for (family, job), length, batch in itertools.product(jobs, LENGTHS, BATCHES)
    ]
    return chosen_by_name(rows, only)


def run_gpu(
    output: Path,
    console: Console,
    rows: Sequence[GpuRow],
    device_name: str,
    device: str = "gpu",
    size: str = "base",
    run: Run = run_task,
) -> dict[str, Any]:
    """Run rows and write `results.json`; a variant that fails, for want of memory say, is noted and the rest goes on.

    Args:
        output: a folder; results of an earlier run in it are replaced.
        console: where progress and the table go.
        rows: see `gpu_rows`.
        device_name: for the record.
        device, size: "cpu" and "tiny" try the program out.
        run: what runs a task.

    Returns:
        What `results.json` holds: "rows", for each and each variant its figures or an "error"; "device"; "date".

    Raises:
        OSError: the folder cannot be written.
    """
    from export.client.strict_json import finite
    from tfmodels.utils.files import write_json

    output.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {**circumstances(), "device": device_name, "rows": {}}
    console.print(f"{results['date']}, {device_name}", highlight=False)
    for position, row in enumerate(rows, 1):
        by_variant = results["rows"][row.name] = {}
        for variant in VARIANTS:
            with console.status(f"{row.name}: {variant}"):
                by_variant[variant] = _figures(row.task(variant, device, size), run)
            write_json(output / RESULTS, finite(results))
        shown = "; ".join(f"{variant} {_summary(figures)}" for variant, figures in by_variant.items())
        console.print(f"{position}/{len(rows)} {row.name}: {shown}", highlight=False)
    print_gpu_table(console, results)
    console.print(f"written: {output / RESULTS}", soft_wrap=True, highlight=False)
    return results


def _figures(task: Task, run: Run) -> dict[str, Any]:
    try:
        return run(task)
    except WorkerError as error:
        return {"error": str(error)}


def _summary(figures: Mapping[str, Any]) -> str:
    if "error" in figures:
        return f"failed ({figures['error'].splitlines()[-1]:.120})"
    return f"{number(figures['seconds'])} s, {number(figures['peak_gb'])} GB"


def print_gpu_table(console: Console, results: Mapping[str, Any]) -> None:
    """Prints seconds and peak memory of every variant, and how many times ours goes into theirs."""
    headings = [f"{variant} s" for variant in VARIANTS] + ["eager / ours", "compiled / ours"]
    headings += [f"{variant} GB" for variant in VARIANTS]
    table = make_table(console, f"bfloat16 on {results['device']}", "job", headings)
    for name, by_variant in results["rows"].items():
        cells = [_cell(by_variant[variant], "seconds") for variant in VARIANTS]
        cells += [_ratio(by_variant[variant], by_variant["ours"]) for variant in VARIANTS[1:]]
        table.add_row(name, *cells, *(_cell(by_variant[variant], "peak_gb") for variant in VARIANTS))
    console.print(table)


def _cell(figures: Mapping[str, Any], name: str) -> str:
    return "failed" if "error" in figures else number(figures[name])


def _ratio(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    if "error" in theirs or "error" in ours:
        return "-"
    return f"{theirs['seconds'] / ours['seconds']:.2f}"
