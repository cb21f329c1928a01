"""`python -m training`: fine-tune on a file of documents and summaries; `python -m training demo`: the demonstration.

python -m training --data train.jsonl --model longt5-tglobal-tiny --output out/
python -m training --data train.csv --document-field article --summary-field abstract --model FOLDER --output out/
python -m training demo --model led-tiny
"""

import argparse
import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

from export.client.arguments import lengths
from export.client.quiet import import_tensorflow_quietly

_INTERRUPTED = 130
# Reached by name: the product does not import its demonstration.
_DEMO = "training.demo.run"


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    is_demo = arguments[:1] == ["demo"]
    options = (_demo_parser() if is_demo else _parser()).parse_args(arguments[1:] if is_demo else arguments)
    try:
        import_tensorflow_quietly()
        return _demo(options) if is_demo else _finetune(options)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m training", description="Fine-tune on documents and summaries.")
    parser.add_argument("--data", required=True, help=".jsonl, .jsonl.gz or .csv, one document a row")
    parser.add_argument("--document-field", default="document", help="name of the field (default: document)")
    parser.add_argument("--summary-field", default="summary", help="name of the field (default: summary)")
    parser.add_argument("--skip-bad-rows", action="store_true", help="count and skip bad rows instead of stopping")
    parser.add_argument("--model", required=True, help="a folder, a hub id, or a small model by name (the demo's)")
    parser.add_argument("--output", required=True, help="a folder that does not exist yet")
    parser.add_argument("--vocab-size", type=int, default=4096, help="pieces, for a model from scratch")
    parser.add_argument("--precision", default="float32", choices=("float32", "mixed_bfloat16", "mixed_float16"))
    parser.add_argument("--no-jit", dest="jit_compile", action="store_false", help="train without XLA")
    parser.add_argument("--remat", action="store_true", help="compute blocks again backwards: less memory, more time")
    _add_settings(parser)
    return parser


def _demo_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m training demo", description="Train on the Python that is installed.")
    parser.add_argument("--model", help="a small model by name; an unknown name lists all (default: the demo's own)")
    parser.add_argument("--output", help="a folder that does not exist yet (default: out/demo-MODEL-N)")
    _add_settings(parser)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Options that change a field of `FinetuneSettings` of the same name."""
    parser.add_argument("--source-lengths", type=lengths, help="static source lengths in tokens, with commas")
    parser.add_argument("--target-length", type=int, help="static target length in tokens")
    parser.add_argument("--batch-tokens", type=int, help="source tokens per batch, padding included")
    parser.add_argument("--epochs", type=int, help="passes over the data")
    parser.add_argument("--learning-rate", type=float, help="peak of the learning rate")
    parser.add_argument("--warmup-steps", type=int, help="steps up to the peak")
    parser.add_argument("--evaluate-every", type=int, help="steps between validations and checkpoints")
    parser.add_argument("--max-minutes", type=float, help="end training after this long")
    parser.add_argument("--test-examples", type=int, help="held-out documents that ROUGE is measured on, at most")
    parser.add_argument("--seed", type=int, help="seed of weights, shuffling and dropout")


def _settings(options: argparse.Namespace, defaults: Any) -> Any:
    """Return `defaults` with the command line's fields in place of theirs."""
    names = {field.name for field in dataclasses.fields(defaults)}
    changes = {name: value for name, value in vars(options).items() if name in names and value is not None}
    for name, value in changes.items():
        if name != "seed" and isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
            raise ValueError(f"--{name.replace('_', '-')} must be positive. Received: {value}")
    if changes.get("target_length", 2) < 2:
        raise ValueError(f"--target-length must be at least 2. Received: {changes['target_length']}")
    if not 0 <= changes.get("seed", 0) < 2**32:
        raise ValueError(f"--seed must be from 0 to 2 ** 32 - 1. Received: {changes['seed']}")
    return dataclasses.replace(defaults, **changes)


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from training.finetune import check_new_folder

    demo = importlib.import_module(_DEMO)
    preset = options.model or demo.PRESET
    _check_preset(preset)
    output = check_new_folder(options.output) if options.output else _new_demo_folder(preset)
    demo.run_demo(preset, output, _settings(options, demo.SETTINGS), Console())
    return 0


def _check_preset(name: str) -> None:
    from training.presets import PRESETS

    if name not in PRESETS:
        raise ValueError(f"--model must be one of {', '.join(PRESETS)} in the demo. Received: --model {name}")


def _new_demo_folder(model: str) -> Path:
    number = 1
    while (path := Path("out") / f"demo-{model}-{number}").exists():
        number += 1
    return path


def _finetune(options: argparse.Namespace) -> int:
    import keras
    from rich.console import Console

    from training.finetune import (
        FinetuneSettings,
        check_fits_model,
        check_new_folder,
        evaluate_rouge,
        finetune,
        hold_out,
        write_report,
    )
    from training.metrics import rouge_version
    from training.reading import read_examples
    from training.report import print_corpus, print_curve, print_rouge
    from training.splits import corpus_summary

    console = Console()
    settings = _settings(options, FinetuneSettings())
    output = check_new_folder(options.output)
    read = read_examples(
        options.data,
        options.document_field,
        options.summary_field,
        skip_bad_rows=options.skip_bad_rows,
        on_bad_row=lambda message: print(f"skipped: {message}", file=sys.stderr),
    )
    if read.skipped:
        further = f", and {read.lost_lines:,} lines that went with them" if read.lost_lines else ""
        console.print(f"skipped {read.skipped:,} bad rows{further}")
    split = hold_out(read.examples)
    print_corpus(console, corpus_summary(split))
    keras.utils.set_random_seed(settings.seed)  # the weights and dropout's seeds are drawn when a model is made
    model, tokenizer = _load(options, split.train)
    check_fits_model(model, settings)
    output.mkdir(parents=True)
    result = finetune(model, tokenizer, split, output, settings, console)
    print_curve(console, result.history)
    if result.interrupted:
        print(f"the model so far: {result.model_folder}")
        return _INTERRUPTED
    best = type(model).from_pretrained(result.model_folder, dtype=options.precision)
    test = split.test[: settings.test_examples]
    scores, _ = evaluate_rouge(best, tokenizer, test, settings)
    print_rouge(console, {"trained model": scores}, f"{len(test)} held-out documents; rouge-score {rouge_version()}")
    write_report(output, {"model": options.model, "rouge": scores, "history": result.history})
    print(f"model and tokenizer: {result.model_folder}")
    print(f"export it: python -m export --model {result.model_folder} --output {output}/served")
    return 0


def _load(options: argparse.Namespace, train: list[Any]) -> tuple[Any, Any]:
    """A preset with a vocabulary trained on the training examples, or a checkpoint with its own."""
    from tfmodels.auto import load_pretrained
    from tfmodels.modeling.language_model import Seq2SeqLM
    from training.presets import PRESETS

    if options.model in PRESETS:
        return PRESETS[options.model].create(train, options.vocab_size, options.precision)
    model, tokenizer = load_pretrained(options.model, dtype=options.precision)
    if not isinstance(model, Seq2SeqLM):
        raise ValueError(
            f"--model must be one that generates text. Received: {options.model}, a {type(model).__name__}"
        )
    return model, tokenizer


if __name__ == "__main__":
    sys.exit(main())
