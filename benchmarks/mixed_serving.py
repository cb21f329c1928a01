"""Short and long documents at once: `python -m benchmarks serving --mixed`.

Several threads ask one process in a closed loop, most of them for a short document and some for a long one, in the same
order for each way of batching: none (each request runs when it comes), the server's (requests share batches whatever
their lengths, by the scheduler that TensorFlow Serving's batching session has) and the graph's (each length has a
queue). Every answer is held to that of the document alone.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.models import FAMILIES, SHRINK, SIZES
from benchmarks.processes import run_module
from benchmarks.report import make_console, make_table, number
from benchmarks.serving import LENGTHS, LONG, SHORT
from benchmarks.task import positive
from export.client.arguments import lengths

WORKER = "benchmarks.mixed_serving_worker"
RESULTS = "mixed-serving.json"
WAYS = {"none": "at once", "server": "server's batches", "graph": "graph's batches"}


def mixed_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks serving --mixed", description="Short and long documents at once.", allow_abbrev=False
    )
    parser.add_argument("--mixed", action="store_true", required=True)
    parser.add_argument("--family", choices=tuple(FAMILIES), default="led", help="default: led")
    shown = ",".join(map(str, LENGTHS))
    parser.add_argument("--lengths", type=lengths, default=LENGTHS, help=f"exported, in tokens (default: {shown})")
    parser.add_argument("--short", type=positive, default=SHORT, help=f"tokens of most documents (default: {SHORT})")
    parser.add_argument("--long", type=positive, default=LONG, help=f"tokens of the others (default: {LONG})")
    parser.add_argument("--percent-long", type=int, default=20, help="of all documents (default: 20)")
    parser.add_argument("--threads", type=positive, default=8, help="that ask (default: 8)")
    parser.add_argument("--seconds", type=positive, default=120, help="of each way (default: 120)")
    parser.add_argument("--batch-tokens", type=positive, help="of the graph's batches (default: the longest length)")
    parser.add_argument("--new-tokens", type=positive, default=32, help="of each answer (default: 32)")
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=tuple(WAYS), help="default: all, in turn")
    parser.add_argument("--output", type=Path, default=Path("out/bench-serving"), metavar="FOLDER")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny: to try the program out")
    return parser


def mixed(options: argparse.Namespace) -> int:
    """Run the program; returns its exit status: 1 if an answer was another than alone.

    Raises:
        WorkerError: a process failed.
        OSError: the folder cannot be written.
    """
    from benchmarks.suite import circumstances
    from export.client.strict_json import finite
    from tfmodels.utils.files import write_json

    console = make_console()
    options.output.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.output) as folder:
        with console.status("export"):
            _run("write", folder, options)
        for way in options.ways:
            with console.status(f"{WAYS[way]}: {options.seconds} seconds"):
                figures[way] = _run("ask", folder, options, "--way", way)
    settings = {name: value for name, value in vars(options).items() if name not in ("output", "mixed")}
    results = {**circumstances(), **settings, "figures": figures}
    write_json(options.output / RESULTS, finite(results))
    print_mixed(console, options, figures)
    console.print(f"written: {options.output / RESULTS}", soft_wrap=True, highlight=False)
    console.print("every answer equals that of the document alone" if _are_right(figures) else "ANSWERS DIFFER")
    return 0 if _are_right(figures) else 1


def _are_right(figures: dict[str, Any]) -> bool:
    """Whether every answer is that of the document alone, and those are the same in every way."""
    answers = {tuple(one["answers"]) for one in figures.values()}
    return len(answers) == 1 and not any(one["wrong"] for one in figures.values())


def _run(action: str, folder: str, options: argparse.Namespace, *further: str) -> dict[str, Any]:
    shrink = 1 if options.size == "base" else SHRINK
    exported = tuple(length // shrink for length in options.lengths)
    arguments = [action, folder, "--family", options.family, "--size", options.size]
    arguments += ["--lengths", ",".join(map(str, exported)), "--new-tokens", str(options.new_tokens)]
    arguments += ["--short", str(options.short // shrink), "--long", str(options.long // shrink)]
    arguments += ["--batch-tokens", str((options.batch_tokens or max(options.lengths)) // shrink)]
    arguments += ["--percent-long", str(options.percent_long), "--threads", str(options.threads)]
    return run_module(WORKER, [*arguments, "--seconds", str(options.seconds), *further])


def print_mixed(console: Console, options: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Print the seconds of short and long documents, and documents a minute, by way."""
    shares = f"{100 - options.percent_long} % of {options.short} tokens, {options.percent_long} % of {options.long}"
    title = f"{options.family}, {options.size}: {options.threads} threads, {shares}"
    headings = [
        "short: median s",
        "95 %",
        "long: median s",
        "95 %",
        "short",
        "long",
        "a minute",
        "CPU s each",
        "wrong",
        "peak GB",
    ]
    table = make_table(console, title, "batches", headings)
    for way, one in figures.items():
        short, long = one["short"], one["long"]
        times = (short["median"], short["p95"], long["median"], long["p95"])
        cells = ["-" if seconds is None else number(seconds) for seconds in times]
        cells += [str(short["count"]), str(long["count"]), number(one["per_minute"])]
        cells += [number(one["cpu_seconds"]), str(one["wrong"])]
        table.add_row(WAYS[way], *cells, number(one["peak_gb"]))
    console.print(table)
