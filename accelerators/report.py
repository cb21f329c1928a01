"""`python -m accelerators report`: what compilers say about models of the size "base". By hand: a row takes minutes."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerators.jobs import Job
from accelerators.targets import TARGETS
from benchmarks.models import FAMILIES
from tfmodels.utils.files import read_json_object, write_json

_LENGTHS = (4096, 16384)
_BATCHES = (1, 8)
_MILLION, _MOST_CHIPS = 1 << 20, 16
_WHAT = ("encode", "train", "greedy", "beams")
_STDERR_TAIL = 400
_PRINTED = {
    "compile s": ("compile_s", "{:.0f}"),
    "arguments MB": ("arguments_mb", "{:,.0f}"),
    "temp MB": ("temp_mb", "{:,.0f}"),
    "peak MB": ("peak_mb", "{:,.0f}"),
    "products TFLOP": ("teraflop", "{:.3f}"),
    "HBM GB": ("hbm_gb", "{:.2f}"),
    "estimate ms": ("cycles_ms", "{:.1f}"),
}

Row = dict[str, Any]


def jobs() -> list[Job]:
    """Every row: each model, 4,096 and 16,384 tokens, one document and eight; a million tokens over 16 chips."""
    rows = [
        Job(family, what, length, batch)
        for family in FAMILIES
        for length in _LENGTHS
        for batch in _BATCHES
        for what in _WHAT
    ]
    return [*rows, Job("led", "encode divided", _MILLION, chips=_MOST_CHIPS)]


def run(
    chosen: Sequence[tuple[str, Job]],
    output: Path,
    minutes: float,
    show: Callable[[str], None] = print,
    compile_one: Callable[[str, Job, float], Row] | None = None,
) -> int:
    """Compile each job for its target, in a process of its own, and write `output` after each.

    A row that fails, or lasts longer than `minutes`, is noted there, and the next one begins. Rows that `output` holds
    already stay, unless they are made anew.

    Returns:
        0; 1 if a row failed.
    """
    compile_one = compile_one or _compile_in_process
    rows: dict[str, Row] = read_json_object(output) if output.exists() else {}
    output.parent.mkdir(parents=True, exist_ok=True)
    failed = 0
    for line in header():
        show(line)
    for target, job in chosen:
        found = {"target": target, "job": asdict(job), "name": job.name, **compile_one(target, job, minutes)}
        failed += "error" in found
        rows[f"{target} {job.name}"] = found
        write_json(output, rows)
        show(line_of(found))
    return int(failed > 0)


def make_row(target: str, job: Job) -> Row:
    """The figures of one job, and the least time that they allow: of its products, and of its memory's traffic."""
    from accelerators.compiling import compile_job

    figures, chip = compile_job(job, target).figures, TARGETS[target]
    least = {
        "products_ms": figures.teraflop / job.chips / chip.teraflops * 1e3,
        "hbm_ms": figures.hbm_gb / chip.gigabytes_per_second * 1e3,
    }
    return {**figures.as_dict(), **{name: round(value, 4) for name, value in least.items()}}


def header() -> list[str]:
    """The first two lines of the table."""
    names = ("program", "chip", *_PRINTED, "collectives")
    return ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]


def line_of(row: Row) -> str:
    """One line of the table.

    >>> line_of({"name": "led", "target": "v5e", "error": "no memory"})
    '| led | v5e | failed: no memory | | | | | | | |'
    """
    if "error" in row:
        cells = [f"failed: {row['error']}", *[""] * len(_PRINTED)]
    else:
        collectives = ", ".join(f"{count} {kind}" for kind, count in sorted(row["collectives"].items()))
        # A GPU's compiler makes no estimate of the time.
        cells = [form.format(row[name]) if row[name] else "" for name, form in _PRINTED.values()] + [collectives]
    return "|" + "|".join(f" {cell} " if cell else " " for cell in (row["name"], row["target"], *cells)) + "|"


def _compile_in_process(target: str, job: Job, minutes: float) -> Row:
    # The compiler's errors may end the process, and the memory of a large program is given back with it.
    command = [sys.executable, "-m", "accelerators", "row", target, json.dumps(asdict(job))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        return {"error": f"not compiled in {minutes:g} minutes"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return {"error": lines[-1][:_STDERR_TAIL]}
    found: Row = json.loads(done.stdout.splitlines()[-1])
    return found
