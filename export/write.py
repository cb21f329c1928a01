"""`python -m export`: a SavedModel from a fine-tuned folder."""

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from export.client.arguments import count, lengths, names, sizes
from export.client.quiet import import_tensorflow_quietly


def main(arguments: list[str]) -> int:
    """Run the program; return its exit status.

    Raises:
        ValueError: bad settings, or no model in the folder.
        OSError: the version exists, or cannot be written.
        ImportError: tensorflow-serving-api, which warm-up requests need, is not installed.
    """
    options = _parser().parse_args(arguments)
    import_tensorflow_quietly()
    from export.saved_model import export_saved_model
    from export.versions import next_version
    from tfmodels.auto import load_pretrained

    model, tokenizer = load_pretrained(options.model)
    head_settings = {}
    search = {"num_beams": options.num_beams, "max_new_tokens": options.max_new_tokens}
    search = {name: value for name, value in search.items() if value is not None}
    if hasattr(model, "generation_config"):
        head_settings["generation_config"] = model.generation_config.replace(**search)
    elif search:
        raise ValueError(f"--{min(search).replace('_', '-')} needs a model that generates. Received: {options.model}")
    if options.max_answer_length is not None:
        head_settings["max_answer_length"] = options.max_answer_length
    path = export_saved_model(
        model,
        tokenizer,
        options.output / str(options.version or next_version(options.output)),
        lengths=options.lengths,
        batch_sizes=options.batch_sizes,
        signatures=options.signatures,
        jit_compile=options.jit_compile,
        weights_dtype=options.weights_dtype,
        compute_dtype=options.compute_dtype,
        warm_up=not options.no_warm_up,
        keep=options.keep,
        batching=_batching(options),
        license=options.license,
        **head_settings,
    )
    print(f"wrote {path}")
    folder = shlex.quote(os.fspath(options.output))
    print(f'ask it: python -m export ask {folder} "text"')
    print(f"check it: python -m export check {folder}")
    return 0


def _batching(options: argparse.Namespace) -> Any:
    """The settings of batches in the graph, or None."""
    from export.signatures import Batching

    further = {name: getattr(options, f"batch_{name}") for name in ("timeout_ms", "threads", "waiting")}
    given = {name: value for name, value in further.items() if value is not None}
    if options.batch_tokens is None:
        if given:
            raise ValueError(f"--batch-{min(given).replace('_', '-')} needs --batch-tokens")
        return None
    return Batching(options.batch_tokens, **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m export", description="Write a SavedModel with the tokenizer inside.")
    parser.add_argument("--model", required=True, help="folder with config.json, weights and tokenizer files")
    parser.add_argument("--output", type=Path, required=True, help="folder NAME; the version goes to NAME/VERSION")
    parser.add_argument("--version", type=count, help="version number (default: one above the highest there)")
    parser.add_argument("--lengths", type=lengths, default=(1024,), help="source lengths in tokens, with commas")
    parser.add_argument("--batch-sizes", type=sizes, help="requests are filled up to these sizes (default: any size)")
    parser.add_argument("--num-beams", type=count, help="beams (default: the model's)")
    parser.add_argument("--max-new-tokens", type=count, help="longest summary in tokens (default: the model's)")
    parser.add_argument("--max-answer-length", type=count, help="longest answer to a question in tokens (default: 30)")
    parser.add_argument("--signatures", type=names, help="names with commas (default: all that the head has)")
    parser.add_argument("--weights-dtype", choices=("bfloat16", "int8"), help="store matrices smaller")
    parser.add_argument("--compute-dtype", choices=("bfloat16",), help="compute in it too, on CPUs with its products")
    parser.add_argument("--jit-compile", action="store_true", help="compile under XLA; a server needs a flag for it")
    parser.add_argument("--no-warm-up", action="store_true", help="write no warm-up requests")
    parser.add_argument("--keep", type=int, help="remove older versions but this many (default: remove none)")
    batching = parser.add_argument_group("batches in the graph, of documents of like length (default: none)")
    batching.add_argument("--batch-tokens", type=count, metavar="N", help="of a batch: N // L documents of length L")
    batching.add_argument("--batch-timeout-ms", type=int, help="to wait for company (default: 0)")
    batching.add_argument("--batch-threads", type=count, help="batches of a length at once (default: 1)")
    batching.add_argument("--batch-waiting", type=count, help="batches of a length that wait at most (default: 64)")
    parser.add_argument("--license", help='of the weights, such as "apache-2.0": for the bill of materials')
    return parser
