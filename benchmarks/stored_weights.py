"""What smaller weights cost in quality: `python -m benchmarks weights --model FOLDER --documents held-out.jsonl`.

A trained summariser is exported with each `weights_dtype` and `compute_dtype`. The SavedModel answers held-out
documents, whose ROUGE is that of the file's summaries, and the logits of those summaries are held against the whole
weights'.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.report import make_console, make_table
from benchmarks.task import positive
from export.client.arguments import lengths
from export.compute_dtype import ComputeDtype, computing_in
from export.stored_weights import StoredWeights, WeightsDtype
from training.data.rows import BadRows, read_rows
from training.demo.examples import Example, spread

RESULTS = "weights.json"
_BATCH = 16


class Types(NamedTuple):
    """How an export stores its matrices, and what it computes in."""

    weights_dtype: WeightsDtype
    compute_dtype: ComputeDtype


VARIANTS = {
    "as trained": Types(None, None),
    "bfloat16": Types("bfloat16", None),
    "int8": Types("int8", None),
    "bfloat16, computed in it": Types("bfloat16", "bfloat16"),
    "int8, computed in bfloat16": Types("int8", "bfloat16"),
}


def weights_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks weights", description="Size and quality of smaller weights.", allow_abbrev=False
    )
    parser.add_argument("--model", type=Path, required=True, help="a trained folder, such as that of `make demo`")
    parser.add_argument("--documents", type=Path, required=True, help="its held-out.jsonl: fields document and summary")
    parser.add_argument("--lengths", type=lengths, default=(64, 128, 256), help="in tokens (default: the demo's)")
    parser.add_argument("--examples", type=positive, default=400, help="documents at most (default: 400)")
    parser.add_argument("--output", type=Path, default=Path("out/bench-weights"), metavar="FOLDER")
    return parser


def read_examples(path: Path) -> list[Example]:
    """Documents with their summaries, of JSON lines."""
    rows = read_rows([path], {"document": "document", "summary": "summary"}, None, BadRows([path.name]))
    return [Example(*row.texts) for row in rows]


def weights(options: argparse.Namespace) -> int:
    """Run the program; returns its exit status.

    Raises:
        ValueError: no model or documents there.
        OSError: the folder cannot be written.
    """
    from export.client.strict_json import finite
    from tfmodels.auto import load_pretrained
    from tfmodels.utils.files import write_json

    model, tokenizer = load_pretrained(options.model)
    examples = spread(read_examples(options.documents), options.examples)
    console = make_console()
    results = measure_quality(model, tokenizer, examples, options.lengths, console)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / RESULTS, finite(results))
    print_quality(console, results)
    return 0


def measure_quality(
    model: Any, tokenizer: Any, examples: list[Example], exported: tuple[int, ...], console: Console
) -> list[dict[str, Any]]:
    """Size, errors and scores of each variant, the one as trained first."""
    return [
        {"variant": name, **_measure(model, tokenizer, examples, exported, types, console)}
        for name, types in VARIANTS.items()
    ]


def print_quality(console: Console, results: list[dict[str, Any]]) -> None:
    """Print a row for each variant."""
    headings = ("MB on disk", "logit error", "answers changed", "ROUGE-1", "ROUGE-2", "ROUGE-L")
    table = make_table(console, f"{len(results[0]['answers'])} documents", "weights", headings)
    for row in results:
        changed = np.mean([now != before for now, before in zip(row["answers"], results[0]["answers"], strict=True)])
        scores = [f"{row['rouge'][name]:.1f}" for name in ("rouge1", "rouge2", "rougeL")]
        size, error = f"{row['bytes'] / 1e6:.2f}", f"{row['logit_error']:.2%}"
        table.add_row(row["variant"], size, error, f"{changed:.0%}", *scores)
    console.print(table)
    console.print("logit error: root mean square of the difference over that of the logits")


def _measure(
    model: Any, tokenizer: Any, examples: list[Example], exported: tuple[int, ...], types: Types, console: Console
) -> dict[str, Any]:
    from export import export_saved_model
    from export.client.saved_model_client import SavedModel
    from training.metrics import rouge

    with console.status(f"weights: {types}"), tempfile.TemporaryDirectory() as folder:
        path = export_saved_model(
            model,
            tokenizer,
            Path(folder, "1"),
            lengths=exported,
            signatures=("serving_default",),
            **types._asdict(),
            warm_up=False,
        )
        ask = SavedModel(path)
        ordered = sorted(range(len(examples)), key=lambda place: len(examples[place].document))
        answers = [""] * len(examples)
        for start in range(0, len(ordered), _BATCH):
            places = ordered[start : start + _BATCH]
            batch_answers = ask(text=[examples[place].document for place in places])["text"]
            for place, answer in zip(places, batch_answers, strict=True):
                answers[place] = answer
        return {
            **types._asdict(),
            "bytes": sum(file.stat().st_size for file in path.glob("variables/*")),
            "logit_error": _logit_error(model, tokenizer, examples, exported[-1], types),
            "rouge": rouge(answers, [example.summary for example in examples]),
            "answers": answers,
        }


def _logit_error(model: Any, tokenizer: Any, examples: list[Example], length: int, types: Types) -> float:
    """Of the reference summaries' tokens, given the ones before."""
    smaller = computing_in(model, types.compute_dtype)
    stored = StoredWeights(smaller, types.weights_dtype)
    difference = size = 0.0
    for start in range(0, len(examples), _BATCH):
        rows = examples[start : start + _BATCH]
        batch = tokenizer([row.document for row in rows], text_target=[row.summary for row in rows], max_length=length)
        is_target = batch["labels"] >= 0
        whole = np.asarray(model(batch)["logits"], np.float64)[is_target]
        with stored.read():
            quantized = np.asarray(smaller(batch)["logits"], np.float64)[is_target]
        difference += float(((quantized - whole) ** 2).sum())
        size += float((whole**2).sum())
    return (difference / size) ** 0.5
