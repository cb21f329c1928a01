"""What an exported model costs to serve: `python -m benchmarks serving`.

A summariser of base size with random weights is exported for several lengths and asked in processes without keras, as
on a server: how long a short and a long document take, each length alone and in batches, a short document that shares
a batch with a long one, and how much memory each length takes.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.models import FAMILIES, SHRINK, SIZES
from benchmarks.processes import run_module
from benchmarks.report import make_console, make_table, number
from benchmarks.task import positive
from export.client.arguments import lengths, sizes

WORKER = "benchmarks.serving_worker"
RESULTS = "serving.json"
# Tokens of the short and the long document that are compared.
SHORT, LONG = 500, 16_000
LENGTHS = (1024, 4096, 16384)


def serving_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks serving",
        description="Time and memory of a SavedModel; --mixed: short and long documents at once.",
        allow_abbrev=False,
    )
    parser.add_argument("--family", choices=tuple(FAMILIES), default="led", help="default: led")
    shown = ",".join(map(str, LENGTHS))
    parser.add_argument("--lengths", type=lengths, default=LENGTHS, help=f"exported, in tokens (default: {shown})")
    parser.add_argument("--batch-sizes", type=sizes, default=(1, 2, 4), help="documents at once (default: 1,2,4)")
    parser.add_argument("--new-tokens", type=positive, default=32, help="of each answer (default: 32)")
    parser.add_argument("--beams", type=positive, default=1, help="default: 1")
    parser.add_argument("--repeats", type=positive, default=3, help="timed runs of each, in turn (default: 3)")
    parser.add_argument("--jit", action="store_true", help="besides, an export that is compiled under XLA")
    parser.add_argument("--output", type=Path, default=Path("out/bench-serving"), metavar="FOLDER")
    parser.add_argument("--size", choices=SIZES, default="base", help="tiny: to try the program out")
    return parser


def serving(options: argparse.Namespace) -> int:
    """Run the program; returns its exit status.

    Raises:
        WorkerError: a process failed.
        OSError: the folder cannot be written.
    """
    from export.client.strict_json import finite
    from tfmodels.utils.files import write_json

    console = make_console()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output) as folder:
        results = measure(options, Path(folder), console)
    write_json(options.output / RESULTS, finite(results))
    print_serving(console, results)
    console.print(f"written: {options.output / RESULTS}", soft_wrap=True, highlight=False)
    return 0


def measure(options: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    """Export into `folder` and measure.

    Returns:
        "cases": by batch (numbers of tokens with + between them) and variant ("plain", "xla") its seconds;
        "peak_gb": by length, of a process that answers one document of it; "held_gb": of one that answers none;
        "short", "long": the names of the batches of one document that are compared.
    """
    from benchmarks.suite import circumstances

    shrink = 1 if options.size == "base" else SHRINK
    exported = tuple(length // shrink for length in options.lengths)
    short, long = min(SHORT // shrink, exported[0]), min(LONG // shrink, exported[-1])
    compiled = ("no", "yes") if options.jit else ("no",)
    with console.status("export"):
        model = _run("write", folder, options, exported, ["--documents", f"{short},{long}", "--jit-compile", *compiled])
    batches = ["+".join([str(length)] * count) for length in exported for count in options.batch_sizes]
    compared = [str(short), str(long), f"{short}+{short}", f"{short}+{long}"]
    names = list(dict.fromkeys([*compared, *batches]))
    repeats = ["--repeats", str(options.repeats)]
    with console.status(f"{len(names)} batches in turn"):
        answers = _run("ask", folder, options, exported, ["--batches", *names, *repeats, "--jit-compile", *compiled])
    memory = {}
    for length in exported:
        with console.status(f"memory at {length} tokens"):
            alone = _run("ask", folder, options, exported, ["--batches", str(length), "--jit-compile", "no"])
        memory[str(length)] = alone["peak_gb"]
    settings = {
        "family": options.family,
        "size": options.size,
        "new_tokens": options.new_tokens,
        "beams": options.beams,
    }
    results = {**circumstances(), **settings, **model, "cases": answers["cases"], "peak_gb": memory}
    return {**results, "held_gb": alone["held_gb"], "short": str(short), "long": str(long)}


def _run(
    action: str, folder: Path, options: argparse.Namespace, exported: tuple[int, ...], further: list[str]
) -> dict[str, Any]:
    arguments = [action, str(folder), "--family", options.family, "--size", options.size]
    arguments += ["--lengths", ",".join(map(str, exported)), "--beams", str(options.beams)]
    return run_module(WORKER, [*arguments, "--new-tokens", str(options.new_tokens), *further])


def _shown(batch: str) -> str:
    """A batch of equal documents as their number.

    >>> _shown("64+64+64"), _shown("64+128"), _shown("64")
    ('3 x 64', '64 and 128', '64')
    """
    parts = batch.split("+")
    alike = len(parts) > 1 and len(set(parts)) == 1
    return f"{len(parts)} x {parts[0]}" if alike else " and ".join(parts)


def print_serving(console: Console, results: dict[str, Any]) -> None:
    """Prints seconds by batch, memory by length, and how many times faster the short document is."""
    variants = list(next(iter(results["cases"].values())))
    headings = [f"{variant} {what}" for variant in variants for what in ("s", "s a document", "first s")]
    title = f"{results['family']}, {results['size']}, {results['new_tokens']} new tokens, {results['beams']} beams"
    table = make_table(console, title, "documents, in tokens", [*headings, "peak GB"])
    for name, case in results["cases"].items():
        cells = []
        for variant in variants:
            times = case[variant]
            each = times["seconds"] / (1 + name.count("+"))
            cells += [number(times["seconds"]), number(each), number(times["first_seconds"])]
        table.add_row(_shown(name), *cells, number(results["peak_gb"][name]) if name in results["peak_gb"] else "")
    console.print(table)
    for variant in variants:
        short, long = (results["cases"][results[name]][variant]["seconds"] for name in ("short", "long"))
        shared = results["cases"][f"{results['short']}+{results['long']}"][variant]["seconds"]
        console.print(
            f"{variant}: {results['short']} tokens answer {long / short:.1f} times as fast as {results['long']}, and "
            f"in a batch with {results['long']} they take {shared / short:.1f} times as long as alone",
            highlight=False,
        )
