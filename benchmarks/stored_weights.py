"""What smaller weights cost in quality: `python -m benchmarks weights --model FOLDER --documents held-out.jsonl`.

A trained summariser is exported with each `weights_dtype`. The SavedModel answers held-out documents, whose ROUGE is
that of the file's summaries, and the logits of those summaries are held against the whole weights'.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.report import make_console, make_table
from benchmarks.task import positive
from export.client.arguments import lengths
from export.stored_weights import WEIGHTS_DTYPES, StoredWeights
from training.data.rows import BadRows, read_rows
from training.demo.examples import Example, spread

RESULTS = "weights.json"
_BATCH = 16


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


def _read(path: Path) -> list[Example]:
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
    examples = spread(_read(options.documents), options.examples)
    console = make_console()
    results = [_measure(model, tokenizer, examples, options, dtype, console) for dtype in WEIGHTS_DTYPES]
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / RESULTS, finite(results))
    headings = ("MB on disk", "logit error", "answers changed", "ROUGE-1", "ROUGE-2", "ROUGE-L")
    table = make_table(console, f"{len(examples)} documents", "weights", headings)
    for row in results:
        changed = np.mean([now != before for now, before in zip(row["answers"], results[0]["answers"], strict=True)])
        scores = [f"{row['rouge'][name]:.1f}" for name in ("rouge1", "rouge2", "rougeL")]
        size, error = f"{row['bytes'] / 1e6:.2f}", f"{row['logit_error']:.2%}"
        table.add_row(row["weights_dtype"] or "as trained", size, error, f"{changed:.0%}", *scores)
    console.print(table)
    console.print("logit error: root mean square of the difference over that of the logits")
    return 0


def _measure(
    model: Any, tokenizer: Any, examples: list[Example], options: argparse.Namespace, dtype: Any, console: Console
) -> dict[str, Any]:
    from export import export_saved_model
    from export.client.saved_model_client import SavedModel
    from training.metrics import rouge

    with console.status(f"weights: {dtype or 'as trained'}"), tempfile.TemporaryDirectory() as folder:
        path = export_saved_model(
            model,
            tokenizer,
            Path(folder, "1"),
            lengths=options.lengths,
            signatures=("serving_default",),
            weights_dtype=dtype,
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
            "weights_dtype": dtype,
            "bytes": sum(file.stat().st_size for file in path.glob("variables/*")),
            "logit_error": _logit_error(model, tokenizer, examples, options.lengths[-1], dtype),
            "rouge": rouge(answers, [example.summary for example in examples]),
            "answers": answers,
        }


def _logit_error(model: Any, tokenizer: Any, examples: list[Example], length: int, dtype: Any) -> float:
    """Of the reference summaries' tokens, given the ones before."""
    stored = StoredWeights(model, dtype)
    difference = size = 0.0
    for start in range(0, len(examples), _BATCH):
        rows = examples[start : start + _BATCH]
        batch = tokenizer([row.document for row in rows], text_target=[row.summary for row in rows], max_length=length)
        is_target = batch["labels"] >= 0
        whole = np.asarray(model(batch)["logits"], np.float64)[is_target]
        with stored.read():
            quantized = np.asarray(model(batch)["logits"], np.float64)[is_target]
        difference += float(((quantized - whole) ** 2).sum())
        size += float((whole**2).sum())
    return (difference / size) ** 0.5
