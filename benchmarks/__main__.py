"""`python -m benchmarks`: ours and the reference in turn (A B A B), each run in a process of its own; prints ratios.

python -m benchmarks --family led --job encode --length 4096
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.worker import FAMILIES

SIDES = ("ours", "theirs")


def measure(side: str, family: str, job: str, length: int, beams: int) -> dict[str, float]:
    """Seconds and peak memory (GB) of one side, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.worker", side, family, job, str(length), "--beams", str(beams)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(family: str, job: str, length: int, beams: int, rounds: int) -> dict[str, float]:
    """Medians of both sides over `rounds` turns, and their ratios."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            found[side].append(measure(side, family, job, length, beams))
    medians = {
        f"{side}_{name}": statistics.median(run[name] for run in found[side])
        for side in SIDES
        for name in ("seconds", "peak_gb")
    }
    return {
        **medians,
        "time_ratio": medians["theirs_seconds"] / medians["ours_seconds"],
        "memory_ratio": medians["ours_peak_gb"] / medians["theirs_peak_gb"],
    }


def main() -> None:
    """Run the jobs and print one row each."""
    parser = argparse.ArgumentParser("python -m benchmarks", description="Ours against transformers on PyTorch, eager.")
    parser.add_argument("--family", choices=tuple(FAMILIES), action="append", help="default: all")
    parser.add_argument("--job", choices=("encode", "generate"), default="encode")
    parser.add_argument("--length", type=int, default=4096, help="tokens of the document")
    parser.add_argument("--beams", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    console = Console()
    table = Table("job", "ours s", "theirs s", "theirs / ours", "ours GB", "theirs GB", "ours / theirs")
    results = {}
    for family in track(options.family or tuple(FAMILIES), description="running", console=console, transient=True):
        name = f"{family} {options.job} {options.length}" + (f" beams {options.beams}" if options.beams > 1 else "")
        row = results[name] = compare(family, options.job, options.length, options.beams, options.rounds)
        columns = ("ours_seconds", "theirs_seconds", "time_ratio", "ours_peak_gb", "theirs_peak_gb", "memory_ratio")
        table.add_row(name, *(f"{row[column]:.2f}" for column in columns))
    console.print(table)
    if options.output:
        options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
