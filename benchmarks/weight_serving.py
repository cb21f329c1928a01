"""What smaller weights gain and cost on a server: `python -m benchmarks serving --weights`.

A summariser of base size with random weights is exported with each `weights_dtype` and `compute_dtype`, and asked in
processes of its own: seconds, processor seconds, memory and size on disk. With a trained model and documents the
quality of the same exports of it is measured beside it, as by `python -m benchmarks weights`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.models import FAMILIES, SHRINK, SIZES
from benchmarks.processes import run_module
from benchmarks.products import ROWS
from benchmarks.report import make_console, make_table, number
from benchmarks.serving import WORKER
from benchmarks.stored_weights import VARIANTS, Types, measure_quality, print_quality, read_examples
from benchmarks.task import positive
from export.client.arguments import lengths

RESULTS = "weight-serving.json"


def weight_serving_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks serving --weights", description="What smaller weights gain and cost.", allow_abbrev=False
    )
    parser.add_argument("--weights", action="store_true", required=True)
    parser.add_argument("--family", choices=tuple(FAMILIES), default="led", help="default: led")
    parser.add_argument("--lengths", type=lengths, default=(1024, 4096), help="in tokens (default: 1024,4096)")
    parser.add_argument("--new-tokens", type=positive, default=32, help="of each answer (default: 32)")
    parser.add_argument("--repeats", type=positive, default=3, help="timed runs of each (default: 3)")
    parser.add_argument("--model", type=Path, help="a trained folder, for the quality")
    parser.add_argument("--documents", type=Path, help="JSON lines with document and summary, for it")
    parser.add_argument("--quality-lengths", type=lengths, default=(256,), help="of its exports (default: 256)")
    parser.add_argument("--examples", type=positive, default=400, help="documents at most (default: 400)")
    parser.add_argument("--output", type=Path, default=Path("out/bench-serving"), metavar="FOLDER")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny: to try the program out")
    return parser


def weight_serving(options: argparse.Namespace) -> int:
    """Run the program; returns its exit status.

    Raises:
        ValueError: a model without documents, or documents without a model.
        WorkerError: a process failed.
        OSError: the folder cannot be written.
    """
    from benchmarks.suite import circumstances
    from export.client.strict_json import finite
    from tfmodels.utils.files import write_json

    if (options.model is None) != (options.documents is None):
        raise ValueError("--model and --documents must be given together")
    console = make_console()
    options.output.mkdir(parents=True, exist_ok=True)
    exported = tuple(length // (1 if options.size == "base" else SHRINK) for length in options.lengths)
    with console.status("products"):
        products = run_module("benchmarks.products", [])
    figures = {name: _figures(options, exported, name, types, console) for name, types in VARIANTS.items()}
    quality = None if options.model is None else _quality(options, console)
    results = {**circumstances(), "lengths": exported, "figures": figures, "quality": quality, **products}
    write_json(options.output / RESULTS, finite(results))
    print_products(console, products)
    print_figures(console, options, figures)
    if quality is not None:
        print_quality(console, quality)
    console.print(f"written: {options.output / RESULTS}", soft_wrap=True, highlight=False)
    return 0


def _figures(
    options: argparse.Namespace, exported: tuple[int, ...], name: str, types: Types, console: Console
) -> dict[str, Any]:
    """Of one variant, by length; each length in a process of its own, whose peak is the length's."""
    with tempfile.TemporaryDirectory(dir=options.output) as folder:
        common = [folder, "--family", options.family, "--size", options.size, "--lengths", ",".join(map(str, exported))]
        stored = [
            part for key, value in types._asdict().items() if value for part in (f"--{key.replace('_', '-')}", value)
        ]
        made = ["--documents", ",".join(map(str, exported)), "--new-tokens", str(options.new_tokens)]
        with console.status(f"export: {name}"):
            written = run_module(WORKER, ["write", *common, *made, *stored])
        asked = {}
        for length in exported:
            with console.status(f"{length} tokens: {name}"):
                asked[length] = run_module(
                    WORKER, ["ask", *common, "--batches", str(length), "--repeats", str(options.repeats)]
                )
    return {
        "disk_bytes": written["disk_bytes"],
        "by_length": {
            length: {**one["cases"][str(length)]["plain"], "peak_gb": one["peak_gb"], "held_gb": one["held_gb"]}
            for length, one in asked.items()
        },
    }


def _quality(options: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    from tfmodels.auto import load_pretrained
    from training.demo.examples import spread

    model, tokenizer = load_pretrained(options.model)
    examples = spread(read_examples(options.documents), options.examples)
    return measure_quality(model, tokenizer, examples, options.quality_lengths, console)


def print_products(console: Console, products: dict[str, Any]) -> None:
    """Print what a product costs in each type."""
    found = ", ".join(products["instructions"]) or "none"
    table = make_table(console, f"products; instructions: {found}", "type", [f"{rows} rows, CPU ms" for rows in ROWS])
    for name in products["products"][str(ROWS[0])]:
        table.add_row(name, *(number(products["products"][str(rows)][name]) for rows in ROWS))
    console.print(table)


def print_figures(console: Console, options: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Print a row for each variant."""
    exported = list(next(iter(figures.values()))["by_length"])
    headings = [f"{length}: {what}" for length in exported for what in ("s", "CPU s", "peak GB")]
    title = f"{options.family}, {options.size}, {options.new_tokens} new tokens"
    table = make_table(console, title, "weights", ["MB on disk", "GB held", *headings])
    for name, row in figures.items():
        by_length = row["by_length"]
        cells = [
            number(by_length[length][what]) for length in exported for what in ("seconds", "cpu_seconds", "peak_gb")
        ]
        held = by_length[exported[0]]["held_gb"]
        table.add_row(name, f"{row['disk_bytes'] / 1e6:.0f}", "" if held is None else number(held), *cells)
    console.print(table)
