"""What the training program costs beside its model: `python -m benchmarks training`.

The feed, from tokens on disk to arrays, against a train step of the model that takes them; and a checkpoint of model
and optimizer, as a share of the ten minutes between two.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.models import FAMILIES, SIZES, class_name, config_fields
from benchmarks.report import make_console, make_table
from benchmarks.task import positive

_TARGET = 256
_BETWEEN_CHECKPOINTS = 600.0
_MEGABYTE = 1e6
_WORDS_PER_TOKEN = 0.9
_VOCABULARY, _PIECES = 2000, 4096


def training_parser() -> argparse.ArgumentParser:
    """The program's options."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks training", description="Feed and checkpoints beside a train step.", allow_abbrev=False
    )
    parser.add_argument("--family", choices=tuple(FAMILIES), default="led", help="default: led")
    parser.add_argument("--size", choices=SIZES, default="base", help="of the model (default: base)")
    parser.add_argument("--length", type=positive, default=4096, help="tokens of a document (default: 4096)")
    parser.add_argument("--rows", type=positive, default=2000, help="documents (default: 2000)")
    parser.add_argument("--steps", type=positive, default=3, help="train steps that are timed (default: 3)")
    return parser


def training(options: argparse.Namespace) -> int:
    """Run the program; return its exit status."""
    console = make_console()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task, stores, tokenizer = _tokenized(options, folder)
        arrays, row_bytes = _batches(task, stores.train, options.length)
        rows_a_second = _feed_rate(arrays, len(stores.train))
        model = _model(options)
        step = _step_seconds(model, arrays, options.steps)
        seconds, size = _checkpoint(model, tokenizer, folder)
    _print(console, options, rows_a_second, row_bytes, step, seconds, size)
    return 0


def _tokenized(options: argparse.Namespace, folder: Path) -> tuple[Any, Any, Any]:
    """Random documents of about the length, as tokens on disk."""
    import tfmodels
    from training.data.store import StoreRequest, build_store
    from training.tasks.summarize import Summarize

    draw = np.random.default_rng(0)
    words = [f"word{number}" for number in range(_VOCABULARY)]
    prefix = FAMILIES[options.family].class_prefix
    tokenizer = getattr(tfmodels, f"{prefix}Tokenizer").train_from_iterator([" ".join(words)] * 2, _PIECES)
    count = int(options.length * _WORDS_PER_TOKEN)
    path = folder / "documents.jsonl"
    with path.open("w") as stream:
        for _ in range(options.rows):
            document = " ".join(draw.choice(words, count))
            stream.write(json.dumps({"document": document, "summary": document[: 6 * _TARGET]}) + "\n")
    task = Summarize(options.length, _TARGET)
    request = StoreRequest(task, tokenizer, train=(path,), hold_out=(0.0, 0.0))
    return task, build_store(request, folder / "cache"), tokenizer


def _batches(task: Any, store: Any, length: int) -> tuple[Any, int]:
    """Batches of one row by their number, and the bytes of one."""
    from training.data.plan import Plan

    plan = Plan(store.sizes("source"), (length,), length)

    def arrays(number: int) -> dict[str, np.ndarray]:
        batch = plan.batch(number)
        return task.batch(store, batch.rows, batch.length, batch.fill_to)

    return arrays, sum(array.nbytes for array in arrays(0).values())


def _feed_rate(arrays: Any, rows: int) -> float:
    """Rows a second out of the data set that `fit` gets."""
    from training.data.feed import feed

    started = time.monotonic()
    count = sum(1 for _ in feed(arrays, 0, rows))
    return count / (time.monotonic() - started)


def _model(options: argparse.Namespace) -> Any:
    import tfmodels
    from training.config import Config, Lengths, Optim
    from training.run.build import prepare_model

    fields = config_fields(options.family, options.size, options.length)
    fields["vocab_size"] = max(fields["vocab_size"], _PIECES)
    config = getattr(tfmodels, class_name(options.family, "Config"))(**fields)
    model = getattr(tfmodels, class_name(options.family, "ForConditionalGeneration"))(config)
    optim = Optim(name="adamw", learning_rate=3e-5, weight_decay=0.01, accumulate=1)
    prepare_model(model, Config(model=options.family, lengths=Lengths(target=_TARGET), optim=optim))
    return model


def _step_seconds(model: Any, arrays: Any, steps: int) -> float:
    """Median seconds of a step with one document, after one that compiles."""
    seconds = []
    for number in range(steps + 1):
        started = time.monotonic()
        model.train_on_batch(arrays(number))
        seconds.append(time.monotonic() - started)
    return statistics.median(seconds[1:])


def _checkpoint(model: Any, tokenizer: Any, folder: Path) -> tuple[float, int]:
    """Seconds to write a checkpoint with its checksums, and its bytes."""
    from training.run.checkpoints import Checkpoints
    from training.run.variables import save_variables, training_variables

    def write(target: Path) -> None:
        model.save_pretrained(target / "model")
        tokenizer.save_pretrained(target / "model")
        save_variables(target / "trainer.safetensors", training_variables(model))

    checkpoints, started = Checkpoints(folder / "checkpoints"), time.monotonic()
    checkpoints.save(1, write)
    seconds = time.monotonic() - started
    return seconds, sum(path.stat().st_size for path in checkpoints.path(1).rglob("*") if path.is_file())


def _print(
    console: Console,
    options: argparse.Namespace,
    rows_a_second: float,
    row_bytes: int,
    step: float,
    seconds: float,
    size: int,
) -> None:
    table = make_table(console, f"{options.family} {options.size}, {options.length:,} tokens", "what", ("figure",))
    table.add_row("feed", f"{rows_a_second:,.0f} rows/s, {rows_a_second * row_bytes / _MEGABYTE:,.0f} MB/s of arrays")
    table.add_row("train step of one row", f"{step:.2f} s, {1 / step:.2f} rows/s")
    table.add_row("feed beside the model", f"{rows_a_second * step:,.0f} times what it takes")
    table.add_row("checkpoint", f"{seconds:.1f} s for {size / _MEGABYTE:,.0f} MB, on disk and checksummed")
    table.add_row("share of ten minutes", f"{100 * seconds / (_BETWEEN_CHECKPOINTS + seconds):.2f} %")
    console.print(table)
