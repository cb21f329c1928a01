"""What ONNX graphs are worth: `python -m benchmarks onnx`.

Models with random weights are written as ONNX and as SavedModels. One table holds the largest difference between each
graph and its model, the other the seconds of an encoder in ONNX Runtime, as a SavedModel and in transformers on
PyTorch: each in a process of its own, in turn.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.models import FAMILIES, SHRINK, SIZES
from benchmarks.onnx_worker import HEADS, SAVED_MODEL
from benchmarks.processes import run_module
from benchmarks.report import make_console, make_table, number
from benchmarks.task import positive
from export.client.arguments import lengths

WORKER = "benchmarks.onnx_worker"
RESULTS = "onnx.json"
# No whole block of LongT5's 16 tokens; two blocks and one token more.
ODD_LENGTHS = (1, 33)
SIDES = {"onnx": "ONNX Runtime", SAVED_MODEL: "SavedModel", "transformers": "transformers"}


def onnx_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks onnx",
        description="ONNX graphs beside the model, the SavedModel and transformers.",
        allow_abbrev=False,
    )
    parser.add_argument("--family", action="append", choices=tuple(FAMILIES), help="default: each")
    parser.add_argument("--lengths", type=lengths, default=(1024, 4096), help="timed, in tokens (default: 1024,4096)")
    parser.add_argument("--rounds", type=positive, default=2, help="turns of each side (default: 2)")
    parser.add_argument("--repeats", type=positive, default=3, help="timed runs of a turn (default: 3)")
    parser.add_argument("--output", type=Path, default=Path("out/bench-onnx"), metavar="FOLDER")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny: to try the program out")
    return parser


def onnx_graphs(options: argparse.Namespace) -> int:
    """Run the program; returns its exit status.

    Raises:
        WorkerError: a process failed.
        OSError: the folder cannot be written.
    """
    from benchmarks.suite import circumstances
    from export.client.strict_json import finite
    from tfmodels.utils.files import write_json

    console = make_console()
    options.output.mkdir(parents=True, exist_ok=True)
    families = {family: _measure(family, options, console) for family in options.family or FAMILIES}
    results = {**circumstances(), "size": options.size, "families": families}
    write_json(options.output / RESULTS, finite(results))
    print_graphs(console, families)
    console.print(f"written: {options.output / RESULTS}", soft_wrap=True, highlight=False)
    return 0


def _measure(family: str, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The differences of each graph, and the seconds of each side by length."""
    timed = tuple(length if options.size == "base" else length // SHRINK for length in options.lengths)
    with tempfile.TemporaryDirectory(dir=options.output) as folder:
        shared = [folder, family, "--size", options.size, "--repeats", str(options.repeats)]

        def step(action: str, lengths: tuple[int, ...]) -> dict[str, Any]:
            return run_module(WORKER, [action, *shared, "--lengths", ",".join(map(str, lengths))])

        with console.status(f"{family}: write and compare"):
            written = step("write", (*ODD_LENGTHS, *timed))
        rounds: dict[str, Any] = {str(length): {side: [] for side in SIDES} for length in timed}
        for _ in range(options.rounds):
            for length in timed:
                for side in SIDES:
                    with console.status(f"{family}, {length} tokens: {SIDES[side]}"):
                        rounds[str(length)][side].append(step(side, (length,)))
    return {**written, "rounds": rounds}


def print_graphs(console: Console, families: dict[str, Any]) -> None:
    """Prints the differences and the times."""
    differences = make_table(console, "largest difference from the model", "tokens", list(HEADS))
    names = {"seconds": "s", "cpu_seconds": "CPU s", "peak_gb": "GB"}
    headings = [f"{side} {unit}" for unit in names.values() for side in SIDES.values()]
    times = make_table(console, "an encoder in float32", "tokens", headings)
    for family, figures in families.items():
        by_graph = figures["differences"]
        for length in by_graph["encode"]:
            cells = [f"{by_graph[graph][length]:.1e}" if length in by_graph[graph] else "-" for graph in HEADS]
            differences.add_row(f"{family}, {int(length):,}", *cells)
        for length, sides in figures["rounds"].items():
            cells = [
                number(statistics.median(found[name] for found in sides[side])) for name in names for side in SIDES
            ]
            times.add_row(f"{family}, {int(length):,}", *cells)
    console.print(differences)
    console.print(times)
